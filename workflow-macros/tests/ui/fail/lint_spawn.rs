use workflow::{Ctx, Result, workflow};

#[workflow]
async fn order(ctx: Ctx) -> Result<()> {
    tokio::spawn(async {});
    let _ = tokio::task::spawn(async { 1 }).await?;
    tokio::task::spawn_local(async {});
    tokio::task::spawn_blocking(|| 1).await?;
    let _ = tokio::runtime::Handle::current();
    ctx.step("heavy", || async { Ok(tokio::task::spawn_blocking(|| 1).await?) }).await?;
    Ok(())
}

fn main() {
    let _ = order;
}
