//! Many children at once, and their outcomes together.

use futures::future::{join_all, try_join_all};
use workflow::prelude::*;

#[workflow]
async fn square(ctx: Ctx, n: u64) -> Result<u64> {
    // A failure that is no use to repeat: the child fails at once.
    let checked = async || if n == 13 { Err(Failure::fatal("13 brings bad luck")) } else { Ok(n * n) };
    ctx.step("square", checked).await
}

/// The sum of the first `count` squares: all of them, or the first failure.
#[workflow]
async fn sum_of_squares(ctx: Ctx, count: u64) -> Result<u64> {
    let children = (1..=count).map(|n| ctx.invoke(square, n));
    Ok(try_join_all(children).await?.into_iter().sum())
}

/// As many as succeed, and how many didn't.
#[workflow]
async fn tolerant_sum(ctx: Ctx, count: u64) -> Result<(u64, usize)> {
    let outcomes = join_all((1..=count).map(|n| ctx.invoke(square, n))).await;
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    Ok((outcomes.into_iter().flatten().sum(), failed))
}

#[tokio::main]
async fn main() -> Result<(), workflow::Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let executor = Executor::builder(workflow::connect(&url).await?)
        .register(square)
        .register(sum_of_squares)
        .register(tolerant_sum)
        .start()
        .await?;
    let client = executor.client();

    let sum = client.invoke(sum_of_squares, 12).await?.result().await?;
    println!("12 squares: {sum}");
    assert_eq!(sum, 650);

    let failed = client.invoke(sum_of_squares, 20).await?.result().await;
    let failure = failed.as_ref().err().and_then(workflow::Error::failure).map(Failure::message);
    println!("20 squares: {}", failure.unwrap_or("no failure"));
    assert_eq!(failure, Some("13 brings bad luck"));

    let (sum, failed) = client.invoke(tolerant_sum, 200).await?.result().await?;
    println!("200 squares: {sum}, {failed} failed");
    assert_eq!((sum, failed), (2_686_700 - 169, 1));
    executor.shutdown().await
}
