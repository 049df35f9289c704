use workflow::{Ctx, Result, workflow};

#[workflow]
async fn none() -> Result<()> {
    Ok(())
}

#[workflow]
async fn many(ctx: Ctx, amount: u64, currency: String, note: Option<String>) -> Result<()> {
    Ok(())
}

#[workflow]
async fn swapped(input: String, ctx: Ctx) -> Result<()> {
    Ok(())
}

#[workflow]
async fn no_context(input: String) -> Result<()> {
    drop(input);
    Ok(())
}

#[workflow]
async fn order(ctx: Ctx, order: u32) -> Result<()> {
    Ok(())
}

#[workflow]
async fn charge(ctx: Ctx, amount: u32) -> Result<()> {
    let charge = amount;
    Ok(())
}

fn main() {
    let _ = (none, many, swapped, no_context, order, charge);
}
