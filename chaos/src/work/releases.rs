//! A workflow that has a new version: runs of the old one end on the old code.

use workflow::prelude::*;

use super::{Work, noted};

#[workflow]
pub async fn release(ctx: Ctx, number: u64) -> Result<u64> {
    noted(&ctx, "old-first", Work::of(10)).await?;
    noted(&ctx, "old-second", Work::of(10)).await?;
    noted(&ctx, "old-third", Work::of(10)).await?;
    Ok(number)
}

#[workflow(name = "release", version = 2)]
pub async fn release_2(ctx: Ctx, number: u64) -> Result<u64> {
    noted(&ctx, "new-first", Work::of(10)).await?;
    ctx.sleep(std::time::Duration::from_millis(50)).await?;
    noted(&ctx, "new-second", Work::of(10)).await?;
    Ok(number * 2)
}
