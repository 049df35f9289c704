//! A throwaway server.

use std::path::Path;
use std::sync::Arc;

use crate::database::Database;
use crate::postmaster::Postmaster;
use crate::{Error, Options};

/// A Postgres server of one's own, in a fresh directory, on a free port of 127.0.0.1, with durability on.
///
/// Dropping the last clone stops it and removes its directory. Handles may be cloned and shared between tasks.
#[derive(Clone)]
pub struct Server {
    postmaster: Arc<Postmaster>,
}

/// How a server goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// Cuts off all clients, writes everything down, goes. Nothing to recover at the next start.
    Fast,
    /// Goes at once; the next start recovers from the write-ahead log.
    Immediate,
    /// SIGKILL: a crash. Backends in the middle of a statement live on until they notice.
    Kill,
}

impl Shutdown {
    fn signal(self) -> &'static str {
        match self {
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
            Self::Kill => "KILL",
        }
    }
}

impl Server {
    /// Finds the server programs, makes a cluster and starts it: about a second.
    ///
    /// # Errors
    ///
    /// [`Error::NoPostgres`] when there are no server programs; [`Error::Start`] carries the end of the server's log.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the start to finish in the background; what it started is removed then.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let postmaster = blocking(move || Postmaster::start(options)).await?;
        Ok(Self { postmaster: Arc::new(postmaster) })
    }

    /// The same outside of a runtime, for `main` of a benchmark.
    ///
    /// # Errors
    ///
    /// As [`Server::start`].
    pub fn start_blocking(options: Options) -> Result<Self, Error> {
        Ok(Self { postmaster: Arc::new(Postmaster::start(options)?) })
    }

    /// The address of a database of this server; `postgres` is always there. It stays the same over restarts.
    pub fn url(&self, database: &str) -> String {
        self.postmaster.url(database)
    }

    /// The port, of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.postmaster.port()
    }

    /// The directory with the server's files: `data`, `log`.
    pub fn directory(&self) -> &Path {
        self.postmaster.directory()
    }

    /// The last 40 lines of the server's log.
    pub fn log(&self) -> String {
        self.postmaster.log()
    }

    /// A fresh, empty database. It stays until the server goes.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] when the server refuses, or is down.
    pub async fn create_database(&self) -> Result<Database, Error> {
        Database::create(&self.url("postgres"), false).await
    }

    /// Takes the server down and leaves it down, until [`Server::up`].
    ///
    /// # Errors
    ///
    /// [`Error::Stop`] when it doesn't go within a minute.
    pub async fn down(&self, how: Shutdown) -> Result<(), Error> {
        let postmaster = Arc::clone(&self.postmaster);
        blocking(move || postmaster.end(how.signal())).await
    }

    /// Brings the server up again on its files and its port, after [`Server::down`].
    ///
    /// # Errors
    ///
    /// [`Error::Start`] carries the end of the server's log.
    pub async fn up(&self) -> Result<(), Error> {
        let postmaster = Arc::clone(&self.postmaster);
        blocking(move || postmaster.launch()).await
    }

    /// Down, and up again.
    ///
    /// # Errors
    ///
    /// Those of [`Server::down`] and [`Server::up`].
    pub async fn restart(&self, how: Shutdown) -> Result<(), Error> {
        self.down(how).await?;
        self.up().await
    }

    /// SIGKILLs the postmaster: a crash, and the server stays down. Short for `down(Shutdown::Kill)`.
    ///
    /// # Errors
    ///
    /// As [`Server::down`].
    pub async fn kill(&self) -> Result<(), Error> {
        self.down(Shutdown::Kill).await
    }

    /// Stops the server and removes its files, without blocking the runtime as a drop would for some milliseconds.
    ///
    /// # Errors
    ///
    /// None of its own; with other clones alive, the last one to go does it.
    pub async fn stop(self) -> Result<(), Error> {
        blocking(move || {
            drop(self);
            Ok(())
        })
        .await
    }
}

/// Runs what waits for processes off the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The other error, a cancellation, comes only when the runtime goes, and then nobody polls this.
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}
