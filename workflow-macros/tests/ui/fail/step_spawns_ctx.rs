use workflow::{Ctx, Result, workflow};

#[workflow]
async fn order(ctx: Ctx) -> Result<()> {
    ctx.step("pay", || async {
        let ctx = ctx.clone();
        tokio::spawn(async move { ctx.run_id() });
        Ok(())
    })
    .await
}

fn main() {
    let _ = order;
}
