//! Drags: transactions whose commit takes the server a while, also when nobody waits for it any more.

use serde::{Deserialize, Serialize};
use workflow::postgres::TransactionExt as _;
use workflow::prelude::*;

use super::{Done, World, patient};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Drag {
    pub millis: i32,
}

#[workflow]
pub async fn drag(ctx: Ctx, of: Drag) -> Result<bool> {
    let (run, world) = (ctx.run_id(), ctx.state::<World>());
    ctx.transaction("drag", async |tx| {
        let body = world.begin(run, "drag").await?;
        sqlx::query("INSERT INTO chaos_slow (millis) VALUES ($1)").bind(of.millis).execute(&mut **tx).await?;
        body.end(true).await?;
        Ok(Done { body: body.id() })
    })
    .retry(patient())
    .await?;
    Ok(true)
}
