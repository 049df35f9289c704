//! Timers, short enough to stay in memory and long enough to hang up.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use workflow::prelude::*;
use workflow_checker::record::Record;

use super::{Work, World, body, patient};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Naps {
    pub millis: Vec<u64>,
}

#[workflow]
pub async fn timer(ctx: Ctx, naps: Naps) -> Result<usize> {
    let run = ctx.run_id().0;
    for (n, millis) in naps.millis.iter().enumerate() {
        let nap = format!("nap-{n}");
        let for_us = i64::try_from(millis * 1_000)?;
        ctx.step_with(&format!("before-{n}"), async |step| {
            let done = body(&step, Work::default(), false).await?;
            let world = step.state::<World>();
            let db_at = world.now().await?;
            world.tell(Record::TimerAsked { run, timer: nap.clone(), for_us, db_at }).await?;
            Ok(done)
        })
        .retry(patient())
        .await?;
        ctx.sleep(Duration::from_millis(*millis)).await?;
        ctx.step_with(&format!("after-{n}"), async |step| {
            let done = body(&step, Work::default(), false).await?;
            let world = step.state::<World>();
            let db_at = world.now().await?;
            world.tell(Record::TimerFired { run, timer: nap.clone(), db_at }).await?;
            Ok(done)
        })
        .retry(patient())
        .await?;
    }
    Ok(naps.millis.len())
}
