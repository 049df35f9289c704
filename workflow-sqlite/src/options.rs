//! How a file is opened.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use workflow_core::StoreError;

use crate::store::SqliteStore;

/// What survives when the machine loses power. A crash of the process loses nothing either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Every commit is on the disk before it is answered.
    #[default]
    Full,
    /// The last commits before a power failure may be lost, so that a step may run again whose outcome was already
    /// acted upon. The file stays consistent. Several times faster where flushing the disk is slow.
    Normal,
}

/// How to open an SQLite file: [`SqliteOptions::open`].
///
/// # Examples
///
/// ```
/// # async fn example() -> Result<(), workflow_core::StoreError> {
/// use workflow_sqlite::{Durability, SqliteOptions};
///
/// let store = SqliteOptions::file("data/runs.db")
///     .create_directories()
///     .durability(Durability::Normal)
///     .open()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    pub(crate) path: PathBuf,
    pub(crate) in_memory: bool,
    existing_only: bool,
    create_directories: bool,
    durability: Durability,
    busy_timeout: Duration,
    pub(crate) readers: usize,
}

impl SqliteOptions {
    /// The file at `path`, which is created when it is missing.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            in_memory: false,
            existing_only: false,
            create_directories: false,
            durability: Durability::Full,
            busy_timeout: Duration::from_secs(5),
            readers: 3,
        }
    }

    /// A database in memory that is gone with the store: for tests and for trying things out.
    pub fn memory() -> Self {
        Self { in_memory: true, ..Self::file(":memory:") }
    }

    /// Refuses to create the file.
    pub fn existing_only(mut self) -> Self {
        self.existing_only = true;
        self
    }

    /// Creates missing directories above the file. Without this, a missing directory is an error.
    pub fn create_directories(mut self) -> Self {
        self.create_directories = true;
        self
    }

    /// What survives a power failure. Default: [`Durability::Full`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How long to wait for another process that writes. Default: 5 s. Then the call is
    /// [`Contention`](StoreError::Contention).
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How many connections (a thread each) look things up beside the one that writes. Default: 3; at least 1.
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// Opens the store. [`Store::migrate`](workflow_core::Store::migrate) then makes its tables.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] when the directory or file is missing, can't be written, or is no SQLite database,
    /// [`StoreError::Unavailable`] when another process keeps it locked.
    pub async fn open(self) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(self).await
    }

    pub(crate) fn connect_options(&self) -> Result<SqliteConnectOptions, StoreError> {
        let options = if self.in_memory {
            SqliteConnectOptions::from_str("sqlite::memory:").map_err(|e| StoreError::Unusable(e.to_string()))?
        } else {
            SqliteConnectOptions::new().filename(&self.path).create_if_missing(!self.existing_only)
        };
        Ok(options
            .busy_timeout(self.busy_timeout)
            .synchronous(match self.durability {
                Durability::Full => SqliteSynchronous::Full,
                Durability::Normal => SqliteSynchronous::Normal,
            })
            // Pages that many commits touch are copied to the file once per 32 MB of log, and not after every large
            // batch: SQLite's default of 4 MB is one batch of a thousand long runs.
            .pragma("wal_autocheckpoint", "8000")
            // In KiB when negative: what the claims and the journals of the resident runs need is at hand.
            .pragma("cache_size", "-32000")
            // Enough for every statement in every size.
            .statement_cache_capacity(256)
            // A user's statement text may hold data; the engine logs what matters itself.
            .disable_statement_logging())
    }

    /// Looks at the path before SQLite does, whose one message for all of this is "unable to open".
    pub(crate) fn check_path(&self) -> Result<(), StoreError> {
        if self.in_memory {
            return Ok(());
        }
        let shown = self.path.display();
        let refuse = |text: String| Err(StoreError::Unusable(text));
        let directory = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        if let Some(directory) = directory
            && !directory.exists()
        {
            let missing = directory.display();
            if !self.create_directories {
                return refuse(format!(
                    "{shown}: the directory {missing} is missing: create it, or open the file with `create_directories`"
                ));
            }
            if let Err(e) = std::fs::create_dir_all(directory) {
                return refuse(format!("{shown}: the directory {missing} can't be created: {e}"));
            }
        }
        if self.path.is_dir() {
            return refuse(format!("{shown} is a directory: name a file in it"));
        }
        if self.existing_only && !self.path.exists() {
            return refuse(format!("{shown} is missing, and `existing_only` forbids to create it"));
        }
        Ok(())
    }

    /// The options that a URL asks for.
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        let rest = url.strip_prefix("sqlite:").ok_or_else(|| {
            StoreError::Unusable(format!("{url:?} is no SQLite URL: write sqlite://path/to/file or sqlite::memory:"))
        })?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = path.strip_prefix("//").unwrap_or(path);
        if path == ":memory:" {
            return Ok(Self::memory());
        }
        if path.is_empty() {
            return Err(StoreError::Unusable(format!("{url:?} names no file: write sqlite://path/to/file")));
        }
        match query {
            "" | "mode=rwc" => Ok(Self::file(path)),
            "mode=rw" => Ok(Self::file(path).existing_only()),
            other => Err(StoreError::Unusable(format!(
                "{url:?}: the store can't be opened with {other:?}; mode=rwc (create the file if missing) and mode=rw \
                 are known, the rest is set with `SqliteOptions`"
            ))),
        }
    }
}
