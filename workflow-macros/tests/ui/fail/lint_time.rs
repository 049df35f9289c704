use std::time::{Instant, SystemTime};

use workflow::{Ctx, Result, workflow};

mod chrono {
    pub struct Utc;
    pub struct Local;
    impl Utc {
        pub fn now() -> u8 {
            4
        }
    }
    impl Local {
        pub fn now() -> u8 {
            4
        }
    }
}

#[workflow]
async fn order(ctx: Ctx) -> Result<u64> {
    let _ = SystemTime::now();
    let _ = std::time::Instant::now();
    let _ = Instant::now;
    let _ = tokio::time::Instant::now();
    let _ = chrono::Utc::now();
    println!("{} {now}", 1, now = chrono::Local::now());
    ctx.step("pay", || async {
        let _ = Instant::now();
        Ok(())
    })
    .await?;
    Ok(1)
}

#[workflow]
async fn other_name(c: Ctx) -> Result<()> {
    let _ = (c, chrono::Utc::now());
    Ok(())
}

fn main() {
    let _ = (order, other_name);
}
