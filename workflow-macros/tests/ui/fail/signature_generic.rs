use workflow::{Ctx, Result, Workflow, workflow};

#[workflow]
async fn typed<T: Clone, const N: usize>(_: Ctx, input: [T; N]) -> Result<T> {
    Ok(input[0].clone())
}

#[workflow]
async fn borrowed<'a>(_: Ctx, input: &'a str) -> Result<()> {
    Ok(())
}

fn main() {
    let _ = (<typed as Workflow>::NAME, <borrowed as Workflow>::NAME);
}
