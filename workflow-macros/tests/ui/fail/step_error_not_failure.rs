use workflow::{Ctx, Result, workflow};

fn pay() -> std::result::Result<u32, String> {
    Ok(1)
}

#[workflow]
async fn order(ctx: Ctx) -> Result<u32> {
    ctx.step("pay", || async { Ok(pay()?) }).await
}

fn main() {
    let _ = order;
}
