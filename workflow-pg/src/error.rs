//! What an error of the driver means for the caller: what is certain about the transaction, and what to do next.

use std::io::ErrorKind;

use sqlx::Error;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use uuid::Uuid;
use workflow_core::{RunId, StoreError};

use crate::pooler::TRANSACTION_MODE;

/// What was going on when the error came. It decides what a lost connection means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum During {
    /// Getting a connection.
    Connect,
    /// A statement that writes nothing, or one inside a transaction that isn't committed yet.
    Work,
    /// A `COMMIT`, or a writing statement that is its own transaction.
    Commit,
}

/// Maps a driver's error. Never shows a password: neither the driver's nor the server's messages hold one.
pub(crate) fn store_error(during: During, error: Error) -> StoreError {
    match error {
        Error::Database(error) => database_error(during, &*error),
        Error::PoolTimedOut => StoreError::Unavailable(
            "no connection became free in time: raise the size of the pool, or see whether the server is reachable and \
             has connections left (max_connections)"
                .to_owned(),
        ),
        Error::PoolClosed => StoreError::Unavailable("the store was shut down".to_owned()),
        Error::Configuration(error) => StoreError::Unusable(format!(
            "the connection URL can't be used: {error}; it looks like postgres://user:password@host:5432/database, with odd characters percent-encoded"
        )),
        Error::Tls(error) => tls(&*error),
        Error::Encode(error) => StoreError::Unusable(format!("a value can't be sent to the database: {error}")),
        Error::ColumnDecode { index, source } => {
            StoreError::Corrupt { run: None, reason: format!("column {index}: {source}") }
        }
        Error::Decode(error) => StoreError::Corrupt { run: None, reason: error.to_string() },
        // That is how the driver hands on what the TLS library says of a certificate.
        Error::Io(error) if during == During::Connect && error.kind() == ErrorKind::InvalidData => tls(&error),
        Error::Io(error) if during == During::Connect => {
            StoreError::Unavailable(format!("{error}; check host and port, and that the server runs"))
        }
        other => lost(during, &other.to_string()),
    }
}

/// Maps an error of a statement that reads or is inside a transaction.
pub(crate) fn work(error: Error) -> StoreError {
    store_error(During::Work, error)
}

/// Maps an error of a `COMMIT` or of a writing statement that is its own transaction.
pub(crate) fn commit(error: Error) -> StoreError {
    store_error(During::Commit, error)
}

/// Maps an error of getting a connection.
pub(crate) fn connect(error: Error) -> StoreError {
    store_error(During::Connect, error)
}

fn tls(error: &dyn std::error::Error) -> StoreError {
    StoreError::Unusable(format!(
        "TLS failed: {error}; the server's certificate must be valid, be for the host of the connection URL, and be signed by an authority that is known or named by sslrootcert=FILE in the URL; where nobody can be in between, sslmode=disable goes without TLS"
    ))
}

fn lost(during: During, reason: &str) -> StoreError {
    match during {
        During::Commit => StoreError::Unknown(reason.to_owned()),
        During::Connect | During::Work => StoreError::Unavailable(reason.to_owned()),
    }
}

fn database_error(during: During, error: &dyn DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default();
    let message = error.message();
    let told = || format!("{message} ({code})");
    match &*code {
        // A deadlock, a serialization failure, a lock that didn't come, a cancelled statement, an idle transaction that
        // was ended: rolled back for certain.
        "40001" | "40P01" | "55P03" | "57014" | "25P03" | "25P04" => StoreError::Contention(told()),
        "23505" => unique_violation(error),
        // The server goes down or ends the session, perhaps while it was waiting for a replica after the commit.
        "57P01" | "57P02" | "57P03" | "57P05" | "40003" | "08000" | "08003" | "08006" | "08007" => {
            lost(during, &told())
        }
        "42P01" | "3F000" | "42703" | "42883" => StoreError::Schema(format!(
            "{message}: it is missing or older than this code; run migrations (`Store::migrate`), or restore it where they were run"
        )),
        "25006" => StoreError::Unusable(format!(
            "{message}: the server is read-only, a standby perhaps; connect to the primary, or end default_transaction_read_only"
        )),
        "28P01" | "28000" => StoreError::Unusable(format!(
            "{message}: check user and password of the connection URL (percent-encode odd characters) and the server's pg_hba.conf"
        )),
        "3D000" => StoreError::Unusable(format!("{message}: create it, or check the last part of the connection URL")),
        "42501" => StoreError::Unusable(format!(
            "{message}: grant it to the role of the connection URL; docs/postgres.md has what an executor needs, and migrations need the owner of the schema workflow"
        )),
        "26000" | "42P05" => StoreError::Unusable(format!("{message}: {TRANSACTION_MODE}")),
        "08P01" if message.contains("startup parameter") => StoreError::Unusable(format!(
            "{message}: this is a pooler; connect to the server itself, or to a pool in session mode that ignores this parameter (PgBouncer: ignore_startup_parameters)"
        )),
        "53300" => StoreError::Unavailable(format!(
            "{}: raise the server's max_connections, or lower the pool_size of whoever connects to it",
            told()
        )),
        "53100" => {
            StoreError::Unavailable(format!("{}: free space for the server, then work goes on by itself", told()))
        }
        // Out of disk, memory or connections.
        class if class.starts_with("53") => StoreError::Unavailable(told()),
        _ => StoreError::Unusable(format!("the database refused a statement: {}", told())),
    }
}

fn unique_violation(error: &dyn DatabaseError) -> StoreError {
    match error.constraint() {
        Some("journal_position_is_once") => {
            match error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::detail).and_then(taken_position)
            {
                Some((run, position)) => StoreError::PositionTaken { run, position },
                None => StoreError::PositionTaken { run: RunId(Uuid::nil()), position: 0 },
            }
        }
        Some("executor_id_is_used_once" | "executor_writer_slot_is_once") => StoreError::Unusable(
            "the id of the executor was used before: each life of an executor has its own".to_owned(),
        ),
        // Two batches took the same event id or the like at the same time: the next try sees the other's row.
        _ => StoreError::Contention(error.message().to_owned()),
    }
}

/// Reads `Key (run_id, "position")=(018f.., 3) already exists.` in whatever language: the values are in the last
/// parentheses.
fn taken_position(detail: &str) -> Option<(RunId, u32)> {
    let (_, values) = detail.rsplit_once("=(")?;
    let (values, _) = values.split_once(')')?;
    let (run, position) = values.split_once(',')?;
    Some((run.trim().parse().ok()?, position.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_taken_position_is_read_from_the_detail() {
        let run = RunId::generate();
        let detail = format!("Schlüssel »(run_id, \"position\")=({run}, 17)« existiert bereits.");
        assert_eq!(taken_position(&detail), Some((run, 17)));
        assert_eq!(taken_position("nothing"), None);
    }

    #[test]
    fn a_lost_connection_is_unknown_only_during_a_commit() {
        let broken = || Error::Io(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(matches!(commit(broken()), StoreError::Unknown(_)));
        assert!(matches!(work(broken()), StoreError::Unavailable(_)));
        assert!(matches!(connect(broken()), StoreError::Unavailable(_)));
    }
}
