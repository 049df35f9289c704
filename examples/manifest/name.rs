//! File names as bytes, which needn't be UTF-8.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A name or a path, byte by byte as the system has it.
///
/// In a journal it is text where it is UTF-8, and a list of bytes where it isn't: nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Name(Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<Stored> for Name {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Text(text) => Self(text.into_bytes()),
            Stored::Bytes(bytes) => Self(bytes),
        }
    }
}

impl From<Name> for Stored {
    fn from(name: Name) -> Self {
        String::from_utf8(name.0).map_or_else(|error| Stored::Bytes(error.into_bytes()), Stored::Text)
    }
}

impl Name {
    pub fn new(name: &OsStr) -> Self {
        Self(name.as_bytes().to_owned())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// This directory's entry `name`.
    pub fn join(&self, name: &Name) -> Name {
        if self.0.is_empty() {
            return name.clone();
        }
        Name([&self.0, &b"/"[..], &name.0].concat())
    }

    /// This path below `base`.
    pub fn below(&self, base: &Name) -> PathBuf {
        if self.0.is_empty() { base.path().to_owned() } else { base.path().join(self.path()) }
    }
}
