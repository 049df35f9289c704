//! How a throwaway server is set up.

use std::path::PathBuf;

/// How a throwaway server is set up. The default suits tests: 300 connections, Postgres' defaults otherwise, durability on.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) bin: Option<PathBuf>,
    pub(crate) parent: Option<PathBuf>,
}

impl Options {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a server parameter, as in `set("shared_buffers", "1GB")`. The last one wins, also over what tests get by default.
    pub fn set(mut self, parameter: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((parameter.into(), value.into()));
        self
    }

    /// Takes the server programs from this directory instead of searching for them.
    pub fn bin(mut self, directory: impl Into<PathBuf>) -> Self {
        self.bin = Some(directory.into());
        self
    }

    /// Puts the server's directory below this one instead of the system's temporary directory: for benchmarks that
    /// care which disk they write to. As root, the user `postgres` must be able to enter it.
    pub fn parent(mut self, directory: impl Into<PathBuf>) -> Self {
        self.parent = Some(directory.into());
        self
    }
}
