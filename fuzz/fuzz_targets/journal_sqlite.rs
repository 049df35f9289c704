//! Rows of the journal as SQLite hands them out, with any value in any column: an entry, or a reason.
#![no_main]

use std::cell::RefCell;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Connection, Sqlite, SqliteConnection};
use tokio::runtime::Runtime;

#[derive(Debug, Arbitrary)]
enum Value<'a> {
    Null,
    Integer(i64),
    Small(u8),
    Real(f64),
    Text(&'a str),
    Word(u8),
    Blob(&'a [u8]),
}

/// In the order of the query.
type Row<'a> = [Value<'a>; 10];

const WORDS: [&str; 6] = ["asked", "retry", "ok", "failed", "step", "event"];

fn bind<'q>(
    query: sqlx::query::Query<'q, Sqlite, SqliteArguments>,
    value: Value<'_>,
) -> sqlx::query::Query<'q, Sqlite, SqliteArguments> {
    match value {
        Value::Null => query.bind(None::<i64>),
        Value::Integer(n) => query.bind(n),
        Value::Small(n) => query.bind(i64::from(n % 4)),
        Value::Real(n) => query.bind(n),
        Value::Text(text) => query.bind(text.to_owned()),
        Value::Word(n) => query.bind(WORDS[usize::from(n) % WORDS.len()]),
        Value::Blob(bytes) => query.bind(bytes.to_vec()),
    }
}

thread_local! {
    static DATABASE: RefCell<(Runtime, SqliteConnection)> = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connection = runtime.block_on(SqliteConnection::connect("sqlite::memory:")).expect("a database");
        RefCell::new((runtime, connection))
    };
}

fuzz_target!(|row: Row<'_>| {
    DATABASE.with_borrow_mut(|(runtime, connection)| {
        let query = row.into_iter().fold(sqlx::query("SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"), bind);
        let row = runtime.block_on(query.fetch_one(connection)).expect("a row");
        if let Ok(entry) = workflow_sqlite::fuzzing::entry(&row) {
            assert!((0..=workflow_core::journal::ENTRY_VERSION).contains(&entry.version));
        }
    });
});
