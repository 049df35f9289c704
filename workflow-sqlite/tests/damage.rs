//! Journals in a file that somebody has edited: each run is read as it stands or refused by itself.

mod support;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sqlx::{Connection, SqliteConnection};
use support::{TempDir, make};
use workflow_core::journal::{ENTRY_VERSION, Entry};
use workflow_core::store::{CreateOutcome, NewRun, Store};
use workflow_core::{ExecutorId, RunId, Timestamp};
use workflow_sqlite::SqliteStore;

/// A row as a `STRICT` table takes it. Text may be anything but UTF-8.
#[derive(Debug, Clone)]
struct Row {
    position: i64,
    version: i64,
    kind: Vec<u8>,
    name: Vec<u8>,
    nth: i64,
    phase: Vec<u8>,
    mark: Option<i64>,
    codec: i64,
    payload: Vec<u8>,
    recorded_at: i64,
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => "\\PC{0,8}".prop_map(String::into_bytes), 1 => prop::collection::vec(any::<u8>(), 0..6)]
}

fn number(usual: std::ops::Range<i64>) -> impl Strategy<Value = i64> {
    let odd = prop::sample::select(vec![i64::MIN, -1, 32_768, 70_000, 1 << 31, 1 << 32, i64::MAX]);
    prop_oneof![12 => usual, 1 => odd]
}

fn row() -> impl Strategy<Value = Row> {
    let phases =
        prop::sample::select(vec!["asked", "retry", "ok", "failed"]).prop_map(|phase| phase.as_bytes().to_vec());
    let phase = prop_oneof![15 => phases, 1 => text()];
    let payload = prop::collection::vec(any::<u8>(), 0..12);
    let numbers = (number(0..2), number(1..3), number(0..3), number(0..2_000_000_000_000_000), any::<Option<i64>>());
    (numbers, text(), text(), phase, payload).prop_map(
        |((version, nth, codec, recorded_at, mark), kind, name, phase, payload)| Row {
            position: 0,
            version,
            kind,
            name,
            nth,
            phase,
            mark,
            codec,
            payload,
            recorded_at,
        },
    )
}

/// Up to four rows, mostly at their places.
fn journal() -> impl Strategy<Value = Vec<Row>> {
    (prop::collection::vec(row(), 0..4), number(0..1)).prop_map(|(mut rows, odd)| {
        for (position, row) in (0..).zip(&mut rows) {
            row.position = position;
        }
        if let Some(last) = rows.last_mut().filter(|_| odd != 0) {
            last.position = odd;
        }
        rows.sort_by_key(|row| row.position);
        rows.dedup_by_key(|row| row.position);
        rows
    })
}

fn is_readable(rows: &[Row]) -> bool {
    (0..).zip(rows).all(|(position, row)| {
        let texts = [&row.kind, &row.name, &row.phase].map(|text| std::str::from_utf8(text));
        row.position == position
            && (0..=i64::from(ENTRY_VERSION)).contains(&row.version)
            && u32::try_from(row.nth).is_ok()
            && i16::try_from(row.codec).is_ok()
            && texts.iter().all(Result::is_ok)
            && matches!(texts[2], Ok("asked" | "retry" | "ok" | "failed"))
    })
}

fn is_as_written(entry: &Entry, row: &Row) -> bool {
    let fact = &entry.fact;
    fact.key.kind.as_bytes() == row.kind
        && fact.key.name.as_bytes() == row.name
        && i64::from(fact.key.nth) == row.nth
        && fact.phase.as_str().as_bytes() == row.phase
        && fact.mark == row.mark
        && i64::from(fact.payload.codec) == row.codec
        && fact.payload.bytes == row.payload
        // What no calendar holds is the nearest that one does.
        && Timestamp::from_timestamp_micros(row.recorded_at).is_none_or(|at| at == entry.recorded_at)
}

async fn insert(connection: &mut SqliteConnection, run: RunId, row: &Row) {
    let sql = "INSERT INTO wf_journal (run, position, entry_version, kind, name, nth, phase, mark, codec, payload, recorded_at)
               VALUES (?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?, CAST(? AS TEXT), ?, ?, ?, ?)";
    let row = row.clone();
    let query = sqlx::query(sql).bind(run.0).bind(row.position).bind(row.version).bind(row.kind).bind(row.name);
    let query = query.bind(row.nth).bind(row.phase).bind(row.mark).bind(row.codec).bind(row.payload);
    query.bind(row.recorded_at).execute(connection).await.expect("inserted");
}

#[tokio::test]
async fn edited_journals_are_read_as_they_are_or_refused_one_by_one() {
    const RUNS: usize = 600;
    let directory = TempDir::new();
    let path = directory.file("runs.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    store.migrate().await.expect("migrates");
    let runs: Vec<NewRun> = (0..RUNS).map(|_| make::run()).collect();
    let created = store.create(&runs, true).await.expect("created");
    assert!(created.iter().all(|outcome| matches!(outcome, CreateOutcome::Created(_))));
    let mut connection = SqliteConnection::connect(path.to_str().expect("text")).await.expect("connects");
    let (mut runner, strategy) = (TestRunner::default(), journal());
    let mut rows_of = std::collections::HashMap::new();
    for run in &runs {
        let rows = strategy.new_tree(&mut runner).expect("a value").current();
        for row in &rows {
            insert(&mut connection, run.id, row).await;
        }
        rows_of.insert(run.id, rows);
    }
    let executor = ExecutorId::generate();
    store.register(executor, "test", make::LONG).await.expect("registers");
    let claimed = store.claim(&make::claim(executor, RUNS as u32)).await.expect("claims");
    assert_eq!(claimed.runs.len(), RUNS);
    let mut refused = 0;
    for run in claimed.runs {
        let rows = &rows_of[&run.id];
        match &run.journal {
            Ok(entries) => {
                assert!(is_readable(rows), "{rows:#?} was read as {entries:#?}");
                assert_eq!(entries.len(), rows.len());
                assert!(
                    entries.iter().zip(rows).all(|(entry, row)| is_as_written(entry, row)),
                    "{rows:#?} {entries:#?}"
                );
            }
            Err(reason) => {
                assert!(!is_readable(rows), "{reason}: {rows:#?}");
                refused += 1;
            }
        }
        // The same by the other way in: an error of this run alone.
        let read = store.journal(run.id, 0, 10).await;
        assert!(run.journal.is_err() || read.is_ok(), "{read:?}");
    }
    assert!((50..RUNS - 50).contains(&refused), "{refused} of {RUNS} were refused");
}
