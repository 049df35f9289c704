//! Workflows made by `#[workflow]`, driven on the replay machine.

#[path = "../../workflow-core/tests/support/mod.rs"]
mod support;

use serde_json::json;
use support::Run;
use workflow::{Ctx, FailureKind, Result, workflow};

#[workflow]
async fn double(ctx: Ctx, n: u32) -> Result<u32> {
    ctx.step("double", async || Ok(n * 2)).await
}

#[workflow]
async fn tick(_: Ctx) -> Result<(), std::fmt::Error> {
    Err(std::fmt::Error)
}

#[workflow]
async fn factorial(ctx: Ctx, n: u64) -> Result<u64> {
    if n < 2 { Ok(1) } else { Ok(n * factorial(ctx, n - 1).await?) }
}

#[test]
fn called_workflow_runs_as_part_of_its_caller() {
    let mut run = Run::new(|ctx| async move {
        let (a, b) = futures::join!(double(ctx.clone(), 1), double(ctx.clone(), 2));
        Ok(json!([a?, b?, factorial(ctx, 5).await?]))
    });
    assert_eq!(run.finish().expect("ends well"), json!([2, 4, 120]));
    let keys: Vec<String> = run.journal.iter().map(|entry| entry.fact.key.to_string()).collect();
    assert_eq!(keys, ["step double", "step double #2"]);
}

#[test]
fn error_of_the_function_becomes_a_failure() {
    let mut run = Run::new(|ctx| async move { Ok(json!(tick(ctx).await?)) });
    let failure = run.finish().expect_err("tick fails");
    assert_eq!(failure.kind(), FailureKind::Failed);
    assert_eq!(failure.message(), std::fmt::Error.to_string());
}
