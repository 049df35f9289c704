//! W6: one parent with many children, all results joined.

use std::time::Instant;

use super::{Against, Case, Spec, Stores};
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, server};

/// Children of a parent before, as the rivals have them.
const WARM: u64 = 50;

pub const SPEC: Spec = Spec {
    id: "W6",
    what: "one parent, many children, all results joined",
    operation: "child",
    figure: "seconds",
    cases: &[Case::size(1_000), Case::size(10_000)],
    smoke: &[Case::size(100)],
    seconds: 0.0,
    repeats: 3,
    stores: Stores::All,
    against: Against::Nothing,
};

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let size = stage.setup.size;
    let executor = stage.executor(1_000).await?;
    let client = executor.client();
    client.invoke(code::parent, WARM).await?.result().await?;
    let mut meter = stage.meter().await?;
    let before = meter.read().await?;
    let began = Instant::now();
    let sum = client.invoke(code::parent, size).await?.result().await?;
    let seconds = began.elapsed().as_secs_f64();
    let costs = meter.since(&before).await?;
    executor.shutdown().await?;
    if sum != size * (size - 1) / 2 {
        return Err(format!("the sum of the {size} children's results is {sum}").into());
    }
    server::expect(stage.url(), server::Table::Runs, "status = 'completed'", size + WARM + 2).await?;
    let mut measured = Measured { operations: size as f64, costs, ..Measured::default() };
    measured.figure("seconds", seconds);
    measured.figure("children_per_s", size as f64 / seconds);
    Ok(measured)
}
