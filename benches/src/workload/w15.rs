//! W15: runs are enqueued in bulk.

use std::time::Instant;

use futures::stream::{StreamExt as _, TryStreamExt as _};
use workflow::Client;

use super::{Against, Case, Spec, Stores};
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, server};

pub const SPEC: Spec = Spec {
    id: "W15",
    what: "enqueue in bulk",
    operation: "run",
    figure: "runs_per_s",
    // Rivals would take an hour.
    cases: &[Case { rivals: false, ..Case::size(1_000_000) }],
    smoke: &[Case::size(2_000)],
    seconds: 0.0,
    repeats: 3,
    stores: Stores::All,
    against: Against::Batches,
};

/// Runs of one call.
const CHUNK: u64 = 2_000;
/// Calls under way at once.
const CALLS: usize = 4;

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let size = stage.setup.size;
    let store = stage.store().await?;
    let mut meter = stage.meter().await?;
    let before = meter.read().await?;
    let began = Instant::now();
    enqueue(&Client::new(store.clone()), size).await?;
    let seconds = began.elapsed().as_secs_f64();
    let costs = meter.since(&before).await?;
    store.shutdown().await;
    server::expect(stage.url(), server::Table::Runs, "status = 'ready'", size).await?;
    let mut measured = Measured { operations: size as f64, costs, ..Measured::default() };
    measured.settings.insert("calls".to_owned(), format!("{CALLS} at once, of {CHUNK} runs each"));
    measured.figure("seconds", seconds);
    measured.figure("runs_per_s", size as f64 / seconds);
    Ok(measured)
}

/// Enqueues so many runs without steps.
pub async fn enqueue(client: &Client, size: u64) -> Result<(), AnyError> {
    let chunks = (0..size).step_by(usize::try_from(CHUNK)?).map(|from| from..(from + CHUNK).min(size));
    let calls = chunks.map(|numbers| async { client.invoke_many(code::no_step, numbers).await.map(drop) });
    Ok(futures::stream::iter(calls).buffer_unordered(CALLS).try_collect().await?)
}
