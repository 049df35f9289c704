//! Orders: several steps, some of which fail at first.

use serde::{Deserialize, Serialize};
use workflow::prelude::*;

use super::{Work, noted};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub number: u64,
    pub items: u32,
    /// How often the first step fails.
    pub flaky: u32,
    pub millis: u64,
    /// What must never show in a log.
    pub card: String,
}

#[workflow]
pub async fn order(ctx: Ctx, of: Order) -> Result<u64> {
    noted(&ctx, "reserve", Work { fails: of.flaky, ..Work::of(of.millis) }).await?;
    for item in 0..of.items {
        noted(&ctx, &format!("pack-{item}"), Work::of(of.millis)).await?;
    }
    noted(&ctx, "charge", Work::of(of.millis)).await?;
    Ok(of.number)
}
