use std::env;

use workflow::{Ctx, Result, workflow};

#[workflow]
async fn order(_ctx: Ctx) -> Result<usize> {
    let _ = env!("CARGO_PKG_NAME");
    let key = std::env::var("API_KEY")?;
    Ok(key.len() + env::args().count())
}

fn main() {
    let _ = order;
}
