//! W3b: one run of one step after the other, on an idle system, in one process.

use std::time::Instant;

use super::{Against, Case, Spec, Stores};
use crate::clock::ms;
use crate::figure::latencies;
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, server};

pub const SPEC: Spec = Spec {
    id: "W3b",
    what: "invoke a run of one step and await its result, one at a time, in one process",
    operation: "run",
    figure: "p50_ms",
    cases: &[Case::PLAIN],
    smoke: &[Case::PLAIN],
    seconds: 5.0,
    repeats: 3,
    stores: Stores::All,
    against: Against::Commit,
};

const WARM_UP: u64 = 50;

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let executor = stage.executor(1).await?;
    let client = executor.client();
    for n in 0..WARM_UP {
        client.invoke(code::one_step, n).await?.result().await?;
    }
    let mut meter = stage.meter().await?;
    let before = meter.read().await?;
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < stage.time() {
        let invoked = Instant::now();
        client.invoke(code::one_step, 0).await?.result().await?;
        times.push(ms(invoked.elapsed()));
    }
    let costs = meter.since(&before).await?;
    executor.shutdown().await?;
    let runs = times.len() as u64 + WARM_UP;
    server::expect(stage.url(), server::Table::Runs, "status = 'completed'", runs).await?;
    server::expect(stage.url(), server::Table::Journal, "kind = 'step' AND phase = 'ok'", runs).await?;
    let mut measured = Measured { operations: times.len() as f64, costs, ..Measured::default() };
    latencies(&mut measured.figures, "", &times);
    Ok(measured)
}
