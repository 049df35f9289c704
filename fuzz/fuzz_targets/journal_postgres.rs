//! Rows of the journal as Postgres hands them out: an entry that is what the row says, or a reason.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Row<'a> {
    position: i32,
    version: i16,
    kind: &'a str,
    name: &'a str,
    nth: i32,
    phase: Phase<'a>,
    codec: i16,
    payload: &'a [u8],
    mark: Option<i64>,
    expected: u32,
}

/// Mostly a word that is known.
#[derive(Debug, Arbitrary)]
enum Phase<'a> {
    Asked,
    Retry,
    Ok,
    Failed,
    Other(&'a str),
}

fuzz_target!(|row: Row<'_>| {
    let phase = match row.phase {
        Phase::Asked => "asked",
        Phase::Retry => "retry",
        Phase::Ok => "ok",
        Phase::Failed => "failed",
        Phase::Other(word) => word,
    };
    let stored = workflow_pg::fuzzing::Row {
        position: row.position,
        version: row.version,
        kind: row.kind,
        name: row.name,
        nth: row.nth,
        phase,
        codec: row.codec,
        payload: row.payload,
        mark: row.mark,
    };
    if let Ok(entry) = workflow_pg::fuzzing::entry(&stored, row.expected) {
        assert_eq!(i64::from(entry.position), i64::from(row.position));
        assert_eq!((entry.fact.key.kind.as_str(), entry.fact.key.name.as_str()), (row.kind, row.name));
        assert_eq!(i64::from(entry.fact.key.nth), i64::from(row.nth));
        assert_eq!(entry.fact.phase.as_str(), phase);
        assert_eq!((entry.fact.payload.codec, entry.fact.payload.bytes.as_slice()), (row.codec, row.payload));
        assert_eq!((entry.fact.mark, entry.version), (row.mark, row.version));
    }
});
