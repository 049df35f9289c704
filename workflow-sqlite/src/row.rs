//! Rows in and out: how facts, runs and ids are bound and read.

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite};
use uuid::Uuid;
use workflow_core::journal::{ENTRY_VERSION, Entry, Fact, OpKey, Phase};
use workflow_core::store::{Mail, Message, ParentRef, ParkReason, RunRecord, Status};
use workflow_core::{ExecutorId, Payload, RunId, StoreError};

use crate::clock::timestamp;
use crate::error;

/// A statement with its parameters.
pub(crate) type Bound<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Binds kind, name, nth, phase, mark, codec and payload.
pub(crate) fn bind_fact<'q>(query: Bound<'q>, fact: &Fact) -> Bound<'q> {
    query
        .bind(fact.key.kind.clone())
        .bind(fact.key.name.clone())
        .bind(i64::from(fact.key.nth))
        .bind(fact.phase.as_str())
        .bind(fact.mark)
        .bind(i64::from(fact.payload.codec))
        .bind(fact.payload.bytes.clone())
}

/// Reads kind, name, nth, phase, mark, codec and payload from column `at` on. The reason when they aren't a fact.
fn fact(row: &SqliteRow, at: usize) -> Result<Fact, String> {
    let word: &str = read(row, at + 3)?;
    let key = OpKey { kind: read(row, at)?, name: read(row, at + 1)?, nth: whole(row, at + 2)? };
    let phase = Phase::parse(word).ok_or_else(|| format!("{key} has the unknown phase {word:?}"))?;
    Ok(Fact { key, phase, payload: payload(row, at + 5)?, mark: read(row, at + 4)? })
}

/// Reads codec and payload from column `at` on.
pub(crate) fn payload(row: &SqliteRow, at: usize) -> Result<Payload, String> {
    Ok(Payload { codec: whole(row, at)?, bytes: read(row, at + 1)? })
}

/// Reads an entry. The reason when the row isn't one that this version understands.
pub(crate) fn entry(row: &SqliteRow) -> Result<Entry, String> {
    let position = whole(row, 0)?;
    let version: i16 = whole(row, 1)?;
    if !(0..=ENTRY_VERSION).contains(&version) {
        return Err(format!(
            "the entry at position {position} has version {version}, and this build reads up to {ENTRY_VERSION}: \
             deploy the newer build, then resume the run"
        ));
    }
    let fact = fact(row, 2).map_err(|reason| format!("the entry at position {position}: {reason}"))?;
    Ok(Entry { position, fact, version, recorded_at: timestamp(read(row, 9)?) })
}

/// Reads a message. The reason when the row isn't one.
pub(crate) fn mail(row: &SqliteRow) -> Result<Mail, String> {
    let seq = whole(row, 1)?;
    let fact = fact(row, 2).map_err(|reason| format!("message {seq}: {reason}"))?;
    Ok(Mail { run: RunId(read(row, 0)?), message: Message { seq, fact } })
}

/// Reads the four columns of a parent from column `at` on.
pub(crate) fn parent(row: &SqliteRow, at: usize) -> Result<Option<ParentRef>, String> {
    let Some(run) = read::<Option<Uuid>>(row, at)? else { return Ok(None) };
    let key = OpKey { kind: read(row, at + 1)?, name: read(row, at + 2)?, nth: whole(row, at + 3)? };
    Ok(Some(ParentRef { run: RunId(run), key }))
}

/// Reads what `find_by_id.sql` returns.
pub(crate) fn record(row: &SqliteRow) -> Result<RunRecord, StoreError> {
    let id = RunId(row.try_get(0).map_err(error::statement)?);
    try_record(id, row).map_err(|reason| StoreError::Corrupt { run: Some(id), reason })
}

fn try_record(id: RunId, row: &SqliteRow) -> Result<RunRecord, String> {
    let word: &str = read(row, 5)?;
    let output = match read::<Option<i64>>(row, 8)? {
        Some(_) => Some(payload(row, 8)?),
        None => None,
    };
    let parked = match read::<Option<String>>(row, 10)? {
        Some(code) => Some(ParkReason { code, message: read(row, 11)? }),
        None => None,
    };
    Ok(RunRecord {
        id,
        invoke_id: read(row, 1)?,
        workflow: read(row, 2)?,
        version: whole(row, 3)?,
        queue: read(row, 4)?,
        status: status(word)?,
        input: payload(row, 6)?,
        output,
        parked,
        parent: parent(row, 12)?,
        depth: whole(row, 16)?,
        owner: read::<Option<Uuid>>(row, 17)?.map(ExecutorId),
        wake_at: read::<Option<i64>>(row, 18)?.map(timestamp),
        crashes: whole(row, 19)?,
        created_at: timestamp(read(row, 20)?),
        finished_at: read::<Option<i64>>(row, 21)?.map(timestamp),
    })
}

/// The status of a stored word.
pub(crate) fn status(word: &str) -> Result<Status, String> {
    Status::parse(word).ok_or_else(|| format!("unknown status {word:?}"))
}

/// Column `at`, or why it can't be read.
pub(crate) fn read<'r, T>(row: &'r SqliteRow, at: usize) -> Result<T, String>
where
    T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
{
    row.try_get(at).map_err(|e| e.to_string())
}

/// Column `at` as a whole number that fits.
pub(crate) fn whole<T: TryFrom<i64>>(row: &SqliteRow, at: usize) -> Result<T, String> {
    let number: i64 = read(row, at)?;
    T::try_from(number).map_err(|_| format!("column {at} is out of range: {number}"))
}

/// A count as SQLite stores it.
pub(crate) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A limit as SQLite takes it.
pub(crate) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
