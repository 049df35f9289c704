//! Destructors that panic: they concern their own run, wherever they run.

use std::time::Duration;

use workflow::Status;
use workflow::prelude::*;

use crate::support::{Probe, on_every_store, soon};

/// Panics when dropped, unless a panic is under way.
struct Bomb(Probe);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.note("dropped");
            panic!("in a destructor");
        }
    }
}

#[workflow]
async fn healthy(ctx: Ctx, n: u64) -> Result<u64> {
    ctx.step("add", async || Ok(n + 1)).await
}

async fn assert_healthy(executor: &Executor) {
    // Of so many, some belong to the thread on which it happened.
    for run in executor.client().invoke_many(healthy, 0..16).await.expect("invokes") {
        soon("result", run.result()).await.expect("completes");
    }
}

/// As a body ends, as it is cancelled, as the code waits and is hung up.
#[workflow]
async fn explodes(ctx: Ctx, place: String) -> Result<u64> {
    let probe = ctx.state::<Probe>();
    if place == "body" {
        let policy = RetryPolicy::exponential(Duration::from_millis(1)).attempts(2);
        let body = async || {
            let _bomb = Bomb(Probe::clone(&probe));
            Ok(1)
        };
        return ctx.step("explodes", body).retry(policy).await;
    }
    if place == "pending body" {
        return ctx
            .step("explodes", async || {
                let _bomb = Bomb(Probe::clone(&probe));
                probe.note("pending");
                std::future::pending::<()>().await;
                Ok(1)
            })
            .await;
    }
    let _bomb = Bomb(Probe::clone(&probe));
    ctx.step("before", async || Ok(())).await?;
    probe.note("waits");
    let n = ctx.wait_for_event::<u64>("go").key(ctx.run_id().to_string()).await?;
    // As it ends well, the bomb isn't to explode.
    std::mem::forget(_bomb);
    Ok(n)
}

on_every_store! {
    async fn of_a_body_that_ends_fails_the_attempt(stage: Stage) {
        let executor = stage.executor().register(explodes).register(healthy).start().await.expect("starts");
        let run = executor.client().invoke(explodes, "body".to_owned()).await.expect("invokes");
        let error = soon("result", run.result()).await.expect_err("panics");
        assert_eq!(error.code(), "PANICKED");
        assert!(error.to_string().contains("in a destructor") && error.to_string().contains("destructor.rs:"), "{error}");
        assert_eq!(stage.probe.count("dropped"), 2, "once for each attempt");
        assert_healthy(&executor).await;
    }

    async fn of_a_body_that_is_cancelled_changes_nothing(stage: Stage) {
        let executor = stage.executor().register(explodes).register(healthy).start().await.expect("starts");
        let run = executor.client().invoke(explodes, "pending body".to_owned()).await.expect("invokes");
        stage.probe.noted("pending", 1).await;
        run.cancel("enough").await.expect("cancels");
        stage.status(&run, Status::Cancelled).await;
        stage.probe.noted("dropped", 1).await;
        assert_healthy(&executor).await;
    }

    async fn of_a_run_that_leaves_memory_changes_nothing(stage: Stage) {
        let builder = stage.executor().linger(Duration::ZERO).verify(false);
        let executor = builder.register(explodes).register(healthy).start().await.expect("starts");
        let run = executor.client().invoke(explodes, "hung up".to_owned()).await.expect("invokes");
        stage.status(&run, Status::Waiting).await;
        stage.probe.noted("dropped", 1).await;
        assert_healthy(&executor).await;
        stage.client().emit_to("go", &run.id().to_string(), &5u64).await.expect("emits");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 5);
        // And when everything leaves at once.
        let waiting = stage.executor().register(explodes).start().await.expect("starts");
        let run = waiting.client().invoke(explodes, "shut down".to_owned()).await.expect("invokes");
        stage.probe.noted("waits", 3).await;
        soon("shutdown", waiting.shutdown()).await.expect("shuts down");
        soon("shutdown", executor.shutdown()).await.expect("shuts down");
        let last = stage.executor().register(explodes).register(healthy).start().await.expect("starts");
        stage.client().emit_to("go", &run.id().to_string(), &6u64).await.expect("emits");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 6);
        assert_healthy(&last).await;
    }
}
