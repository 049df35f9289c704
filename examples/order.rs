//! An order: steps, a sleep, an event from outside, and a child.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use workflow::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    id: u32,
    cents: u64,
}

/// Sends a parcel, and gives its number back.
#[workflow]
async fn ship(ctx: Ctx, address: String) -> Result<String> {
    ctx.step("label", || async { Ok(format!("parcel to {address}")) }).await
}

#[workflow]
async fn order(ctx: Ctx, Order { id, cents }: Order) -> Result<String> {
    let receipt = ctx.step("charge", || async { Ok(format!("{}.{:02} EUR", cents / 100, cents % 100)) }).await?;
    // A sleep of a year works the same: nothing but rows remain while it lasts.
    ctx.sleep(Duration::from_millis(50)).await?;
    let address: String = ctx.wait_for_event("address").key(id.to_string()).await?;
    let parcel = ctx.invoke(ship, address).await?;
    Ok(format!("order {id}: {receipt}, {parcel}"))
}

#[tokio::main]
async fn main() -> Result<(), workflow::Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let store = workflow::connect(&url).await?;
    let executor = Executor::builder(store).register(order).register(ship).start().await?;
    let client = executor.client();

    let run = client.invoke(order, Order { id: 7, cents: 1250 }).id("order 7").await?;
    // Whether the order waits for it already or not: the event is kept.
    client.emit_to("address", "7", "12 Elm Street").await?;
    let told = run.result().await?;
    println!("{told}");
    assert_eq!(told, "order 7: 12.50 EUR, parcel to 12 Elm Street");

    // The same id is the same run: nothing is charged twice.
    let again = client.invoke(order, Order { id: 7, cents: 1250 }).id("order 7").await?;
    println!("the same run: {}", again.id() == run.id());
    assert_eq!(again.id(), run.id());
    executor.shutdown().await
}
