//! The smallest program: one workflow, one step, one sleep.

use std::time::Duration;

use workflow::prelude::*;

#[workflow]
async fn greet(ctx: Ctx, name: String) -> Result<String> {
    let loud = ctx.step("shout", || async { Ok(name.to_uppercase()) }).await?;
    ctx.sleep(Duration::from_millis(50)).await?;
    Ok(format!("Hello, {loud}!"))
}

#[tokio::main]
async fn main() -> Result<(), workflow::Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let executor = Executor::builder(workflow::connect(&url).await?).register(greet).start().await?;
    let run = executor.client().invoke(greet, "Ada".to_owned()).await?;
    let greeting = run.result().await?;
    println!("{greeting}");
    assert_eq!(greeting, "Hello, ADA!");
    executor.shutdown().await
}
