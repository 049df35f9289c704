//! Lints that are allowed, and things that look like what they refuse.

use std::net::Ipv4Addr;
use std::time::Duration;

use workflow::{Ctx, Result, workflow};

mod env {
    pub fn load() -> u8 {
        1
    }
}

#[workflow(allow(time, sleep, random, uuid, spawn, thread, env, fs, net, process))]
async fn everything(_: Ctx) -> Result<()> {
    let _ = (std::time::Instant::now(), std::env::args(), std::process::id(), std::thread::current().id());
    let _ = (std::fs::read("nothing"), std::net::TcpStream::connect("127.0.0.1:1"));
    let _ = tokio::time::timeout(Duration::ZERO, tokio::spawn(async {})).await;
    Ok(())
}

#[workflow]
async fn lookalikes(ctx: Ctx) -> Result<u64> {
    fn helper() -> std::time::Instant {
        std::time::Instant::now()
    }
    let random = ctx.random();
    let _ = (ctx.now(), ctx.uuid(), Ipv4Addr::new(1, 2, 3, 4), tokio::time::Duration::from_secs(1), env!("PATH"));
    let _: fn() -> std::time::Instant = helper;
    let _ = self::env::load() + crate::env::load();
    Ok(random)
}

fn main() {
    let _ = (everything, lookalikes);
}
