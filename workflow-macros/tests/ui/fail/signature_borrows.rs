use workflow::{Ctx, Result, workflow};

#[workflow]
async fn text(_: Ctx, input: &str) -> Result<()> {
    Ok(())
}

#[workflow]
async fn slice(_: Ctx, (id, items): (u64, &[u8])) -> Result<()> {
    Ok(())
}

#[workflow]
async fn output(_: Ctx) -> Result<&'static str> {
    Ok("")
}

#[workflow]
async fn elided(_: Ctx, _: std::borrow::Cow<'_, str>) -> Result<()> {
    Ok(())
}

#[workflow]
async fn context(ctx: &Ctx, n: u32) -> Result<u32> {
    Ok(n)
}

#[workflow]
async fn context_mut(ctx: &mut Ctx) -> Result<()> {
    Ok(())
}

fn main() {
    let _ = (text, slice, output, elided, context, context_mut);
}
