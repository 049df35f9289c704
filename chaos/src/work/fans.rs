//! Fan-outs: children side by side, some of which fail.

use serde::{Deserialize, Serialize};
use workflow::prelude::*;
use workflow_checker::record::Record;

use super::{Work, noted, told};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fan {
    pub children: u32,
    /// One in so many fails.
    pub bad: u32,
    pub millis: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Leaf {
    pub number: u32,
    pub fails: bool,
    pub millis: u64,
}

#[workflow]
pub async fn fan(ctx: Ctx, of: Fan) -> Result<u32> {
    let parent = ctx.run_id().0;
    let bad = of.bad.max(1);
    // One after the other: the parent takes one message in while the next ones are on their way.
    let millis = |number: u32| of.millis + 8 * u64::from(number);
    let leaves = (0..of.children).map(|number| Leaf { number, fails: number % bad == bad - 1, millis: millis(number) });
    let children: Vec<_> = leaves.map(|one| ctx.start(leaf, one)).collect();
    let mut sum = 0;
    for (n, child) in children.into_iter().enumerate() {
        let id = child.id().await?.0;
        let outcome = child.await;
        told(&ctx, &format!("saw-{n}"), Record::ChildEnded { parent, child: id, ok: outcome.is_ok() }).await?;
        sum += outcome.unwrap_or_default();
    }
    Ok(sum)
}

#[workflow]
pub async fn leaf(ctx: Ctx, of: Leaf) -> Result<u32> {
    noted(&ctx, "leaf", Work::of(of.millis)).await?;
    if of.fails {
        return Err(Failure::fatal("this leaf was to fail"));
    }
    Ok(of.number)
}
