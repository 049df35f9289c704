use workflow::{Ctx, Result, workflow};

fn send(_: String) {}

#[workflow]
async fn moves(ctx: Ctx, text: String) -> Result<()> {
    ctx.step("send", async move || {
        send(text);
        Ok(())
    })
    .await
}

#[workflow]
async fn moves_into_block(ctx: Ctx, text: String) -> Result<()> {
    ctx.step("send", || async move {
        send(text);
        Ok(())
    })
    .await
}

fn main() {
    let _ = (moves, moves_into_block);
}
