//! Runs that end only when they are cancelled, with children that end only with them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use workflow::prelude::*;
use workflow_checker::record::{Record, Step};

use super::{Work, World, body, noted, patient};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endless {
    pub number: u64,
    pub children: u32,
}

const LONG: Duration = Duration::from_secs(3600);

#[workflow]
pub async fn endless(ctx: Ctx, of: Endless) -> Result<u64> {
    let ended = go_on(&ctx, &of).await;
    if ended.as_ref().is_err_and(Failure::is_cancelled) {
        ctx.shield()
            .step_with("tidy", async |step| {
                let cleanup = Record::CleanupBegun { step: Step::new(step.run_id().0, step.step_name()) };
                step.state::<World>().tell(cleanup).await?;
                body(&step, Work::default(), true).await
            })
            .retry(patient())
            .await?;
    }
    ended
}

async fn go_on(ctx: &Ctx, of: &Endless) -> Result<u64> {
    noted(ctx, "begin", Work::of(2)).await?;
    let children: Vec<_> = (0..of.children).map(|n| ctx.start(dozer, n)).collect();
    noted(ctx, "begun", Work::of(2)).await?;
    ctx.sleep(LONG).await?;
    drop(children);
    Ok(of.number)
}

#[workflow]
pub async fn dozer(ctx: Ctx, number: u32) -> Result<u32> {
    noted(&ctx, "doze", Work::of(1)).await?;
    ctx.sleep(LONG).await?;
    Ok(number)
}
