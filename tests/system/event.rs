//! Events: given to everyone who waits and to who comes later, once each and in order.

use std::time::Duration;

use workflow::Timestamp;
use workflow::prelude::*;

use crate::support::{Probe, Stage, eventually, on_every_store, soon};

#[workflow]
async fn wait_once(ctx: Ctx, key: Option<String>) -> Result<u64> {
    let wait = ctx.wait_for_event::<u64>("news");
    match key {
        Some(key) => wait.key(key).await,
        None => wait.await,
    }
}

#[workflow]
async fn collect(ctx: Ctx, count: u64) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(ctx.wait_for_event::<u64>("stream").await?);
    }
    Ok(all)
}

#[workflow]
async fn bounded(ctx: Ctx, millis: u64) -> Result<String> {
    match ctx.wait_for_event::<u64>("late").timeout(Duration::from_millis(millis)).await {
        Ok(value) => Ok(format!("got {value}")),
        Err(failure) => Ok(format!("{}: {failure}", failure.code())),
    }
}

#[workflow]
async fn lookers(ctx: Ctx) -> Result<Vec<String>> {
    let probe = ctx.state::<Probe>();
    // The first wait loses against the clock; what comes later is for the second.
    let first = tokio::select! {
        value = ctx.wait_for_event::<u64>("shared") => format!("event {}", value?),
        slept = ctx.sleep(Duration::from_millis(50)) => slept.map(|()| "clock".to_owned())?,
    };
    ctx.step("ready", async || {
        probe.note("ready");
        probe.pass("emitted").await;
        Ok(())
    })
    .await?;
    let second = ctx.wait_for_event::<u64>("shared").await?;
    Ok(vec![first, format!("event {second}")])
}

#[workflow]
async fn emitter(ctx: Ctx, count: u64) -> Result<()> {
    for n in 0..count {
        ctx.emit("stream", &n).await?;
    }
    ctx.emit("news", &7u64).key("a b/ü").await
}

#[workflow]
async fn badly(ctx: Ctx, which: u32) -> Result<String> {
    let long = "x".repeat(300);
    let result = match which {
        0 => ctx.wait_for_event::<u64>("").await.map(drop),
        1 => ctx.wait_for_event::<u64>("'; DROP TABLE runs").await.map(drop),
        2 => ctx.wait_for_event::<u64>("ok").key("").await.map(drop),
        3 => ctx.wait_for_event::<u64>("ok").key(long).await.map(drop),
        4 => ctx.emit("zero\u{200b}width", &1).await,
        5 => ctx.emit("ok", &vec!["x"; 1_000_000]).await,
        _ => ctx.wait_for_event::<u64>("ok").timeout(Duration::MAX).await.map(drop),
    };
    let failure = result.expect_err("is refused");
    Ok(format!("{}: {failure}", failure.code()))
}

async fn subscribed(stage: &Stage, run: workflow::RunId) -> Timestamp {
    eventually("it waits", async || {
        let journal = stage.journal(run).await;
        journal.first().map(|entry| entry.recorded_at).ok_or_else(|| "no entry".to_owned())
    })
    .await
}

on_every_store! {
    async fn a_waiter_gets_what_is_emitted_later(stage: Stage) {
        let executor = stage.executor().register(wait_once).start().await.expect("starts");
        let run = executor.client().invoke(wait_once, None).await.expect("invokes");
        subscribed(&stage, run.id()).await;
        stage.client().emit("news", &5).await.expect("emits");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 5);
        assert_eq!(stage.lines(run.id()).await, ["asked event news", "ok event news"]);
    }

    async fn a_waiter_gets_what_was_emitted_before(stage: Stage) {
        let executor = stage.executor().register(wait_once).start().await.expect("starts");
        stage.client().emit("news", &5).await.expect("emits");
        let run = executor.client().invoke(wait_once, None).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 5);
    }

    async fn a_key_keeps_waiters_apart(stage: Stage) {
        let executor = stage.executor().register(wait_once).start().await.expect("starts");
        let client = executor.client();
        let odd = "a b/ü 'quoted' \u{1F980}";
        let mine = client.invoke(wait_once, Some(odd.into())).await.expect("invokes");
        let other = client.invoke(wait_once, Some("other".into())).await.expect("invokes");
        let none = client.invoke(wait_once, None).await.expect("invokes");
        client.emit_to("news", odd, &1).await.expect("emits");
        assert_eq!(soon("result", mine.result()).await.expect("completes"), 1);
        client.emit("news", &2).await.expect("emits");
        assert_eq!(soon("result", none.result()).await.expect("completes"), 2);
        assert!(!other.status().await.expect("exists").status().is_terminal());
        client.emit_to("news", "other", &3).await.expect("emits");
        assert_eq!(soon("result", other.result()).await.expect("completes"), 3);
    }

    async fn every_waiter_gets_it(stage: Stage) {
        let executor = stage.executor().linger(Duration::from_millis(1)).register(wait_once).start().await.expect("starts");
        let other = stage.executor_on(stage.another().await).register(wait_once).start().await.expect("starts");
        let runs = executor.client().invoke_many(wait_once, std::iter::repeat_n(None, 50)).await.expect("invokes");
        stage.client().emit("news", &9).await.expect("emits");
        for run in runs {
            assert_eq!(soon("result", run.result()).await.expect("completes"), 9);
        }
        drop(other);
    }

    async fn a_loop_gets_them_in_the_order_of_their_emission(stage: Stage) {
        let executor = stage.executor().register(collect).start().await.expect("starts");
        let client = executor.client();
        let early = client.invoke(collect, 30).await.expect("invokes");
        for n in 0..30u64 {
            client.emit("stream", &n).await.expect("emits");
        }
        let late = client.invoke(collect, 30).await.expect("invokes");
        let expected: Vec<u64> = (0..30).collect();
        assert_eq!(soon("result", early.result()).await.expect("completes"), expected);
        assert_eq!(soon("result", late.result()).await.expect("completes"), expected);
    }

    async fn a_timeout_is_recorded_and_not_early(stage: Stage) {
        let executor = stage.executor().register(bounded).start().await.expect("starts");
        let run = executor.client().invoke(bounded, 200).await.expect("invokes");
        assert!(soon("result", run.result()).await.expect("completes").starts_with("TIMED_OUT: "));
        let journal = stage.journal(run.id()).await;
        assert!((journal[1].recorded_at - journal[0].recorded_at).num_milliseconds() >= 200);
        // What comes afterwards changes nothing.
        executor.client().emit("late", &1).await.expect("emits");
        assert!(run.result().await.expect("completes").starts_with("TIMED_OUT: "));
    }

    async fn a_hung_up_waiter_times_out(stage: Stage) {
        let executor = stage.executor().linger(Duration::ZERO).register(bounded).start().await.expect("starts");
        let run = executor.client().invoke(bounded, 300).await.expect("invokes");
        assert!(soon("result", run.result()).await.expect("completes").starts_with("TIMED_OUT: "));
        assert_eq!(executor.replays(), 2, "it left memory in between");
    }

    async fn a_timeout_of_zero_takes_what_is_there(stage: Stage) {
        let executor = stage.executor().register(bounded).start().await.expect("starts");
        let run = executor.client().invoke(bounded, 0).await.expect("invokes");
        assert!(soon("result", run.result()).await.expect("completes").starts_with("TIMED_OUT: "));
        executor.client().emit("late", &3).await.expect("emits");
        for _ in 0..5 {
            let run = executor.client().invoke(bounded, 0).await.expect("invokes");
            assert_eq!(soon("result", run.result()).await.expect("completes"), "got 3");
        }
    }

    async fn what_a_dropped_wait_missed_goes_to_the_next(stage: Stage) {
        let executor = stage.executor().register(lookers).start().await.expect("starts");
        let run = executor.client().invoke(lookers, ()).await.expect("invokes");
        stage.probe.noted("ready", 1).await;
        executor.client().emit("shared", &4).await.expect("emits");
        stage.probe.open("emitted", 1);
        assert_eq!(soon("result", run.result()).await.expect("completes"), ["clock", "event 4"]);
    }

    async fn a_workflow_emits_once_and_in_order(stage: Stage) {
        let executor = stage.executor().register(emitter).register(collect).register(wait_once).start().await.expect("starts");
        let client = executor.client();
        let keyed = client.invoke(wait_once, Some("a b/ü".into())).await.expect("invokes");
        let reader = client.invoke(collect, 10).await.expect("invokes");
        let run = client.invoke(emitter, 10).await.expect("invokes");
        soon("result", run.result()).await.expect("completes");
        assert_eq!(soon("result", reader.result()).await.expect("completes"), (0..10).collect::<Vec<_>>());
        assert_eq!(soon("result", keyed.result()).await.expect("completes"), 7);
        assert_eq!(stage.lines(run.id()).await.len(), 11);
    }

    async fn a_payload_of_another_type_parks_the_waiter_and_names_the_path(stage: Stage) {
        let executor = stage.executor().register(wait_once).register(collect).start().await.expect("starts");
        let client = executor.client();
        let run = client.invoke(wait_once, None).await.expect("invokes");
        client.emit("news", &serde_json::json!({"price": "high"})).await.expect("emits");
        let reason = stage.parked(&run).await;
        assert_eq!(reason.code, "PAYLOAD");
        assert!(reason.message.contains("event news") && reason.message.contains("event.rs:"), "{}", reason.message);
        assert!(reason.message.contains("ways out"), "{}", reason.message);
        let error = run.result().await.expect_err("is parked");
        assert_eq!(error.code(), "PARKED");
        let healthy = client.invoke(collect, 1).await.expect("invokes");
        client.emit("stream", &1).await.expect("emits");
        assert_eq!(soon("result", healthy.result()).await.expect("completes"), [1]);
    }

    async fn what_cannot_be_waited_for_is_misuse(stage: Stage) {
        let executor = stage.executor().register(badly).start().await.expect("starts");
        for (which, words) in [
            "it is empty", "'; DROP TABLE runs", "it is empty", "it has 300 bytes", "'\\u{200b}'",
            "more than the limit of 2097152", "a timeout of",
        ].iter().enumerate() {
            let run = executor.client().invoke(badly, which as u32).await.expect("invokes");
            let told = soon("result", run.result()).await.expect("completes");
            assert!(told.starts_with("MISUSE: ") && told.contains(words), "{which}: {told}");
        }
    }

    async fn a_flood_is_an_error_to_the_sender_and_drops_nothing(stage: Stage) {
        let client = stage.client();
        futures::future::join_all((0..10_000u64).map(|n| {
            let client = client.clone();
            async move { client.emit("flood", &n).await.expect("emits") }
        })).await;
        let error = client.emit("flood", &0).await.expect_err("is full");
        assert_eq!(error.code(), "BUFFER_FULL");
        let told = error.to_string();
        assert!(told.contains("flood") && told.contains("10000 events"), "{told}");
        // Another topic has room.
        client.emit_to("flood", "other", &0).await.expect("emits");
        client.emit("stream", &0).await.expect("emits");
    }
}
