//! Sleeps: never early, over restarts, without memory.

use std::time::Duration;

use workflow::prelude::*;
use workflow::{Status, Timestamp};

use crate::support::{BRIEF, Probe, on_every_store, soon};

#[workflow]
async fn naps(ctx: Ctx, micros: Vec<u64>) -> Result<()> {
    for micros in micros {
        ctx.sleep(Duration::from_micros(micros)).await?;
    }
    Ok(())
}

#[workflow]
async fn long(ctx: Ctx, millis: u64) -> Result<String> {
    ctx.sleep(Duration::from_millis(millis)).await?;
    Ok("awake".into())
}

#[workflow]
async fn until_instant(ctx: Ctx, at: Timestamp) -> Result<()> {
    ctx.sleep_until(at).await
}

#[workflow]
async fn absurd(ctx: Ctx, which: u32) -> Result<String> {
    let result = match which {
        0 => ctx.sleep(Duration::MAX).await,
        1 => ctx.sleep(Duration::from_secs(300_000 * 365 * 24 * 3600)).await,
        2 => ctx.sleep_until(Timestamp::MAX_UTC).await,
        _ => ctx.sleep_until(Timestamp::MIN_UTC).await,
    };
    Ok(match result {
        Ok(()) => "slept".into(),
        Err(failure) => format!("{}: {failure}", failure.code()),
    })
}

/// Whichever comes first: a body that never ends by itself, or the clock.
#[workflow]
async fn deadline(ctx: Ctx) -> Result<String> {
    let probe = ctx.state::<Probe>();
    tokio::select! {
        biased;
        value = ctx.step("endless", async || { probe.note("body"); probe.pass("never").await; Ok("body".to_owned()) }) => value,
        slept = ctx.sleep(Duration::from_millis(150)) => slept.map(|()| "clock".to_owned()),
    }
}

#[workflow]
async fn side_by_side(ctx: Ctx) -> Result<Vec<u64>> {
    let sleeps = [90u64, 30, 60].map(|millis| {
        let ctx = ctx.clone();
        async move { ctx.sleep(Duration::from_millis(millis)).await.map(|()| millis) }
    });
    let mut order = Vec::new();
    let mut rest: futures::stream::FuturesUnordered<_> = sleeps.into_iter().collect();
    while let Some(millis) = futures::StreamExt::next(&mut rest).await {
        order.push(millis?);
    }
    Ok(order)
}

on_every_store! {
    async fn is_never_early_by_the_stores_clock(stage: Stage) {
        let executor = stage.executor().register(naps).start().await.expect("starts");
        let wanted = vec![0, 1, 777, 1_500, 20_000, 33_333];
        let runs: Vec<_> = futures::future::join_all((0..10).map(|_| {
            let (client, wanted) = (executor.client(), wanted.clone());
            async move { client.invoke(naps, wanted).await.expect("invokes") }
        })).await;
        for run in runs {
            soon("result", run.result()).await.expect("completes");
            let journal = stage.journal(run.id()).await;
            for (nap, micros) in journal.chunks(2).zip(&wanted) {
                let slept = (nap[1].recorded_at - nap[0].recorded_at).num_microseconds().expect("short");
                assert!(slept >= i64::try_from(*micros).expect("short"), "{slept} of {micros} us");
            }
        }
    }

    async fn wakes_after_a_restart(stage: Stage) {
        let first = stage.executor().register(long).start().await.expect("starts");
        let run = first.client().invoke(long, 700).await.expect("invokes");
        crate::support::eventually("asked", async || {
            if !stage.lines(run.id()).await.is_empty() { Ok(()) } else { Err("no entry".into()) }
        }).await;
        first.shutdown().await.expect("shuts down");
        let _second = stage.executor().register(long).start().await.expect("starts");
        assert_eq!(soon("result", run.result()).await.expect("completes"), "awake");
        assert_eq!(stage.lines(run.id()).await, ["asked sleep", "ok sleep"]);
    }

    async fn wakes_after_a_crash(stage: Stage) {
        let first = stage.executor().lease(BRIEF.0, BRIEF.1).register(long).start().await.expect("starts");
        let run = first.client().invoke(long, 300).await.expect("invokes");
        crate::support::eventually("asked", async || {
            if !stage.lines(run.id()).await.is_empty() { Ok(()) } else { Err("no entry".into()) }
        }).await;
        drop(first);
        let _second = stage.executor().lease(BRIEF.0, BRIEF.1).register(long).start().await.expect("starts");
        assert_eq!(soon("result", run.result()).await.expect("completes"), "awake");
    }

    async fn a_long_sleep_hangs_up_at_once(stage: Stage) {
        let executor = stage.executor().register(long).start().await.expect("starts");
        let run = executor.client().invoke(long, 3_600_000).await.expect("invokes");
        let waiting = stage.status(&run, Status::Waiting).await;
        let asked = stage.journal(run.id()).await[0].recorded_at;
        assert_eq!((waiting.wake_at().expect("wakes") - asked).num_seconds(), 3_600);
        crate::support::until("it left memory", || executor.resident() == 0).await;
    }

    async fn a_hung_up_sleep_wakes_without_anybody_calling(stage: Stage) {
        let executor = stage.executor().linger(Duration::ZERO).register(long).start().await.expect("starts");
        let run = executor.client().invoke(long, 300).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), "awake");
        let journal = stage.journal(run.id()).await;
        let slept = (journal[1].recorded_at - journal[0].recorded_at).num_milliseconds();
        assert!(slept >= 300, "{slept}");
        assert_eq!(executor.replays(), 2);
    }

    async fn a_timer_ends_while_a_body_runs(stage: Stage) {
        let executor = stage.executor().register(deadline).start().await.expect("starts");
        let run = executor.client().invoke(deadline, ()).await.expect("invokes");
        stage.probe.noted("body", 1).await;
        assert_eq!(soon("result", run.result()).await.expect("completes"), "clock");
    }

    async fn several_end_in_the_order_of_the_clock(stage: Stage) {
        let executor = stage.executor().register(side_by_side).start().await.expect("starts");
        let run = executor.client().invoke(side_by_side, ()).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), [30, 60, 90]);
    }

    async fn until_an_instant_that_is_over_or_near(stage: Stage) {
        let executor = stage.executor().register(until_instant).start().await.expect("starts");
        let created = executor.client().invoke(until_instant, Timestamp::UNIX_EPOCH).await.expect("invokes");
        soon("result", created.result()).await.expect("completes");
        let now = created.status().await.expect("exists").created_at();
        let at = now + Duration::from_millis(400);
        let run = executor.client().invoke(until_instant, at).await.expect("invokes");
        soon("result", run.result()).await.expect("completes");
        let woken = stage.journal(run.id()).await[1].recorded_at;
        assert!(woken >= at, "{woken} before {at}");
    }

    async fn durations_without_sense_are_refused(stage: Stage) {
        let executor = stage.executor().register(absurd).start().await.expect("starts");
        for (which, words) in ["more than the limit of 100 years", "300000 years", "100 years"].iter().enumerate() {
            let run = executor.client().invoke(absurd, which as u32).await.expect("invokes");
            let told = soon("result", run.result()).await.expect("completes");
            assert!(told.starts_with("MISUSE: ") && told.contains(words), "{told}");
            assert_eq!(stage.lines(run.id()).await, Vec::<String>::new());
        }
        let run = executor.client().invoke(absurd, 3).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), "slept");
    }
}
