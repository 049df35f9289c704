//! Queues: no more at once than allowed, whoever waits, and visible when nobody serves them.

use std::time::Duration;

use workflow::Status;
use workflow::prelude::*;

use crate::support::{Probe, Stage, on_every_store, soon, until};

#[workflow(queue = "narrow")]
async fn counted(ctx: Ctx, gate: String) -> Result<()> {
    let probe = ctx.state::<Probe>();
    for name in ["one", "two"] {
        ctx.step(name, async || {
            let _inside = probe.enter("narrow");
            tokio::task::yield_now().await;
            if !gate.is_empty() {
                probe.pass(&gate).await;
            }
            Ok(())
        })
        .await?;
        ctx.sleep(Duration::from_millis(2)).await?;
    }
    Ok(())
}

#[workflow(queue = "narrow")]
async fn waits(ctx: Ctx) -> Result<u64> {
    ctx.wait_for_event::<u64>("go").await
}

#[workflow(queue = "wide")]
async fn wide(ctx: Ctx) -> Result<()> {
    ctx.step("wide", async || Ok(())).await
}

async fn start(stage: &Stage, places: usize) -> Executor {
    let narrow = Queue::new("narrow").concurrency(places);
    stage.executor().queue(narrow).register(counted).register(waits).register(wide).start().await.expect("starts")
}

on_every_store! {
    async fn concurrency_is_never_exceeded(stage: Stage) {
        let executor = start(&stage, 3).await;
        let mut runs = executor.client().invoke_many(counted, std::iter::repeat_n(String::new(), 20)).await.expect("invokes");
        let calls = (0..20).map(|_| { let client = executor.client(); async move { client.invoke(counted, String::new()).await.expect("invokes") } });
        runs.extend(futures::future::join_all(calls).await);
        for run in runs {
            soon("result", run.result()).await.expect("completes");
        }
        assert!((1..=3).contains(&stage.probe.most("narrow")), "{}", stage.probe.most("narrow"));
    }

    async fn waiting_runs_hold_no_place(stage: Stage) {
        let executor = start(&stage, 1).await;
        let waiting = executor.client().invoke_many(waits, std::iter::repeat_n((), 5)).await.expect("invokes");
        until("all wait", || executor.resident() == 5).await;
        let run = executor.client().invoke(counted, String::new()).await.expect("invokes");
        soon("result", run.result()).await.expect("completes");
        executor.client().emit("go", &1).await.expect("emits");
        for run in waiting {
            assert_eq!(soon("result", run.result()).await.expect("completes"), 1);
        }
    }

    async fn a_full_queue_does_not_hold_up_another(stage: Stage) {
        let executor = start(&stage, 1).await;
        let held = executor.client().invoke_many(counted, std::iter::repeat_n("hold".to_owned(), 10)).await.expect("invokes");
        until("one is inside", || stage.probe.inside("narrow") == 1).await;
        let runs = stage.client().invoke_many(wide, std::iter::repeat_n((), 10)).await.expect("invokes");
        for run in runs {
            soon("result", run.result()).await.expect("completes");
        }
        assert_eq!(stage.probe.most("narrow"), 1);
        stage.probe.open("hold", 20);
        for run in held {
            soon("result", run.result()).await.expect("completes");
        }
        assert_eq!(stage.probe.most("narrow"), 1);
    }

    async fn one_that_nobody_serves_waits_visibly(stage: Stage) {
        let executor = start(&stage, 1).await;
        let run = executor.client().invoke(wide, ()).queue("deserted").await.expect("invokes");
        let healthy = executor.client().invoke(wide, ()).await.expect("invokes");
        soon("result", healthy.result()).await.expect("completes");
        let ready = executor.client().list().queue("deserted").status(Status::Ready).await.expect("lists");
        assert_eq!((ready.len(), ready[0].id()), (1, run.id()));
        let _other = stage.executor().queue(Queue::new("deserted")).register(wide).start().await.expect("starts");
        soon("result", run.result()).await.expect("completes");
    }

    async fn a_concurrency_of_zero_is_refused(stage: Stage) {
        let error = stage.executor().queue(Queue::new("narrow").concurrency(0)).register(wide).start().await.expect_err("refused");
        assert_eq!((error.code(), error.to_string().as_str()),
            ("MISUSE", "queue narrow has a concurrency of 0, so nothing would ever run: use at least 1"));
    }
}

#[workflow(queue = "busy")]
async fn double(_ctx: Ctx, n: u32) -> Result<u32> {
    Ok(n * 2)
}

/// Whatever the poll would find later doesn't count: it never comes.
async fn each_run_is_taken_up_at_once(max_resident: usize) {
    let stage = Stage::memory().await;
    let executor = stage
        .executor()
        .register(double)
        .queue(Queue::new("idle"))
        .queue(Queue::new("idle-too"))
        .max_resident(max_resident)
        .poll_interval(Duration::from_secs(3600))
        .start()
        .await
        .expect("starts");
    // Not the executor's own client, which begins runs without a claim.
    let client = stage.client();
    for n in 0..12 {
        let run = client.invoke(double, n).await.expect("invokes");
        assert_eq!(soon("claimed without a poll", run.result()).await.expect("completes"), n * 2);
    }
    executor.shutdown().await.expect("shuts down");
}

#[tokio::test]
async fn idle_queues_take_no_room_from_a_busy_one() {
    each_run_is_taken_up_at_once(10_000).await;
}

#[tokio::test]
async fn a_queue_is_asked_even_if_there_is_room_for_one_run_only() {
    each_run_is_taken_up_at_once(1).await;
}
