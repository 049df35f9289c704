//! W4: enqueued by one process, executed by another, one at a time, on an idle system.

use std::time::Instant;

use workflow::Client;

use super::{Against, Case, Spec, Stores};
use crate::clock::{micros, ms_between, pass};
use crate::figure::latencies;
use crate::process::{Executing, told_to_end};
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, server};

pub const SPEC: Spec = Spec {
    id: "W4",
    what: "enqueue in one process, execute in another, one at a time",
    operation: "run",
    figure: "p50_ms",
    cases: &[Case::PLAIN],
    smoke: &[Case::PLAIN],
    seconds: 10.0,
    repeats: 3,
    stores: Stores::All,
    against: Against::Commit,
};

/// Fewer make no 99th percentile.
const LEAST: usize = 200;

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let store = stage.store().await?;
    let other = Executing::start(&stage.setup).await?;
    let client = Client::new(store.clone());
    for n in 0..10 {
        client.invoke(code::one_step, n).await?.result().await?;
    }
    let mut meter = stage.meter().await?;
    let before = meter.read().await?;
    let (mut to_start, mut to_result) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while began.elapsed() < stage.time() || (to_start.len() < LEAST && !stage.setup.smoke) {
        // Long enough for everything to come to rest, and out of step with whoever polls.
        pass(0.015 + (to_start.len() % 17) as f64 * 0.001).await;
        let invoked = micros();
        let started = client.invoke(code::one_step, 0).await?.result().await?;
        to_result.push(ms_between(invoked, micros()));
        to_start.push(ms_between(invoked, started));
    }
    let costs = meter.since(&before).await?;
    let theirs: u64 = other.finish().await?;
    store.shutdown().await;
    let runs = to_start.len() as u64 + 10;
    if theirs != runs {
        return Err(format!("the other process ran {theirs} steps of {runs}").into());
    }
    server::expect(stage.url(), server::Table::Runs, "status = 'completed'", runs).await?;
    let mut measured = Measured { operations: to_start.len() as f64, costs, ..Measured::default() };
    latencies(&mut measured.figures, "start_", &to_start);
    latencies(&mut measured.figures, "", &to_result);
    Ok(measured)
}

/// The other process: how many steps it ran.
pub async fn execute(stage: &Stage) -> Result<u64, AnyError> {
    let executor = stage.executor(100).await?;
    println!("{}", executor.id());
    told_to_end().await;
    executor.shutdown().await?;
    Ok(code::steps())
}
