//! How both databases' tables are read: what differs is in the statements, which give ids as they are kept, and instants as
//! microseconds since 1970.

use crate::record::Time;

macro_rules! query {
    ($queries:literal, $name:literal) => {
        include_str!(concat!("../../queries/", $queries, "/", $name, ".sql"))
    };
}

/// A module that reads the tables by the statements of a directory, in a transaction that begins with one snapshot for all.
macro_rules! tables {
    ($module:ident: $connection:ident, $row:ident, $queries:literal, $begin:literal) => {
        pub(super) mod $module {
            use sqlx::$module::{$connection, $row};
            use sqlx::{Connection, Row};
            use uuid::Uuid;

            use super::instant;
            use crate::dump::{Dump, DumpError, Effect, Entry, Event, Executor, Key, Message, Run, Subscription};

            pub(in crate::dump) async fn read(url: &str) -> Result<Dump, DumpError> {
                let mut connection = $connection::connect(url).await?;
                // Before the snapshot: what happened until then is in it.
                let taken_at = instant(sqlx::query_scalar(query!($queries, "now")).fetch_one(&mut connection).await?);
                let mut dump = Dump { taken_at, ..Dump::default() };
                let mut tx = connection.begin_with($begin).await?;
                for row in sqlx::query(query!($queries, "runs")).fetch_all(&mut *tx).await? {
                    let run = run(&row)?;
                    dump.runs.insert(run.id, run);
                }
                for row in sqlx::query(query!($queries, "journal")).fetch_all(&mut *tx).await? {
                    dump.journals.entry(row.try_get("run_id")?).or_default().push(entry(&row)?);
                }
                for row in sqlx::query(query!($queries, "inbox")).fetch_all(&mut *tx).await? {
                    let message = Message {
                        seq: row.try_get("seq")?,
                        key: key(&row)?,
                        phase: row.try_get("phase")?,
                        mark: row.try_get("mark")?,
                    };
                    dump.inboxes.entry(row.try_get("run_id")?).or_default().push(message);
                }
                let events = sqlx::query(query!($queries, "events")).fetch_all(&mut *tx).await?;
                dump.events = events.iter().map(event).collect::<Result<_, _>>()?;
                let subscriptions = sqlx::query(query!($queries, "subscriptions")).fetch_all(&mut *tx).await?;
                dump.subscriptions = subscriptions.iter().map(subscription).collect::<Result<_, _>>()?;
                let executors = sqlx::query(query!($queries, "executors")).fetch_all(&mut *tx).await?;
                dump.executors = executors.iter().map(executor).collect::<Result<_, _>>()?;
                if sqlx::query_scalar::<_, i64>(query!($queries, "has_tables")).fetch_one(&mut *tx).await? != 0 {
                    let effects = sqlx::query(query!($queries, "effects")).fetch_all(&mut *tx).await?;
                    dump.effects = Some(effects.iter().map(effect).collect::<Result<_, _>>()?);
                    dump.accounts = sqlx::query_as(query!($queries, "accounts")).fetch_all(&mut *tx).await?;
                }
                tx.rollback().await?;
                connection.close().await.ok();
                Ok(dump)
            }

            pub(in crate::dump) async fn journal(url: &str, run: Uuid) -> Result<Vec<Entry>, DumpError> {
                let mut connection = $connection::connect(url).await?;
                let rows = sqlx::query(query!($queries, "journal_of")).bind(run).fetch_all(&mut connection).await?;
                connection.close().await.ok();
                Ok(rows.iter().map(entry).collect::<Result<_, _>>()?)
            }

            fn key(row: &$row) -> Result<Key, sqlx::Error> {
                Ok(Key { kind: row.try_get("kind")?, name: row.try_get("name")?, nth: row.try_get("nth")? })
            }

            fn run(row: &$row) -> Result<Run, sqlx::Error> {
                let parent: Option<Uuid> = row.try_get("parent_id")?;
                let parent = match parent {
                    Some(parent) => {
                        let (kind, name, nth) =
                            (row.try_get("parent_kind")?, row.try_get("parent_name")?, row.try_get("parent_nth")?);
                        Some((parent, Key { kind, name, nth }))
                    }
                    None => None,
                };
                let code: Option<String> = row.try_get("park_code")?;
                let message: Option<String> = row.try_get("park_message")?;
                let (codec, output): (Option<i64>, Option<Vec<u8>>) =
                    (row.try_get("output_codec")?, row.try_get("output")?);
                Ok(Run {
                    id: row.try_get("id")?,
                    invoke_id: row.try_get("invoke_id")?,
                    workflow: row.try_get("workflow")?,
                    version: row.try_get("version")?,
                    queue: row.try_get("queue")?,
                    status: row.try_get("status")?,
                    output: output.map(|bytes| (codec.unwrap_or(0), bytes)),
                    parent,
                    owner: row.try_get("owner")?,
                    wake_at: row.try_get::<Option<i64>, _>("wake_at")?.map(instant),
                    mail: row.try_get("mail")?,
                    crashes: row.try_get("crashes")?,
                    parked: code.map(|code| (code, message.unwrap_or_default())),
                    created_at: instant(row.try_get("created_at")?),
                    finished_at: row.try_get::<Option<i64>, _>("finished_at")?.map(instant),
                })
            }

            fn entry(row: &$row) -> Result<Entry, sqlx::Error> {
                Ok(Entry {
                    position: row.try_get("position")?,
                    key: key(row)?,
                    phase: row.try_get("phase")?,
                    codec: row.try_get("codec")?,
                    payload: row.try_get("payload")?,
                    mark: row.try_get("mark")?,
                    recorded_at: instant(row.try_get("recorded_at")?),
                    committed_at: row.try_get::<Option<i64>, _>("committed_at")?.map(instant),
                })
            }

            fn event(row: &$row) -> Result<Event, sqlx::Error> {
                Ok(Event {
                    name: row.try_get("name")?,
                    key: row.try_get("key")?,
                    seq: row.try_get("seq")?,
                    id: row.try_get("id")?,
                    payload: row.try_get("payload")?,
                    emitted_at: instant(row.try_get("emitted_at")?),
                    expires_at: instant(row.try_get("expires_at")?),
                })
            }

            fn subscription(row: &$row) -> Result<Subscription, sqlx::Error> {
                Ok(Subscription {
                    run: row.try_get("run_id")?,
                    key: key(row)?,
                    topic_name: row.try_get("topic_name")?,
                    topic_key: row.try_get("topic_key")?,
                    after: row.try_get("after_seq")?,
                })
            }

            fn executor(row: &$row) -> Result<Executor, sqlx::Error> {
                Ok(Executor {
                    id: row.try_get("id")?,
                    name: row.try_get("name")?,
                    alive: row.try_get::<i64, _>("alive")? != 0,
                    lease_until: instant(row.try_get("lease_until")?),
                })
            }

            fn effect(row: &$row) -> Result<Effect, sqlx::Error> {
                Ok(Effect {
                    run: row.try_get("run")?,
                    step: row.try_get("step")?,
                    nth: row.try_get("nth")?,
                    token: row.try_get("token")?,
                    account: row.try_get("account")?,
                    amount: row.try_get("amount")?,
                })
            }
        }
    };
}

tables!(postgres: PgConnection, PgRow, "pg", "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY");
// A snapshot from the first read on.
tables!(sqlite: SqliteConnection, SqliteRow, "sqlite", "BEGIN");

/// The instant of stored microseconds.
fn instant(micros: i64) -> Time {
    Time::from_timestamp_micros(micros).unwrap_or(Time::MAX_UTC)
}
