use std::future;
use std::time::Duration;

use workflow::{Ctx, Result, workflow};

#[workflow]
async fn order(ctx: Ctx) -> Result<()> {
    tokio::join!(ctx.sleep(Duration::from_secs(1)), std::future::pending::<()>()).0?;
    future::pending().await
}

fn main() {
    let _ = order;
}
