use std::fs::{self, File};

use workflow::{Ctx, Result, workflow};

#[workflow]
async fn order(ctx: Ctx, path: String) -> Result<()> {
    let _ = std::fs::read(&path)?;
    fs::remove_file(&path)?;
    let _ = File::open(&path)?;
    let _ = std::fs::OpenOptions::new().read(true).open(&path)?;
    ctx.step("read", || async { Ok(fs::read_to_string(&path)?) }).await?;
    Ok(())
}

fn main() {
    let _ = order;
}
