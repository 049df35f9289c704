use std::thread;
use std::time::Duration;

use workflow::{Ctx, Result, workflow};

#[workflow]
async fn order(_ctx: Ctx) -> Result<()> {
    std::thread::sleep(Duration::from_secs(1));
    thread::spawn(|| 1);
    let _ = std::thread::current();
    Ok(())
}

fn main() {
    let _ = order;
}
