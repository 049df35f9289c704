//! Everything that runs do, in one flow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use workflow::postgres::{PgStore, TransactionExt as _};
use workflow::prelude::*;
use workflow::{Client, Status};

use crate::support::{soon, until};

#[workflow]
pub async fn double(ctx: Ctx, n: u64) -> Result<u64> {
    ctx.step("double", async || Ok(n * 2)).await
}

#[workflow]
pub async fn everything(ctx: Ctx, key: String) -> Result<u64> {
    let one = ctx.step("one", async || Ok(1)).await?;
    ctx.sleep(Duration::from_millis(5)).await?;
    let two = ctx.invoke(double, one).await?;
    let four = ctx
        .transaction("four", async |tx| {
            let four: i32 = sqlx::query_scalar("SELECT 4").fetch_one(&mut **tx).await?;
            Ok(u64::try_from(four)?)
        })
        .await?;
    let told: u64 = ctx.wait_for_event("told").key(&key).await?;
    ctx.emit("heard", &told).key(&key).await?;
    let late = ctx.wait_for_event::<u64>("never").key(&key).timeout(Duration::from_millis(5)).await;
    assert!(late.is_err(), "nobody emits that");
    Ok(one + two + four + told)
}

#[workflow]
pub async fn waits(ctx: Ctx) -> Result<u64> {
    ctx.step("before", async || Ok(())).await?;
    ctx.wait_for_event("go").key(ctx.run_id().to_string()).await
}

static BEGUN: AtomicU64 = AtomicU64::new(0);

/// A step that takes so many milliseconds. How often one began in this process.
#[workflow]
pub async fn slow(ctx: Ctx, millis: u64) -> Result<u64> {
    ctx.step("slow", async || {
        let begun = BEGUN.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Ok(begun)
    })
    .await
}

/// An executor for the flow. Its lease runs out within a test.
pub async fn start(store: PgStore) -> std::result::Result<Executor, workflow::Error> {
    Executor::builder(Arc::new(store))
        .register(everything)
        .register(double)
        .register(waits)
        .register(slow)
        .driver_threads(1)
        .lease(Duration::from_millis(1_500), Duration::from_millis(300))
        .linger(Duration::from_millis(50))
        .poll_interval(Duration::from_millis(200))
        .sweep_interval(Some(Duration::from_millis(100)))
        .start()
        .await
}

/// One run through everything but a take-over.
pub async fn run_all(client: &Client, key: &str) {
    let run = client.invoke(everything, key.to_owned()).id(key).await.expect("invokes");
    client.emit_to("told", key, &8u64).await.expect("emits");
    assert_eq!(soon("result", run.result()).await.expect("completes"), 15);
    let again = client.invoke(everything, key.to_owned()).id(key).await.expect("attaches");
    assert_eq!(again.id(), run.id());
    assert_eq!(run.status().await.expect("exists").status(), Status::Completed);
    assert!(client.list().workflow("everything").await.expect("lists").iter().any(|found| found.id() == run.id()));
    let cancelled = client.invoke(waits, ()).await.expect("invokes");
    cancelled.cancel("enough").await.expect("cancels");
    soon("result", cancelled.result()).await.expect_err("was cancelled");
    let brief = client.invoke(double, 1).retain(Duration::ZERO).await.expect("invokes");
    until("what has outlived its retention is deleted", async || {
        matches!(client.status(brief.id()).await, Err(workflow::Error::NoSuchRun(_)))
    })
    .await;
    client.resume(run.id()).await.expect("does nothing");
}

/// An executor dies, and another one takes its run over.
pub async fn take_over(one: PgStore, other: PgStore) {
    let first = start(one).await.expect("starts");
    let run = first.client().invoke(waits, ()).await.expect("invokes");
    let client = Client::new(Arc::new(other.clone()));
    until("it waits", async || {
        let journal = client.store().journal(run.id(), 0, 10).await.expect("is readable");
        journal.len() == 2
    })
    .await;
    drop(first);
    let second = start(other).await.expect("starts");
    client.emit_to("go", &run.id().to_string(), &3u64).await.expect("emits");
    let result = second.client().handle::<u64>(run.id());
    assert_eq!(soon("result", result.result()).await.expect("completes"), 3);
    second.shutdown().await.expect("shuts down");
}
