//! W1: runs without steps, started and finished.

use super::{Against, Case, Spec, Stores};
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, load};

pub const SPEC: Spec = Spec {
    id: "W1",
    what: "start and finish a run without steps",
    operation: "run",
    figure: "runs_per_s",
    cases: &[Case::in_flight(1), Case::in_flight(16), Case::in_flight(64), Case::in_flight(1_000)],
    smoke: &[Case::in_flight(1), Case::in_flight(64)],
    seconds: 5.0,
    repeats: 3,
    stores: Stores::All,
    against: Against::Batches,
};

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    load::measure(stage, code::no_step, 0).await
}
