use workflow::{Ctx, Result, workflow};

struct Receipt;

#[workflow]
async fn order(ctx: Ctx) -> Result<()> {
    ctx.step("pay", || async { Ok(Receipt) }).await?;
    Ok(())
}

fn main() {
    let _ = order;
}
