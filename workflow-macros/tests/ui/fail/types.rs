use workflow::{Ctx, Result, Workflow, workflow};

pub struct Order;

#[workflow]
pub async fn input(_: Ctx, _order: Order) -> Result<()> {
    Ok(())
}

#[workflow]
pub async fn output(_: Ctx) -> Result<Order> {
    Ok(Order)
}

async fn plain(_: Ctx, n: u32) -> Result<u32> {
    Ok(n)
}

fn register<W: Workflow>(_: W) {}

fn main() {
    register(plain);
}
