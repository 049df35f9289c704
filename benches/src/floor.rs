//! What the same server does without us: single rows like a journal entry, one a commit, through the same driver.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::Executor;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::AnyError;

const INSERT: &str = "INSERT INTO floor_journal (run_id, position, kind, name, nth, phase, codec, payload, version, recorded_at) \
                      VALUES ($1, $2, 'step', 'one', 1, 'ok', 0, $3, 1, clock_timestamp())";

/// A table of the journal's shape.
async fn table(pool: &sqlx::PgPool) -> Result<(), AnyError> {
    pool.execute(
        "CREATE TABLE IF NOT EXISTS floor_journal (run_id uuid NOT NULL, position int NOT NULL, kind text NOT NULL, \
         name text NOT NULL, nth int NOT NULL, phase text NOT NULL, codec smallint NOT NULL, payload bytea NOT NULL, \
         mark bigint, version smallint NOT NULL, recorded_at timestamptz NOT NULL, PRIMARY KEY (run_id, position))",
    )
    .await?;
    pool.execute("TRUNCATE floor_journal").await?;
    Ok(())
}

/// Rows a second that `connections` connections insert, one a commit.
pub async fn rows_per_second(url: &str, connections: u32, time: Duration) -> Result<f64, AnyError> {
    let pool = PgPoolOptions::new().max_connections(connections).min_connections(connections).connect(url).await?;
    table(&pool).await?;
    let rows = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let (pool, rows) = (pool.clone(), rows.clone());
        tasks.push(tokio::spawn(async move {
            let mut connection = pool.acquire().await?;
            let run = Uuid::now_v7();
            let mut position = 0i32;
            while began.elapsed() < time {
                sqlx::query(INSERT).bind(run).bind(position).bind(&b"1234"[..]).execute(&mut *connection).await?;
                position += 1;
                rows.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, sqlx::Error>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let rate = rows.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    pool.close().await;
    Ok(rate)
}

/// The time of one single-row commit, in seconds: median of many, one connection.
pub async fn commit_seconds(url: &str, count: usize) -> Result<f64, AnyError> {
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
    table(&pool).await?;
    let mut connection = pool.acquire().await?;
    let run = Uuid::now_v7();
    let mut times = Vec::new();
    for position in 0..count {
        let began = Instant::now();
        let position = i32::try_from(position)?;
        sqlx::query(INSERT).bind(run).bind(position).bind(&b"1234"[..]).execute(&mut *connection).await?;
        times.push(began.elapsed().as_secs_f64());
    }
    drop(connection);
    pool.close().await;
    Ok(crate::report::median(times))
}
