//! W8: many sleepers due over a minute, after a restart.
//!
//! Another process puts them to sleep and ends. They are due only after that, so it tries a few first, to know how long
//! that takes.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};

use super::{Against, Case, Spec, Stores};
use crate::clock::{micros, ms_between, pass};
use crate::code::Stamps;
use crate::figure::latencies;
use crate::process::{self, Role};
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, proc, server};

pub const SPEC: Spec = Spec {
    id: "W8",
    what: "sleepers due over 60 s, after a restart",
    operation: "run",
    figure: "lateness_p99_ms",
    cases: &[Case::size(100_000), Case::size(1_000_000)],
    smoke: &[Case::size(200)],
    seconds: 60.0,
    repeats: 3,
    stores: Stores::All,
    against: Against::Nothing,
};

/// How long the restarted process is looked at while nothing is due.
const IDLE_S: f64 = 15.0;
/// Sleepers that are tried first.
const PILOT: u64 = 2_000;
const SECOND: f64 = 1e6;

/// When the sleepers are due: in even steps from the first one on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Due {
    first: u64,
    spread: u64,
    size: u64,
    /// Sleepers of the try, which have woken by then.
    tried: u64,
}

impl Due {
    fn of(&self, n: u64) -> u64 {
        self.first + u64::try_from(u128::from(self.spread) * u128::from(n) / u128::from(self.size)).unwrap_or(0)
    }
}

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let due: Due = process::run(Role::Prepare, &stage.setup).await?;
    let (size, idle_s) = (due.size, if stage.setup.smoke { 1.0 } else { IDLE_S });
    let stamps = Stamps::new(size);
    let transactions = newest_transaction(stage).await?;
    let memory_before = proc::memory_bytes();
    // Above the linger time a sleeper hangs up at once: what is in memory are those about to wake.
    let executor = stage.builder(10_000, &stamps).await?.start().await?;
    let mut meter = stage.meter().await?;
    pass(1.0).await;
    let before = meter.read().await?;
    pass(idle_s).await;
    let idle = meter.since(&before).await?;
    let (memory_idle, resident) = (proc::memory_bytes(), executor.resident());
    let touched = touched_since(stage, transactions).await?;
    if micros() > due.first {
        return Err("the first sleepers were due before the idle time was over: give it more time".into());
    }
    let before = meter.read().await?;
    let limit = ms_between(micros(), due.of(size)) / 1_000.0 + 300.0;
    let began = Instant::now();
    while stamps.count() < size && began.elapsed().as_secs_f64() < limit {
        pass(0.1).await;
    }
    stage.until(server::Table::Runs, "status = 'completed'", size + due.tried, 60.0).await?;
    let costs = meter.since(&before).await?;
    executor.shutdown().await?;
    let woken = stamps.all();
    let lateness: Vec<f64> = (0..size).zip(&woken).map(|(n, woken)| ms_between(due.of(n), *woken)).collect();
    if let Some(early) = (0..size).zip(&woken).find(|(n, woken)| **woken + 1_000 < due.of(*n)) {
        return Err(format!("sleeper {} woke at {}, before {}", early.0, early.1, due.of(early.0)).into());
    }
    let mut measured = Measured { operations: size as f64, costs, ..Measured::default() };
    latencies(&mut measured.figures, "lateness_", &lateness);
    let rates = idle.per(idle.seconds);
    if let Some(statements) = rates.get("statements") {
        measured.figure("idle_statements_per_s", *statements);
    }
    if let (Some(before), Some(idle)) = (memory_before, memory_idle) {
        measured.figure("idle_memory_bytes", idle);
        measured.figure("idle_memory_growth_bytes", idle - before);
        measured.figure("idle_memory_growth_per_run_bytes", (idle - before) / size as f64);
    }
    measured.figure("idle_resident_runs", resident as f64);
    if let Some(touched) = touched {
        measured.figure("runs_touched_by_restart", touched);
    }
    Ok(measured)
}

/// The process before the restart.
pub async fn prepare(stage: &Stage) -> Result<Due, AnyError> {
    let size = stage.setup.size;
    let executor = stage.builder(5_000, &Stamps::new(0)).await?.start().await?;
    let tried = PILOT.min(size);
    let began = Instant::now();
    let first = micros() + (12.0 * SECOND) as u64;
    put_to_sleep(&executor.client(), &Due { first, spread: 0, size: tried, tried }).await?;
    stage.until(server::Table::Runs, "status = 'waiting'", tried, 30.0).await?;
    let expected = began.elapsed().as_secs_f64() / tried as f64 * size as f64;
    stage.until(server::Table::Runs, "status = 'completed'", tried, 60.0).await?;
    let idle_s = if stage.setup.smoke { 3.0 } else { IDLE_S + 5.0 };
    // Tables that grow take their time, and so do checkpoints.
    let begin = micros() + ((expected * 2.5 + idle_s + 15.0) * SECOND) as u64;
    let due = Due { first: begin, spread: (stage.setup.seconds * SECOND) as u64, size, tried };
    put_to_sleep(&executor.client(), &due).await?;
    let limit = ms_between(micros(), due.first) / 1_000.0;
    stage.until(server::Table::Runs, "status = 'waiting'", size, limit).await?;
    executor.shutdown().await?;
    if micros() as f64 + idle_s * SECOND > due.first as f64 {
        return Err(
            format!("putting {size} runs to sleep took longer than the {expected:.0} s that were expected").into()
        );
    }
    Ok(due)
}

async fn put_to_sleep(client: &workflow::Client, due: &Due) -> Result<(), AnyError> {
    for from in (0..due.size).step_by(2_000) {
        let numbers = (from..(from + 2_000).min(due.size)).map(|n| (n, i64::try_from(due.of(n)).unwrap_or(i64::MAX)));
        client.invoke_many(code::sleeper, numbers).await?;
    }
    Ok(())
}

/// The number that the next transaction of the server gets.
async fn newest_transaction(stage: &Stage) -> Result<i64, AnyError> {
    if !server::is_postgres(stage.url()) {
        return Ok(0);
    }
    let mut connection = PgConnection::connect(stage.url()).await?;
    let query = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
    Ok(sqlx::query_scalar(query).fetch_one(&mut connection).await?)
}

/// How many runs were written since.
async fn touched_since(stage: &Stage, transaction: i64) -> Result<Option<f64>, AnyError> {
    if !server::is_postgres(stage.url()) {
        return Ok(None);
    }
    let mut connection = PgConnection::connect(stage.url()).await?;
    let query = "SELECT count(*) FROM workflow.runs AS r WHERE r.xmin::text::bigint >= $1";
    let touched: i64 = sqlx::query_scalar(query).bind(transaction).fetch_one(&mut connection).await?;
    Ok(Some(touched as f64))
}
