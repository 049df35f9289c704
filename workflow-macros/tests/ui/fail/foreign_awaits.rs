use std::time::Duration;

use workflow::{Ctx, Result, workflow};

const SECOND: Duration = Duration::from_secs(1);

#[workflow]
async fn alone(_ctx: Ctx) -> Result<()> {
    tokio::time::sleep(SECOND).await;
    let _ = tokio::time::timeout(SECOND, async {}).await;
    let _ = tokio::spawn(async {}).await;
    let _ = tokio::net::TcpStream::connect("localhost:1").await;
    let _ = tokio::fs::read("/etc/hosts").await;
    let (tx, rx) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || tx.send(()));
    let _ = rx.await;
    futures_timer::Delay::new(SECOND).await;
    std::future::pending().await
}

#[workflow]
async fn joined(ctx: Ctx) -> Result<()> {
    let _ = tokio::join!(ctx.sleep(SECOND), tokio::time::sleep(SECOND));
    let _ = tokio::join!(ctx.sleep(SECOND), tokio::time::timeout(SECOND, async {}));
    let _ = tokio::join!(ctx.sleep(SECOND), tokio::spawn(async {}));
    let _ = tokio::join!(ctx.sleep(SECOND), tokio::net::TcpStream::connect("localhost:1"));
    let _ = tokio::join!(ctx.sleep(SECOND), tokio::fs::read("/etc/hosts"));
    let (tx, rx) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || tx.send(()));
    let _ = tokio::join!(ctx.sleep(SECOND), rx);
    let _ = tokio::join!(ctx.sleep(SECOND), futures_timer::Delay::new(SECOND));
    let _ = tokio::join!(ctx.sleep(SECOND), std::future::pending::<()>());
    Ok(())
}

fn main() {
    let _ = (alone, joined);
}
