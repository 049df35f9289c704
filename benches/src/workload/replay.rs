//! The replay machine alone, without a store: entries that it replays a second on one core.

use std::time::{Duration, Instant};

use super::{Against, Case, Spec, Stores};
use crate::AnyError;
use crate::replay::Replay;
use crate::stage::{Measured, Stage};

pub const SPEC: Spec = Spec {
    id: "replay",
    what: "the replay machine alone, on one core",
    operation: "entry",
    figure: "entries_per_s",
    cases: &[Case { rivals: false, ..Case::size(10_000) }],
    smoke: &[Case { rivals: false, ..Case::size(1_000) }],
    seconds: 3.0,
    repeats: 3,
    stores: Stores::None,
    against: Against::Nothing,
};

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let replay = Replay::of(stage.setup.size)?;
    let mut meter = stage.meter().await?;
    let before = meter.read().await?;
    let (mut entries, mut spent) = (0, Duration::ZERO);
    let began = Instant::now();
    while began.elapsed() < stage.time() {
        // Reading the journal is the store's part.
        let journal = replay.journal();
        let turn = Instant::now();
        replay.run(journal)?;
        spent += turn.elapsed();
        entries += stage.setup.size;
    }
    let costs = meter.since(&before).await?;
    let mut measured = Measured { operations: entries as f64, costs, ..Measured::default() };
    measured.figure("entries_per_s", entries as f64 / spent.as_secs_f64());
    measured.figure("ns_per_entry", spent.as_secs_f64() / entries as f64 * 1e9);
    Ok(measured)
}
