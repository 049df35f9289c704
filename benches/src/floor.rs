//! What the same server does without us: rows like a journal's entries, through the same driver, into a table like it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgConnection, PgPool};
use uuid::Uuid;

use crate::AnyError;
use crate::clock::ms;
use crate::figure::{Figures, latencies};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS floor_journal (run_id uuid NOT NULL, position int NOT NULL, \
                     kind text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL, nth int NOT NULL, \
                     phase text COLLATE \"C\" NOT NULL, codec smallint NOT NULL, payload bytea NOT NULL, mark bigint, \
                     version smallint NOT NULL, recorded_at timestamptz NOT NULL, PRIMARY KEY (run_id, position))";
const INSERT: &str = "INSERT INTO floor_journal (run_id, position, kind, name, nth, phase, codec, payload, version, recorded_at) \
                      VALUES ($1, $2, 'step', 'one', 1, 'ok', 0, $3, 1, clock_timestamp())";
const INSERT_MANY: &str = "INSERT INTO floor_journal (run_id, position, kind, name, nth, phase, codec, payload, version, recorded_at) \
                           SELECT e.run_id, e.position, e.kind, e.name, e.nth, e.phase, e.codec, e.payload, 1, clock_timestamp() \
                           FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::int[], $6::text[], $7::smallint[], $8::bytea[]) \
                           AS e (run_id, position, kind, name, nth, phase, codec, payload)";
const PAYLOAD: &[u8] = b"1234";

/// A way of inserting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// In one statement, which is one commit.
    rows: usize,
    connections: u32,
}

/// One commit after the other: what a lone step is set beside.
pub const COMMIT: Floor = Floor::new(1, 1);
/// All that are measured.
pub const ALL: [Floor; 9] = [
    COMMIT,
    Floor::new(1, 8),
    Floor::new(1, 32),
    Floor::new(100, 1),
    Floor::new(100, 2),
    Floor::new(100, 4),
    Floor::new(1_000, 1),
    Floor::new(1_000, 2),
    Floor::new(1_000, 4),
];

impl Floor {
    const fn new(rows: usize, connections: u32) -> Self {
        Self { rows, connections }
    }

    pub fn is_batch(self) -> bool {
        self.rows > 1
    }

    pub fn name(self) -> String {
        let connections = if self.connections == 1 { "connection" } else { "connections" };
        let rows = if self.is_batch() { format!("{} rows a commit", self.rows) } else { "single rows".to_owned() };
        format!("{rows}, {} {connections}", self.connections)
    }

    /// Inserts for so long: rows_per_s, and the times of the commits.
    pub async fn measure(self, url: &str, time: Duration) -> Result<Figures, AnyError> {
        let pool = PgPoolOptions::new().max_connections(self.connections).connect(url).await?;
        pool.execute(TABLE).await?;
        pool.execute("TRUNCATE floor_journal").await?;
        let figures = self.insert(&pool, time).await;
        pool.close().await;
        figures
    }

    async fn insert(self, pool: &PgPool, time: Duration) -> Result<Figures, AnyError> {
        let rows = Arc::new(AtomicU64::new(0));
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            let mut connection = pool.acquire().await?;
            // Prepares the statement.
            self.commit(&mut connection, Uuid::now_v7(), 0).await?;
            connections.push(connection);
        }
        let began = Instant::now();
        let tasks = connections.into_iter().map(|mut connection| {
            let rows = rows.clone();
            tokio::spawn(async move {
                let (run, mut position, mut times) = (Uuid::now_v7(), 0, Vec::new());
                while began.elapsed() < time {
                    let before = Instant::now();
                    self.commit(&mut connection, run, position).await?;
                    times.push(ms(before.elapsed()));
                    position += i32::try_from(self.rows)?;
                    rows.fetch_add(self.rows as u64, Ordering::Relaxed);
                }
                Ok::<_, AnyError>(times)
            })
        });
        let mut times = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            times.extend(task.await??);
        }
        let rate = rows.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
        let mut figures = Figures::from([("rows_per_s".to_owned(), rate)]);
        latencies(&mut figures, "", &times);
        Ok(figures)
    }

    async fn commit(self, connection: &mut PgConnection, run: Uuid, position: i32) -> Result<(), AnyError> {
        if !self.is_batch() {
            sqlx::query(INSERT).bind(run).bind(position).bind(PAYLOAD).execute(connection).await?;
            return Ok(());
        }
        // As in a batch of ours: a row for each of many runs.
        let count = self.rows;
        let runs: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
        sqlx::query(INSERT_MANY)
            .bind(runs)
            .bind(vec![position; count])
            .bind(vec!["step"; count])
            .bind(vec!["one"; count])
            .bind(vec![1; count])
            .bind(vec!["ok"; count])
            .bind(vec![0i16; count])
            .bind(vec![PAYLOAD; count])
            .execute(connection)
            .await?;
        Ok(())
    }
}
