//! Between rows and what the engine knows: numbers, times, facts, records.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;
use workflow_core::journal::{Entry, Fact, OpKey};
use workflow_core::store::{Mail, Message, ParentRef, ParkReason, RunRecord, Status};
use workflow_core::{ExecutorId, Payload, RunId, StoreError, Timestamp};

use crate::stored::{Stored, StoredFact, unsigned};

/// 2,000 years, which stays within the calendar of Postgres and of everybody who reads the time.
const MAX_MICROS: i64 = 2_000 * 366 * 24 * 3_600 * 1_000_000;

/// A duration in microseconds, at most 2,000 years. Rounded up, so that nothing is early.
pub(crate) fn micros(duration: Duration) -> i64 {
    let micros = duration.as_nanos().div_ceil(1_000);
    let micros = i64::try_from(micros).unwrap_or(MAX_MICROS).min(MAX_MICROS);
    // Postgres multiplies intervals in `double precision`, which is exact up to 285 years, and above for these.
    if micros < 1 << 53 { micros } else { (micros + 15) & !15 }
}

/// An instant that Postgres can hold, rounded up to the microsecond.
pub(crate) fn instant(at: Timestamp) -> Timestamp {
    let least = DateTime::<Utc>::UNIX_EPOCH;
    let most = DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let at = at.clamp(least, most);
    let below = i64::from(at.timestamp_subsec_nanos() % 1_000);
    if below == 0 { at } else { at + chrono::TimeDelta::nanoseconds(1_000 - below) }
}

/// A count or position that fits an `integer` column.
pub(crate) fn int4(what: &'static str, value: u32) -> Result<i32, StoreError> {
    i32::try_from(value).map_err(|_| StoreError::Unusable(format!("{what} {value} is too large")))
}

/// A sequence number; those above `i64::MAX` mean "all".
pub(crate) fn int8(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A limit of rows.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Text that Postgres can hold: it has no NUL.
pub(crate) fn text(words: &str) -> String {
    words.replace('\0', "\u{fffd}")
}

/// `name@version`, as claims compare workflows.
pub(crate) fn versions(workflows: &[(String, i32)]) -> Vec<String> {
    workflows.iter().map(|(name, version)| format!("{name}@{version}")).collect()
}

/// Why a row can't be read.
pub(crate) type Unreadable = String;

pub(crate) fn column<'r, T>(row: &'r PgRow, name: &str) -> Result<T, Unreadable>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(name).map_err(|error| error.to_string())
}

/// The fact of a row of the journal or an inbox.
pub(crate) fn fact(row: &PgRow) -> Result<Fact, Unreadable> {
    StoredFact::of(row)?.read()
}

/// A row of the journal that must be at `position`.
pub(crate) fn entry(row: &PgRow, position: u32) -> Result<Entry, Unreadable> {
    Stored::of(row)?.read(position)
}

/// A row of an inbox.
pub(crate) fn message(row: &PgRow) -> Result<Message, Unreadable> {
    let seq: i64 = column(row, "seq")?;
    Ok(Message { seq: unsigned("seq", seq)?, fact: fact(row).map_err(|e| format!("message {seq}: {e}"))? })
}

/// A row of an inbox with its run.
pub(crate) fn mail(row: &PgRow) -> Result<Mail, StoreError> {
    let run = run_id(row, "run_id")?;
    Ok(Mail { run, message: message(row).map_err(|reason| StoreError::Corrupt { run: Some(run), reason })? })
}

/// A run's id.
pub(crate) fn run_id(row: &PgRow, name: &str) -> Result<RunId, StoreError> {
    column::<Uuid>(row, name).map(RunId).map_err(|reason| StoreError::Corrupt { run: None, reason })
}

/// The parent in a row of a run.
pub(crate) fn parent(row: &PgRow) -> Result<Option<ParentRef>, Unreadable> {
    let Some(run) = column::<Option<Uuid>>(row, "parent_id")? else { return Ok(None) };
    let nth: i32 = column(row, "parent_nth")?;
    let key = OpKey {
        kind: column(row, "parent_kind")?,
        name: column(row, "parent_name")?,
        nth: unsigned("parent_nth", nth.into())?,
    };
    Ok(Some(ParentRef { run: RunId(run), key }))
}

/// A row of `find` and `list`.
pub(crate) fn record(row: &PgRow) -> Result<RunRecord, StoreError> {
    let id = run_id(row, "id")?;
    read_record(row, id).map_err(|reason| StoreError::Corrupt { run: Some(id), reason })
}

fn read_record(row: &PgRow, id: RunId) -> Result<RunRecord, Unreadable> {
    let status: String = column(row, "status")?;
    let output: Option<Vec<u8>> = column(row, "output")?;
    let park_code: Option<String> = column(row, "park_code")?;
    let crashes: i32 = column(row, "crashes")?;
    Ok(RunRecord {
        id,
        invoke_id: column(row, "invoke_id")?,
        workflow: column(row, "workflow")?,
        version: column(row, "version")?,
        queue: column(row, "queue")?,
        status: Status::parse(&status).ok_or_else(|| format!("its status {status:?} is unknown"))?,
        input: Payload { codec: column(row, "input_codec")?, bytes: column(row, "input")? },
        output: match output {
            Some(bytes) => Some(Payload { codec: column(row, "output_codec")?, bytes }),
            None => None,
        },
        parked: match park_code {
            Some(code) => {
                let message: Option<String> = column(row, "park_message")?;
                Some(ParkReason { code, message: message.unwrap_or_default() })
            }
            None => None,
        },
        parent: parent(row)?,
        depth: column(row, "depth")?,
        owner: column::<Option<Uuid>>(row, "owner")?.map(ExecutorId),
        wake_at: column(row, "wake_at")?,
        crashes: unsigned("crashes", crashes.into())?,
        created_at: column(row, "created_at")?,
        finished_at: column(row, "finished_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_bounded_and_never_early() {
        assert_eq!(micros(Duration::from_nanos(1)), 1);
        assert_eq!(micros(Duration::from_micros(7)), 7);
        assert_eq!(micros(Duration::MAX), MAX_MICROS);
        assert_eq!(micros(Duration::from_micros((1 << 53) + 1)), (1 << 53) + 16);
        let odd = DateTime::from_timestamp(1, 1_001).expect("valid");
        assert_eq!(instant(odd), DateTime::from_timestamp(1, 2_000).expect("valid"));
        assert!(instant(DateTime::<Utc>::MAX_UTC) < DateTime::<Utc>::MAX_UTC);
        assert_eq!(instant(DateTime::<Utc>::MIN_UTC), DateTime::<Utc>::UNIX_EPOCH);
    }
}
