//! W2: runs of ten serial steps.

use super::{Against, Case, Spec, Stores};
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, load};

pub const SPEC: Spec = Spec {
    id: "W2",
    what: "ten serial trivial steps a run",
    operation: "step",
    figure: "steps_per_s",
    cases: &[Case::in_flight(1), Case::in_flight(64), Case::in_flight(1_000), Case::in_flight(5_000)],
    smoke: &[Case::in_flight(1), Case::in_flight(200)],
    seconds: 5.0,
    repeats: 3,
    stores: Stores::All,
    against: Against::Batches,
};

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    load::measure(stage, code::ten_steps, 10).await
}
