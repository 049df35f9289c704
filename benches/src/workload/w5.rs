//! W5: a queue that was filled before is drained with a limited concurrency.

use std::time::Instant;

use workflow::{Client, Queue};

use super::{Against, Case, Spec, Stores};
use crate::code::Stamps;
use crate::stage::{Measured, Stage};
use crate::workload::w15;
use crate::{AnyError, clock, code, server};

pub const SPEC: Spec = Spec {
    id: "W5",
    what: "drain a queue of runs without steps with a limited concurrency",
    operation: "run",
    figure: "runs_per_s",
    cases: &[Case { in_flight: 10, size: 20_000, ..Case::PLAIN }, Case { in_flight: 100, size: 20_000, ..Case::PLAIN }],
    smoke: &[Case { in_flight: 10, size: 500, ..Case::PLAIN }],
    seconds: 0.0,
    repeats: 3,
    stores: Stores::All,
    against: Against::Batches,
};

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let size = stage.setup.size;
    let store = stage.store().await?;
    w15::enqueue(&Client::new(store.clone()), size).await?;
    store.shutdown().await;
    server::expect(stage.url(), server::Table::Runs, "status = 'ready'", size).await?;
    let mut meter = stage.meter().await?;
    let before = meter.read().await?;
    let began = Instant::now();
    let limited = Queue::new("default").concurrency(usize::try_from(stage.setup.in_flight)?);
    let executor = stage.builder(0, &Stamps::new(0)).await?.queue(limited).start().await?;
    // The last ones have begun when the count is looked at for the first time: looking costs the server something.
    while code::begun() < size {
        clock::pass(0.001).await;
    }
    stage.until(server::Table::Runs, "status = 'completed'", size, 60.0).await?;
    let seconds = began.elapsed().as_secs_f64();
    let costs = meter.since(&before).await?;
    executor.shutdown().await?;
    let mut measured = Measured { operations: size as f64, costs, ..Measured::default() };
    measured.figure("seconds", seconds);
    measured.figure("runs_per_s", size as f64 / seconds);
    Ok(measured)
}
