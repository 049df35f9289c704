//! What the fuzz targets reach of this crate. Only with `--cfg fuzzing`.

use sqlx::sqlite::SqliteRow;
use workflow_core::StoreError;
use workflow_core::journal::Entry;

use crate::options::SqliteOptions;

/// Reads a row of the journal.
pub fn entry(row: &SqliteRow) -> Result<Entry, String> {
    crate::row::entry(row)
}

/// Reads a URL as connecting does.
pub fn url(url: &str) -> Result<(), StoreError> {
    SqliteOptions::parse(url).map(|_| ())
}
