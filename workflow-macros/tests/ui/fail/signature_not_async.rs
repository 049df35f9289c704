use workflow::{Ctx, Result, Workflow, workflow};

#[workflow]
fn order(_: Ctx, n: u32) -> Result<u32> {
    Ok(n)
}

fn main() {
    // One error doesn't become many: the handle is there.
    let _: Option<<order as Workflow>::Input> = Some(1);
}
