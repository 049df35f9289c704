use std::time::Duration;

use tokio::time;
use workflow::{Ctx, Result, workflow};

#[workflow]
async fn order(ctx: Ctx) -> Result<()> {
    let second = tokio::time::Duration::from_secs(1);
    tokio::time::sleep(second).await;
    time::sleep(second).await;
    let _ = time::timeout(second, ctx.sleep(second)).await;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    tokio::select! {
        _ = ctx.sleep(second) => {}
        _ = tokio::time::sleep(second) => {}
    }
    Ok(())
}

fn main() {
    let _ = order;
}
