//! Events: many waiters, of which some come before the event and some after it.

use serde::{Deserialize, Serialize};
use workflow::prelude::*;
use workflow_checker::record::Record;

use super::{Work, noted, told};

/// The event's name.
pub const BELL: &str = "bell";

/// The event's payload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bell {
    /// No other event has it.
    pub token: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wait {
    pub key: String,
    /// How many events, one after the other.
    pub count: u32,
}

#[workflow]
pub async fn waiter(ctx: Ctx, wait: Wait) -> Result<Vec<String>> {
    let run = ctx.run_id().0;
    noted(&ctx, "armed", Work::default()).await?;
    let mut tokens = Vec::new();
    for n in 0..wait.count {
        let bell: Bell = ctx.wait_for_event(BELL).key(&wait.key).await?;
        let (name, key, token) = (BELL.to_owned(), wait.key.clone(), bell.token.clone());
        told(&ctx, &format!("got-{n}"), Record::Received { run, name, key, token }).await?;
        tokens.push(bell.token);
    }
    Ok(tokens)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ring {
    pub key: String,
}

/// Emits from within a run.
#[workflow]
pub async fn ringer(ctx: Ctx, ring: Ring) -> Result<()> {
    let run = ctx.run_id().0;
    let bell = Bell { token: format!("{run} rings {}", ring.key) };
    let (name, key, token) = (BELL.to_owned(), ring.key.clone(), bell.token.clone());
    told(&ctx, "ring", Record::Emitted { run, name, key, token }).await?;
    ctx.emit(BELL, &bell).key(&ring.key).await
}
