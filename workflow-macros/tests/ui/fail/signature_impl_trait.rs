use workflow::{Ctx, Result, workflow};

#[workflow]
async fn argument(_: Ctx, items: impl IntoIterator<Item = u32>) -> Result<()> {
    Ok(())
}

#[workflow]
async fn output(_: Ctx) -> Result<impl Iterator<Item = u32>> {
    Ok([1].into_iter())
}

fn main() {
    let _ = (argument, output);
}
