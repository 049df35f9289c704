use workflow::{Ctx, Result, workflow};

#[workflow]
unsafe fn no_promises(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow]
const fn not_const(_: Ctx) -> Result<()> {
    Ok(())
}

#[workflow]
async extern "C" fn not_c(_: Ctx) -> Result<()> {
    Ok(())
}

fn main() {
    let _ = (no_promises, not_const, not_c);
}
