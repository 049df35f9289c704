//! Hauls: quick steps, one after the other, that take long where they run for the second time. So what a process did that
//! was taken for dead, and gets around to telling it at last, meets a run that goes on elsewhere. The third time is quick
//! again: a step that outlasts every executor would be parked as what kills them.

use serde::{Deserialize, Serialize};
use workflow::StepCtx;
use workflow::prelude::*;

use super::{Done, Work, World, body, patient};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Haul {
    pub loads: u32,
    /// How long the second body of a step takes.
    pub again_millis: u64,
}

#[workflow]
pub async fn haul(ctx: Ctx, of: Haul) -> Result<u32> {
    for load in 0..of.loads {
        ctx.step_with(&format!("carry-{load}"), async |step| carry(&step, of.again_millis).await)
            .retry(patient())
            .await?;
    }
    Ok(of.loads)
}

async fn carry(step: &StepCtx, again_millis: u64) -> Result<Done> {
    let (world, key) = (step.state::<World>(), step.idempotency_key());
    let again = !world.is_first(&key) && world.is_first(&format!("{key}-again"));
    body(step, Work::of(if again { again_millis } else { 3 }), false).await
}
