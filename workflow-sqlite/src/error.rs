//! What SQLite's errors mean for the engine.

use std::path::Path;

use workflow_core::StoreError;

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const SCHEMA: i32 = 17;
const CONSTRAINT: i32 = 19;
const NOTADB: i32 = 26;
const CONSTRAINT_PRIMARYKEY: i32 = 1555;
const CONSTRAINT_UNIQUE: i32 = 2067;

/// SQLite's extended result code, if the error comes from SQLite.
fn extended(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// SQLite's primary result code.
fn primary(error: &sqlx::Error) -> Option<i32> {
    extended(error).map(|code| code & 0xff)
}

/// Whether a row with this key exists.
pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    matches!(extended(error), Some(CONSTRAINT_PRIMARYKEY | CONSTRAINT_UNIQUE))
}

/// Whether somebody else holds the file's lock.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary(error), Some(BUSY | LOCKED))
}

/// The error of any statement but a commit.
pub(crate) fn statement(error: sqlx::Error) -> StoreError {
    let text = error.to_string();
    match primary(&error) {
        Some(BUSY | LOCKED) => StoreError::Contention(format!(
            "another process holds the lock of the SQLite file for longer than the busy timeout: {text}"
        )),
        Some(SCHEMA) => StoreError::Contention(text),
        Some(FULL) => StoreError::Unavailable(format!(
            "the disk of the SQLite file is full: nothing was written; free space, then work goes on by itself ({text})"
        )),
        Some(READONLY) => StoreError::Unusable(format!(
            "the SQLite file can't be written: give the process write access to the file and to its directory, where \
             SQLite keeps the `-wal` and `-shm` files beside it ({text})"
        )),
        Some(NOTADB) => StoreError::Unusable(format!("the file is no SQLite database: name another file ({text})")),
        Some(CORRUPT) => StoreError::Unusable(format!(
            "the SQLite file is damaged: stop every process that uses it, then restore a backup or salvage it with \
             `sqlite3 damaged.db .recover` ({text})"
        )),
        Some(CANTOPEN) => StoreError::Unusable(format!("the SQLite file can't be opened: {text}")),
        Some(1) if text.contains("no such table") || text.contains("no such column") => StoreError::Schema(format!(
            "the tables of the store are missing or of another version: run `migrate` first ({text})"
        )),
        Some(1 | CONSTRAINT) => StoreError::Unusable(format!("SQLite refused a statement of the store: {text}")),
        Some(_) => StoreError::Unavailable(text),
        None => match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::RowNotFound => {
                StoreError::Corrupt { run: None, reason: text }
            }
            sqlx::Error::Configuration(_) => StoreError::Unusable(text),
            _ => StoreError::Unavailable(text),
        },
    }
}

/// The error of a commit. What SQLite refuses before it writes is certain; a failing disk or thread is not.
pub(crate) fn commit(error: sqlx::Error) -> StoreError {
    match primary(&error) {
        // A full disk fails the write of the frames, and the last of them is what makes the commit.
        Some(BUSY | LOCKED | FULL | READONLY | SCHEMA | CONSTRAINT | 1) => statement(error),
        _ => StoreError::Unknown(format!("SQLite couldn't say whether the commit is on the disk: {error}")),
    }
}

/// The error of opening `path`: says which file it is about.
pub(crate) fn open(path: &Path, error: sqlx::Error) -> StoreError {
    let shown = path.display();
    match statement(error) {
        StoreError::Unusable(text) => StoreError::Unusable(format!("{shown}: {text}")),
        StoreError::Unavailable(text) => StoreError::Unavailable(format!("{shown}: {text}")),
        StoreError::Contention(text) => StoreError::Unavailable(format!("{shown}: {text}")),
        other => other,
    }
}
