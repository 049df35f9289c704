//! Squeezes: more runs than their queue lets run at once in a process.

use workflow::StepCtx;
use workflow::prelude::*;
use workflow_checker::record::Record;

use super::{Done, Work, World, body, patient};

/// The queue, and how many of its runs a process may have at work.
pub const NARROW: (&str, u32) = ("narrow", 2);

/// A run of so many milliseconds.
#[workflow(queue = "narrow")]
pub async fn squeeze(ctx: Ctx, millis: u64) -> Result<Done> {
    ctx.step_with("squeeze", async |step| hold_a_place(&step, millis).await).retry(patient()).await
}

async fn hold_a_place(step: &StepCtx, millis: u64) -> Result<Done> {
    let world = step.state::<World>();
    let (limit, holder) = (format!("{} of {}", NARROW.0, world.process), step.run_id().to_string());
    let (most, process) = (NARROW.1, world.process.clone());
    world.tell(Record::PlaceTaken { limit: limit.clone(), most, holder: holder.clone(), process }).await?;
    let done = body(step, Work::of(millis), false).await;
    world.tell(Record::PlaceLeft { limit, holder }).await?;
    done
}
