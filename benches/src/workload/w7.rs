//! W7: many runs wait for an event each, or all for one; the events are emitted.

use std::time::Instant;

use futures::future::try_join_all;
use tokio::task::JoinSet;
use workflow::Client;

use super::{Against, Case, Spec, Stores};
use crate::clock::{micros, ms_between};
use crate::code::Stamps;
use crate::figure::latencies;
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, server};

/// One event that all wait for.
const ONE: &str = "one event";

pub const SPEC: Spec = Spec {
    id: "W7",
    what: "runs that wait for an event each, and runs that wait for one event",
    operation: "run",
    figure: "seconds",
    cases: &[Case::size(1_000), Case::size(10_000), Case { variant: ONE, rivals: false, ..Case::size(10_000) }],
    smoke: &[Case::size(100), Case { variant: ONE, rivals: false, ..Case::size(100) }],
    seconds: 0.0,
    repeats: 3,
    stores: Stores::All,
    against: Against::Nothing,
};

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let size = stage.setup.size;
    let one = stage.setup.variant == ONE;
    let stamps = Stamps::new(size);
    // Waiting runs have no place in the queue: this many work at once.
    let executor = stage.builder(1_000, &stamps).await?.max_resident(usize::try_from(size * 2)?).start().await?;
    let client = executor.client();
    let mut results = JoinSet::new();
    for piece in (0..size).collect::<Vec<_>>().chunks(1_000) {
        let numbers = piece.iter().copied();
        let handles = if one {
            client.invoke_many(code::waits_for_all, numbers).await?
        } else {
            client.invoke_many(code::waits_for_own, numbers).await?
        };
        for (handle, n) in handles.into_iter().zip(piece) {
            let expected = if one { 0 } else { *n };
            results.spawn(async move { handle.result().await.map(|got| (got, expected)) });
        }
    }
    stage.until(server::Table::Subscriptions, "TRUE", size, 120.0).await?;
    let mut meter = stage.meter().await?;
    let before = meter.read().await?;
    let began = Instant::now();
    let first = micros();
    let emitted = if one { emit_one(&client, size).await? } else { emit_each(&client, size).await? };
    let emitting = began.elapsed().as_secs_f64();
    while let Some(result) = results.join_next().await {
        let (got, expected) = result??;
        if got != expected {
            return Err(format!("a run that waits for {expected} got {got}").into());
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let costs = meter.since(&before).await?;
    let replays = executor.replays() as f64 / size as f64;
    executor.shutdown().await?;
    server::expect(stage.url(), server::Table::Runs, "status = 'completed'", size).await?;
    server::expect(stage.url(), server::Table::Journal, "kind = 'event' AND phase = 'ok'", size).await?;
    let woken = stamps.all();
    let lateness: Vec<f64> = emitted.iter().zip(&woken).map(|(sent, woken)| ms_between(*sent, *woken)).collect();
    let since_first: Vec<f64> = woken.iter().map(|woken| ms_between(first, *woken)).collect();
    let mut measured = Measured { operations: size as f64, costs, ..Measured::default() };
    measured.figure("seconds", seconds);
    measured.figure("emitting_seconds", emitting);
    // 1: a wait that stays in memory costs no replay.
    measured.figure("replays_per_run", replays);
    latencies(&mut measured.figures, "lateness_", &lateness);
    latencies(&mut measured.figures, "since_first_emit_", &since_first);
    Ok(measured)
}

/// Emits to each run; when each emission was asked for.
async fn emit_each(client: &Client, size: u64) -> Result<Vec<u64>, AnyError> {
    let emits = (0..size).map(|n| async move {
        let sent = micros();
        client.emit_to("go", &n.to_string(), &n).await.map(|()| sent)
    });
    Ok(try_join_all(emits).await?)
}

async fn emit_one(client: &Client, size: u64) -> Result<Vec<u64>, AnyError> {
    let sent = micros();
    client.emit("go", &0).await?;
    Ok(vec![sent; usize::try_from(size)?])
}
