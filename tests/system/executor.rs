//! Executors: several share the work, take over from each other, and hold no more than they may.

use std::time::Duration;

use workflow::prelude::*;
use workflow::store::Method;
use workflow::{Status, StoreError};

use crate::support::{BRIEF, Faulty, Probe, on_every_store, soon, stopwatch, until};

#[workflow]
async fn plain(ctx: Ctx, n: u64) -> Result<u64> {
    let probe = ctx.state::<Probe>();
    ctx.step("add", async || {
        probe.note("add");
        Ok(n + 1)
    })
    .await
}

#[workflow]
async fn gated(ctx: Ctx) -> Result<String> {
    let probe = ctx.state::<Probe>();
    ctx.step("gated", async || {
        probe.note("body");
        probe.pass("gate").await;
        Ok(())
    })
    .await?;
    Ok("through".into())
}

#[workflow]
async fn waiter(ctx: Ctx, n: u64) -> Result<u64> {
    let mut sum = 0;
    for _ in 0..3 {
        sum += ctx.wait_for_event::<u64>("tick").key(n.to_string()).await?;
    }
    Ok(sum)
}

#[workflow(queue = "other")]
async fn elsewhere(ctx: Ctx, n: u64) -> Result<u64> {
    ctx.step("add", async || Ok(n + 1)).await
}

on_every_store! {
    async fn several_share_the_work(stage: Stage) {
        let other = stage.another().await;
        let one = stage.executor().queue(Queue::new("default").concurrency(2)).register(gated).start().await.expect("starts");
        let two = stage.executor_on(other).queue(Queue::new("default").concurrency(2)).register(gated).start().await.expect("starts");
        let client = stage.client();
        let runs: Vec<_> = client.invoke_many(gated, std::iter::repeat_n((), 4)).await.expect("invokes");
        stage.probe.noted("body", 4).await;
        assert_eq!((one.resident(), two.resident()), (2, 2));
        stage.probe.open("gate", 4);
        for run in runs {
            assert_eq!(soon("result", run.result()).await.expect("completes"), "through");
        }
        assert_eq!(stage.probe.count("body"), 4);
    }

    async fn a_dropped_one_is_taken_over_when_its_lease_has_run_out(stage: Stage) {
        let one = stage.executor().lease(BRIEF.0, BRIEF.1).register(gated).start().await.expect("starts");
        let run = one.client().invoke(gated, ()).await.expect("invokes");
        stage.probe.noted("body", 1).await;
        drop(one);
        stage.probe.open("gate", 5);
        let _two = stage.executor().lease(BRIEF.0, BRIEF.1).register(gated).start().await.expect("starts");
        assert_eq!(soon("result", run.result()).await.expect("completes"), "through");
        assert!(run.status().await.expect("exists").crashes() >= 1);
    }

    async fn a_graceful_shutdown_hands_over_at_once(stage: Stage) {
        // Only who hands over gives its runs away within such a lease.
        let lease = Duration::from_secs(3_600);
        let one = stage.executor().lease(lease, Duration::from_secs(1)).register(gated).start().await.expect("starts");
        let two = stage.executor_on(stage.another().await).register(gated).start().await.expect("starts");
        let runs = one.client().invoke_many(gated, std::iter::repeat_n((), 10)).await.expect("invokes");
        stage.probe.noted("body", 10).await;
        one.shutdown().await.expect("shuts down");
        until("all are taken up again", || two.resident() == 10).await;
        stage.probe.open("gate", 20);
        for run in runs {
            soon("result", run.result()).await.expect("completes");
            assert_eq!(run.status().await.expect("exists").crashes(), 0);
        }
    }

    async fn a_shutdown_hands_over_before_its_last_commit_is_through(stage: Stage) {
        let faulty = Faulty::new(stage.store.clone());
        let lease = Duration::from_secs(3_600);
        let one = stage.executor_on(faulty.store()).lease(lease, Duration::from_secs(1)).register(gated).register(plain);
        let one = one.start().await.expect("starts");
        let two = stage.executor_on(stage.another().await).register(gated).register(plain).start().await.expect("starts");
        let run = one.client().invoke(gated, ()).await.expect("invokes");
        stage.probe.noted("body", 1).await;
        faulty.fail(Method::Commit, StoreError::Unavailable("unplugged".into()));
        let stuck = one.client().invoke(plain, 1).await.expect("invokes");
        until("its step is being written", || faulty.calls(Method::Commit) > 0).await;
        let closing = tokio::spawn(one.shutdown());
        stage.probe.noted("body", 2).await;
        assert_eq!(two.resident(), 1);
        assert!(!closing.is_finished(), "a step that was made is written before the end");
        stage.probe.open("gate", 5);
        assert_eq!(soon("result", run.result()).await.expect("completes"), "through");
        assert_eq!(run.status().await.expect("exists").crashes(), 0);
        faulty.mend();
        soon("the end", closing).await.expect("no panic").expect("shuts down");
        assert_eq!(soon("result", stuck.result()).await.expect("completes"), 2);
    }

    async fn a_new_run_starts_at_once_where_there_is_room(stage: Stage) {
        let executor = stage.executor().register(plain).start().await.expect("starts");
        let run = executor.client().invoke(plain, 1).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 2);
        assert_eq!(executor.replays(), 1);
    }

    async fn many_waiting_runs_go_through_few_places(stage: Stage) {
        let executor = stage.executor().max_resident(50).register(waiter).start().await.expect("starts");
        let client = stage.client();
        let runs = client.invoke_many(waiter, 0..200).await.expect("invokes");
        for tick in 1..=3u64 {
            futures::future::join_all((0..200u64).map(|n| {
                let client = client.clone();
                async move { client.emit_to("tick", &n.to_string(), &tick).await.expect("emits") }
            })).await;
        }
        for run in runs {
            assert_eq!(soon("result", run.result()).await.expect("completes"), 6);
        }
        assert!(executor.resident() <= 50);
    }

    async fn runs_that_hang_up_while_they_are_called_are_never_lost(stage: Stage) {
        let executor = stage.executor().linger(Duration::ZERO).register(waiter).start().await.expect("starts");
        let client = executor.client();
        let each = (0..40u64).map(|n| {
            let client = client.clone();
            async move {
                let run = client.invoke(waiter, n).await.expect("invokes");
                for tick in 1..=3u64 {
                    client.emit_to("tick", &n.to_string(), &tick).await.expect("emits");
                    tokio::task::yield_now().await;
                }
                soon("result", run.result()).await.expect("completes")
            }
        });
        assert_eq!(futures::future::join_all(each).await, vec![6; 40]);
    }

    async fn a_run_that_is_claimed_before_it_is_known_to_have_hung_up_is_not_lost(stage: Stage) {
        let faulty = Faulty::new(stage.store.clone());
        let executor = stage.executor_on(faulty.store()).linger(Duration::ZERO).register(waiter).start().await.expect("starts");
        // Commits are answered late, so that claims overtake the answers.
        faulty.answer_commits_after(Duration::from_millis(30));
        let client = executor.client();
        let runs = client.invoke_many(waiter, 0..20).await.expect("invokes");
        for (n, run) in runs.iter().enumerate() {
            stage.status(run, Status::Waiting).await;
            client.emit_to("tick", &n.to_string(), &1u64).await.expect("emits");
        }
        for tick in 2..=3u64 {
            for n in 0..20 {
                client.emit_to("tick", &n.to_string(), &tick).await.expect("emits");
            }
        }
        for run in runs {
            assert_eq!(soon("result", run.result()).await.expect("completes"), 6);
        }
    }

    async fn all_queues_are_looked_at_however_large_the_first(stage: Stage) {
        let executor = stage.executor().poll_interval(Duration::from_secs(600)).max_resident(10)
            .register(plain).register(elsewhere).start().await.expect("starts");
        let client = stage.client();
        for n in 0..6 {
            let here = client.invoke(plain, n).await.expect("invokes");
            assert_eq!(soon("result", here.result()).await.expect("completes"), n + 1);
            let there = client.invoke(elsewhere, n).await.expect("invokes");
            assert_eq!(soon("result", there.result()).await.expect("completes"), n + 1);
        }
        drop(executor);
    }

    async fn work_is_found_with_every_wake_up_lost(stage: Stage) {
        let faulty = Faulty::new(stage.store.clone());
        faulty.deafen();
        let executor = stage.executor_on(faulty.store()).poll_interval(Duration::from_millis(50)).linger(Duration::ZERO)
            .register(waiter).start().await.expect("starts");
        let client = Client::new(faulty.store());
        let run = client.invoke(waiter, 1).await.expect("invokes");
        for tick in 1..=3u64 {
            client.emit_to("tick", "1", &tick).await.expect("emits");
        }
        assert_eq!(soon("result", run.result()).await.expect("completes"), 6);
        drop(executor);
    }

    async fn a_lost_lease_begins_a_new_life_and_completes_nothing_twice(stage: Stage) {
        let faulty = Faulty::new(stage.store.clone());
        let one = stage.executor_on(faulty.store()).lease(BRIEF.0, BRIEF.1).queue(Queue::new("default").concurrency(3))
            .register(gated).start().await.expect("starts");
        let runs = one.client().invoke_many(gated, std::iter::repeat_n((), 3)).await.expect("invokes");
        stage.probe.noted("body", 3).await;
        let before = one.id();
        for method in [Method::Heartbeat, Method::Register, Method::Claim] {
            faulty.fail(method, StoreError::Unavailable("cut off".into()));
        }
        let two = stage.executor().lease(BRIEF.0, BRIEF.1).register(gated).start().await.expect("starts");
        until("the other has them", || two.resident() == 3).await;
        until("the first has dropped them", || one.resident() == 0 && one.id() != before).await;
        faulty.mend();
        stage.probe.open("gate", 20);
        for run in runs {
            assert_eq!(soon("result", run.result()).await.expect("completes"), "through");
            assert_eq!(stage.lines(run.id()).await, ["ok step gated"]);
        }
        two.shutdown().await.expect("shuts down");
        // It serves again, with all its places.
        let again = one.client().invoke_many(gated, std::iter::repeat_n((), 3)).await.expect("invokes");
        for run in again {
            soon("result", run.result()).await.expect("completes");
        }
    }

    async fn an_invocation_that_is_dropped_half_way_is_not_stuck(stage: Stage) {
        let executor = stage.executor().queue(Queue::new("default").concurrency(1)).register(plain).start().await.expect("starts");
        let client = executor.client();
        for n in 0..5 {
            let mut call = Box::pin(std::future::IntoFuture::into_future(client.invoke(plain, n).id(format!("half {n}"))));
            // Polled once, so that it is on its way, and dropped.
            let _ = futures::poll!(&mut call);
            drop(call);
        }
        for n in 0..5u64 {
            let run = client.invoke(plain, n).id(format!("half {n}")).await.expect("attaches or invokes");
            assert_eq!(soon("result", run.result()).await.expect("completes"), n + 1);
        }
    }

    async fn shutdown_ends_although_the_database_is_away(stage: Stage) {
        let faulty = Faulty::new(stage.store.clone());
        let one = stage.executor_on(faulty.store()).lease(BRIEF.0, BRIEF.1).register(gated).start().await.expect("starts");
        let run = one.client().invoke(gated, ()).await.expect("invokes");
        stage.probe.noted("body", 1).await;
        for method in [Method::Commit, Method::Heartbeat, Method::Close, Method::Register, Method::Claim] {
            faulty.fail(method, StoreError::Unavailable("unplugged".into()));
        }
        stage.probe.open("gate", 5);
        let error = soon("the end", one.shutdown()).await.expect_err("the store can't be told");
        assert_eq!(error.code(), "STORE_UNAVAILABLE");
        let _two = stage.executor().lease(BRIEF.0, BRIEF.1).register(gated).start().await.expect("starts");
        assert_eq!(soon("result", run.result()).await.expect("completes"), "through");
    }

    async fn settings_beyond_every_calendar_are_harmless(stage: Stage) {
        let error = stage.executor().lease(Duration::MAX, Duration::MAX).register(plain).start().await.expect_err("is refused");
        assert_eq!(error.code(), "MISUSE");
        let executor = stage.executor().linger(Duration::MAX).poll_interval(Duration::MAX).retain(Duration::MAX)
            .lease(Duration::MAX, Duration::from_secs(1)).register(waiter).start().await.expect("starts");
        let run = executor.client().invoke(waiter, 5).await.expect("invokes");
        until("it waits", || executor.resident() == 1).await;
        for tick in 1..=3u64 {
            executor.client().emit_to("tick", "5", &tick).await.expect("emits");
        }
        assert_eq!(soon("result", run.result()).await.expect("completes"), 6);
        stage.status(&run, Status::Completed).await;
        soon("shutdown", executor.shutdown()).await.expect("shuts down");
    }
}

#[workflow]
async fn naps(ctx: Ctx, millis: u64) -> Result<()> {
    ctx.sleep(Duration::from_millis(millis)).await
}

/// A store whose clock the test moves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_before_its_time_is_refused_and_made_again() {
    let clock = workflow::memory::ManualClock::new();
    let store = std::sync::Arc::new(workflow::MemoryStore::new(clock.clone()));
    let start = || Executor::builder(store.clone()).register(naps).poll_interval(Duration::from_millis(20)).start();
    let executor = start().await.expect("starts");
    let short = executor.client().invoke(naps, 50).await.expect("invokes");
    let long = executor.client().invoke(naps, 3_600_000).await.expect("invokes");
    until("both sleep", || executor.resident() == 1).await;
    // The executor's estimate runs ahead of a clock that stands still: it must not help.
    let begun = stopwatch();
    until("its timer is long over here", || begun() > Duration::from_millis(300)).await;
    assert!(!short.status().await.expect("exists").status().is_terminal());
    clock.advance(Duration::from_millis(50));
    soon("result", short.result()).await.expect("completes");
    assert!(!long.status().await.expect("exists").status().is_terminal());
    clock.advance(Duration::from_secs(3_600));
    soon("result", long.result()).await.expect("completes");
}
