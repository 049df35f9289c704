//! W3: one run of many serial steps: what a step costs, and whether a long history makes it dearer.

use super::{Against, Case, Spec, Stores};
use crate::clock::between;
use crate::code::Stamps;
use crate::figure::{latencies, median};
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, server};

pub const SPEC: Spec = Spec {
    id: "W3",
    what: "one run of serial steps",
    operation: "step",
    figure: "p50_ms",
    // The slowest rival would take a quarter of an hour for the larger one.
    cases: &[Case::size(1_000), Case { rivals: false, ..Case::size(10_000) }],
    smoke: &[Case::size(200)],
    seconds: 0.0,
    repeats: 3,
    stores: Stores::All,
    against: Against::Commit,
};

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let steps = stage.setup.size;
    let warm = stage.executor(1).await?;
    warm.client().invoke(code::serial_steps, 50).await?.result().await?;
    warm.shutdown().await?;
    let stamps = Stamps::new(steps + 1);
    let executor = stage.builder(1, &stamps).await?.start().await?;
    let mut meter = stage.meter().await?;
    let before = meter.read().await?;
    executor.client().invoke(code::serial_steps, steps).await?.result().await?;
    let costs = meter.since(&before).await?;
    executor.shutdown().await?;
    server::expect(stage.url(), server::Table::Journal, "kind = 'step' AND phase = 'ok'", steps + 50).await?;
    let mut measured = Measured { operations: steps as f64, costs, ..Measured::default() };
    let times = between(&stamps.all());
    latencies(&mut measured.figures, "", &times);
    let (first, last) = ends(&times);
    measured.figure("first_steps_p50_ms", median(first));
    measured.figure("last_steps_p50_ms", median(last));
    measured.figure("slope", median(last) / median(first));
    Ok(measured)
}

/// The first and the last thousand, or tenth when there are fewer than ten thousand.
fn ends(times: &[f64]) -> (&[f64], &[f64]) {
    let tenth = (times.len() / 10).clamp(1, 1_000);
    (&times[..tenth], &times[times.len() - tenth..])
}
