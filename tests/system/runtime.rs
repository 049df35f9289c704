//! Runtimes: of one thread, several of them, and executors that go in odd ways.

use std::sync::Arc;
use std::time::Duration;

use workflow::MemoryStore;
use workflow::prelude::*;

use crate::support::{BRIEF, Probe, Stage, on_every_store, soon};

#[workflow]
async fn work(ctx: Ctx, n: u64) -> Result<u64> {
    let doubled = ctx
        .step("double", async || {
            // A body may do everything that the runtime has.
            let task = tokio::spawn(async move { n * 2 });
            tokio::task::spawn_blocking(|| ()).await?;
            Ok(task.await?)
        })
        .await?;
    ctx.sleep(Duration::from_millis(5)).await?;
    Ok(doubled)
}

#[workflow]
async fn held(ctx: Ctx) -> Result<()> {
    let probe = ctx.state::<Probe>();
    ctx.step("held", async || {
        let _inside = probe.enter("body");
        probe.note("held");
        probe.pass("held").await;
        Ok(())
    })
    .await
}

#[workflow]
async fn panics_at_the_end(ctx: Ctx) -> Result<()> {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("in a destructor");
            }
        }
    }
    let _bomb = Bomb;
    ctx.step("fine", async || Ok(())).await
}

#[workflow]
async fn panics_itself(ctx: Ctx, n: u64) -> Result<u64> {
    let n = ctx.step("fine", async || Ok(n)).await?;
    assert!(n > 5, "n is only {n}");
    Ok(n)
}

on_every_store! {
    async fn an_executor_may_be_dropped_anywhere(stage: Stage) {
        for _ in 0..3 {
            let executor = stage.executor().lease(BRIEF.0, BRIEF.1).register(held).register(work).start().await.expect("starts");
            executor.client().invoke(held, ()).await.expect("invokes");
            let client = executor.client();
            // Inside of a task that is aborted, with calls under way.
            let task = tokio::spawn(async move { let _executor = executor; std::future::pending::<()>().await });
            let calls: Vec<_> = (0..5).map(|n| { let client = client.clone(); tokio::spawn(async move { client.invoke(work, n).await.map(drop) }) }).collect();
            tokio::task::yield_now().await;
            task.abort();
            for call in calls {
                soon("the call", call).await.expect("no panic").expect("invokes");
            }
        }
        stage.probe.open("held", 10);
        let last = stage.executor().lease(BRIEF.0, BRIEF.1).register(held).register(work).start().await.expect("starts");
        for run in stage.client().list().await.expect("lists") {
            soon("result", last.client().handle::<serde_json::Value>(run.id()).result()).await.expect("completes");
        }
        last.shutdown().await.expect("shuts down");
    }

    async fn bodies_are_dropped_at_shutdown(stage: Stage) {
        let executor = stage.executor().register(held).start().await.expect("starts");
        executor.client().invoke_many(held, std::iter::repeat_n((), 5)).await.expect("invokes");
        stage.probe.noted("held", 5).await;
        soon("shutdown", executor.shutdown()).await.expect("shuts down");
        crate::support::until("all bodies are gone", || stage.probe.inside("body") == 0).await;
    }

    async fn a_panic_of_the_workflow_fails_it_alone(stage: Stage) {
        let executor = stage.executor().register(panics_itself).register(panics_at_the_end).start().await.expect("starts");
        let run = executor.client().invoke(panics_itself, 3).await.expect("invokes");
        let error = soon("result", run.result()).await.expect_err("panics");
        assert_eq!(error.code(), "PANICKED");
        assert!(error.to_string().contains("n is only 3") && error.to_string().contains("runtime.rs:"), "{error}");
        let bomb = executor.client().invoke(panics_at_the_end, ()).await.expect("invokes");
        let error = soon("result", bomb.result()).await.expect_err("panics");
        assert!(error.to_string().contains("in a destructor"), "{error}");
        let healthy = executor.client().invoke(panics_itself, 9).await.expect("invokes");
        assert_eq!(soon("result", healthy.result()).await.expect("completes"), 9);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn one_thread_is_enough() {
    for stage in [Stage::memory().await, Stage::sqlite().await, Stage::postgres().await] {
        let executor = stage.executor().register(work).start().await.expect("starts");
        let runs = executor.client().invoke_many(work, 0..20).await.expect("invokes");
        for (n, run) in runs.iter().enumerate() {
            assert_eq!(soon("result", run.result()).await.expect("completes"), 2 * n as u64);
        }
        executor.shutdown().await.expect("shuts down");
    }
}

#[test]
fn two_runtimes_share_a_store_and_one_may_go() {
    let store = MemoryStore::default();
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("builds");
    let (one, two) = (runtime(), runtime());
    let start = |lease: (Duration, Duration)| {
        let store = Arc::new(store.clone());
        async move { Executor::builder(store).lease(lease.0, lease.1).register(work).start().await.expect("starts") }
    };
    let first = one.block_on(start(BRIEF));
    let second = two.block_on(start(BRIEF));
    let client = first.client();
    // A client of the first runtime, used from the second.
    let run = two.block_on(async { client.invoke(work, 1).await.expect("invokes") });
    assert_eq!(two.block_on(soon("result", run.result())).expect("completes"), 2);
    let id = run.id();
    drop(one);
    // Its runtime is gone: it says so and does not hang.
    let error =
        two.block_on(async { soon("an answer", async { client.invoke(work, 1).await }).await }).expect_err("is gone");
    assert_eq!(error.code(), "SHUTTING_DOWN");
    drop((first, client, run));
    let run = two.block_on(async { second.client().invoke(work, 3).await.expect("invokes") });
    assert_eq!(two.block_on(soon("result", run.result())).expect("completes"), 6);
    assert_eq!(two.block_on(soon("result", second.client().handle::<u64>(id).result())).expect("completes"), 2);
    two.block_on(soon("shutdown", second.shutdown())).expect("shuts down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_that_is_given_up_is_like_a_crash() {
    let stage = Stage::memory().await;
    let executor = stage.executor().lease(BRIEF.0, BRIEF.1).register(held).start().await.expect("starts");
    let run = executor.client().invoke(held, ()).await.expect("invokes");
    stage.probe.noted("held", 1).await;
    // A second SIGTERM: the program stops waiting.
    let mut shutdown = Box::pin(executor.shutdown());
    let _ = futures::poll!(&mut shutdown);
    drop(shutdown);
    stage.probe.open("held", 5);
    let _next = stage.executor().lease(BRIEF.0, BRIEF.1).register(held).start().await.expect("starts");
    soon("result", run.result()).await.expect("completes");
}
