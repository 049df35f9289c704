//! Step closures as people write them, and what is free inside of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use workflow::{Ctx, Failure, Result, RetryPolicy, workflow};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    id: u64,
    items: Vec<String>,
}

async fn price(item: &str) -> std::io::Result<u64> {
    Ok(item.len() as u64)
}

#[workflow]
async fn borrows(ctx: Ctx, order: Order) -> Result<u64> {
    let mut sum = 0;
    for item in &order.items {
        sum += ctx.step("price", || async { Ok(price(item).await?) }).await?;
    }
    sum += ctx.step("first", async || Ok(price(&order.items[0]).await?)).await?;
    let both = tokio::join!(
        ctx.step("a", || async { Ok(order.id) }),
        ctx.step("b", async || Ok(order.items.len() as u64)).timeout(Duration::from_secs(1)),
    );
    Ok(sum + both.0? + both.1?)
}

#[workflow]
async fn owns(ctx: Ctx, order: Order) -> Result<usize> {
    let copy = order.clone();
    let first = ctx.step("moved", async move || Ok(copy.items.len())).retry(RetryPolicy::default());
    let copy = order.clone();
    let second = ctx.step("cloned", move || {
        let copy = copy.clone();
        async move { Ok(copy.items.into_iter().count()) }
    });
    let (first, second) = tokio::join!(first, second);
    Ok(first? + second?)
}

#[workflow]
async fn fails(ctx: Ctx, text: String) -> Result<i32> {
    let parsed = ctx
        .step("parse", || async {
            if text.is_empty() {
                return Err(Failure::fatal("empty"));
            }
            let bytes = std::fs::read(&text)?;
            let n: i32 = text.parse()?;
            Ok(n + bytes.len() as i32)
        })
        .await;
    match parsed {
        Err(failure) if failure.is_timeout() => Ok(0),
        other => other,
    }
}

#[workflow]
async fn free(ctx: Ctx, path: String) -> Result<()> {
    let mut calls = 0;
    ctx.step("anything", async || {
        calls += 1;
        let _ = (std::time::Instant::now(), std::env::args().count(), std::fs::read(&path));
        tokio::time::sleep(Duration::from_millis(1)).await;
        let path = path.clone();
        tokio::spawn(async move { std::fs::read(path) });
        Ok(tokio::task::spawn_blocking(|| std::thread::sleep(Duration::ZERO)).await?)
    })
    .await?;
    ctx.step_with("key", async |step| Ok(step.idempotency_key())).await?;
    tokio::select! {
        done = ctx.step("read", || async { Ok(std::fs::read(&path)?) }) => drop(done?),
        _ = ctx.sleep(Duration::from_secs(60)) => {}
    }
    Ok(())
}

/// A stream of steps, in the closure of a combinator.
#[workflow]
async fn concurrent(ctx: Ctx, items: Vec<String>) -> Result<Vec<u64>> {
    let steps: Vec<_> = items.iter().map(|item| ctx.step("price", || async { Ok(price(item).await?) })).collect();
    let mut prices = Vec::new();
    for step in steps {
        prices.push(step.await?);
    }
    Ok(prices)
}

#[workflow]
async fn children(ctx: Ctx, order: Order) -> Result<u64> {
    let there = ctx.invoke(borrows, order.clone()).await?;
    let here = borrows(ctx.clone(), order).await?;
    Ok(there + here)
}

fn main() {
    let _ = (borrows, owns, fails, free, concurrent, children);
}
