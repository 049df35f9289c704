//! Steps: run at least once, recorded once, tried again by their policy across restarts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use workflow::prelude::*;
use workflow::store::Method;
use workflow::{FailureKind, Status};

use crate::support::{BRIEF, Probe, Stage, eventually, on_every_store, soon, until};

const MILLI: Duration = Duration::from_millis(1);

fn quick(attempts: u32) -> RetryPolicy {
    RetryPolicy::fixed(MILLI).attempts(attempts)
}

#[workflow]
async fn two_steps(ctx: Ctx, n: u64) -> Result<u64> {
    let probe = ctx.state::<Probe>();
    let a = ctx
        .step("first", async || {
            Ok({
                probe.note("first");
                n + 1
            })
        })
        .await?;
    probe.note("between");
    ctx.step("second", async || {
        probe.note("second");
        probe.pass("second").await;
        Ok(a * 2)
    })
    .await
}

#[workflow]
async fn flaky(ctx: Ctx, (attempts, succeed_at): (u32, u32)) -> Result<u32> {
    ctx.step_with("flaky", async |step| {
        step.state::<Probe>().note(format!("attempt {}", step.attempt()));
        if step.attempt() < succeed_at {
            return Err(Failure::new(format!("attempt {} failed", step.attempt())));
        }
        Ok(step.attempt())
    })
    .retry(quick(attempts))
    .await
}

#[workflow]
async fn held_retry(ctx: Ctx) -> Result<u32> {
    ctx.step_with("held", async |step| {
        let probe = step.state::<Probe>();
        probe.note(format!("attempt {}", step.attempt()));
        if step.attempt() < 3 {
            return Err(Failure::new("not yet"));
        }
        probe.pass("third").await;
        Ok(step.attempt())
    })
    .retry(quick(4))
    .await
}

#[workflow]
async fn slow_retry(ctx: Ctx, millis: u64) -> Result<u32> {
    let policy = RetryPolicy::fixed(Duration::from_millis(millis)).attempts(2);
    ctx.step_with("slow", async |step| {
        step.state::<Probe>().note("body");
        if step.attempt() == 1 { Err(Failure::new("once")) } else { Ok(step.attempt()) }
    })
    .retry(policy)
    .await
}

#[workflow]
async fn fatal(ctx: Ctx) -> Result<()> {
    let probe = ctx.state::<Probe>();
    ctx.step("fatal", async || {
        probe.note("body");
        Err(Failure::fatal("the card is stolen").with_details(&7))
    })
    .await
}

#[workflow]
async fn wait_as_told(ctx: Ctx) -> Result<u32> {
    ctx.step_with("told", async |step| {
        if step.attempt() == 1 {
            Err(Failure::new("busy").retry_after(Duration::from_millis(400)))
        } else {
            Ok(step.attempt())
        }
    })
    .retry(quick(2))
    .await
}

#[workflow]
async fn endless(ctx: Ctx) -> Result<String> {
    let result = ctx
        .step("endless", async || std::future::pending::<Result<()>>().await)
        .timeout(Duration::from_millis(30))
        .retry(quick(2))
        .await;
    let failure = result.expect_err("never ends");
    Ok(format!("{}: {failure}", failure.code()))
}

#[workflow]
async fn panics(ctx: Ctx) -> Result<String> {
    let failure = ctx
        .step("panics", async || -> Result<()> { panic!("the glass is empty \0 really") })
        .retry(RetryPolicy::none())
        .await
        .expect_err("panics");
    Ok(format!("{}: {failure}", failure.code()))
}

/// Serialises as a number and reads back only text.
#[derive(Debug, Serialize)]
struct OneWay(u32);

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer).map(|_| OneWay(0))
    }
}

#[workflow]
async fn unkeepable(ctx: Ctx, which: String) -> Result<String> {
    let probe = ctx.state::<Probe>();
    let failure = match which.as_str() {
        "keys" => ctx
            .step("bad", async || {
                probe.note("body");
                Ok(std::collections::BTreeMap::from([(vec![1u8], 1)]))
            })
            .await
            .map(drop),
        "large" => ctx
            .step("bad", async || {
                probe.note("body");
                Ok("x".repeat(3 * 1024 * 1024))
            })
            .await
            .map(drop),
        "one-way" => ctx
            .step("bad", async || {
                probe.note("body");
                Ok(OneWay(1))
            })
            .await
            .map(drop),
        _ => ctx
            .step("bad", async || {
                probe.note("body");
                Ok(f64::NAN)
            })
            .await
            .map(drop),
    };
    let failure = failure.expect_err("can't be kept");
    assert_eq!(failure.kind(), FailureKind::Misuse);
    Ok(failure.to_string())
}

#[workflow]
async fn borrows(ctx: Ctx, words: Vec<String>) -> Result<usize> {
    let mut seen = 0;
    let (a, b) =
        futures::join!(ctx.step("left", async || Ok(words[0].len())), ctx.step("right", async || Ok(words[1].len())),);
    ctx.step("count", async || {
        seen += words.len();
        Ok(())
    })
    .await?;
    Ok(a? + b?)
}

struct Absent;

#[workflow]
async fn stateless(ctx: Ctx) -> Result<()> {
    ctx.step_with("look", async |step| {
        step.state::<Absent>();
        Ok(())
    })
    .retry(RetryPolicy::none())
    .await
}

#[workflow]
async fn keys(ctx: Ctx) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for name in ["charge", "charge", "ship"] {
        let key = ctx
            .step_with(name, async |step| {
                let probe = step.state::<Probe>();
                probe.note(format!("{name} {}", step.idempotency_key()));
                if step.attempt() == 1 { Err(Failure::new("again")) } else { Ok(step.idempotency_key()) }
            })
            .retry(quick(2))
            .await?;
        all.push(key);
    }
    Ok(all)
}

#[workflow]
async fn nested(ctx: Ctx) -> Result<String> {
    let inner = ctx.clone();
    let failure = ctx
        .step("outer", async || inner.step("inner", async || Ok(1)).await)
        .retry(RetryPolicy::none())
        .await
        .expect_err("operations don't nest");
    Ok(format!("{}: {failure}", failure.code()))
}

#[workflow]
async fn absurd_policy(ctx: Ctx, which: u32) -> Result<String> {
    let probe = ctx.state::<Probe>();
    let step = ctx.step("never", async || {
        probe.note("body");
        Ok(())
    });
    let result = match which {
        0 => step.retry(RetryPolicy::default().attempts(0)).await,
        1 => step.retry(RetryPolicy::default().factor(f64::NAN)).await,
        2 => step.retry(RetryPolicy::default().factor(0.5)).await,
        3 => step.retry(RetryPolicy::exponential(Duration::MAX)).await,
        _ => step.timeout(Duration::MAX).await,
    };
    let failure = result.expect_err("makes no sense");
    Ok(format!("{}: {failure}", failure.code()))
}

#[workflow]
async fn deep_failure(ctx: Ctx) -> Result<String> {
    let probe = ctx.state::<Probe>();
    let failure = ctx
        .step("deep", async || -> Result<()> {
            probe.note("body");
            let deep = (0..200).fold(serde_json::Value::Null, |inner, _| serde_json::Value::Array(vec![inner]));
            Err(Failure::fatal("too deep to tell").with_details(&deep))
        })
        .await
        .expect_err("fails");
    Ok(failure.to_string())
}

on_every_store! {
    async fn outcome_is_recorded_once_and_the_body_never_runs_again(stage: Stage) {
        let first = stage.executor().register(two_steps).start().await.expect("starts");
        let run = first.client().invoke(two_steps, 4).await.expect("invokes");
        stage.probe.noted("second", 1).await;
        first.shutdown().await.expect("shuts down");
        let second = stage.executor().register(two_steps).start().await.expect("starts");
        stage.probe.noted("second", 2).await;
        stage.probe.open("second", 5);
        assert_eq!(soon("result", run.result()).await.expect("completes"), 10);
        assert_eq!(stage.probe.count("first"), 1);
        assert_eq!(stage.lines(run.id()).await, ["ok step first", "ok step second"]);
        second.shutdown().await.expect("shuts down");
    }

    async fn failed_attempts_are_tried_again_and_recorded(stage: Stage) {
        let executor = stage.executor().register(flaky).start().await.expect("starts");
        let run = executor.client().invoke(flaky, (5, 3)).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 3);
        assert_eq!(stage.lines(run.id()).await, ["retry step flaky", "retry step flaky", "ok step flaky"]);
    }

    async fn the_last_failure_is_the_outcome_when_attempts_are_used_up(stage: Stage) {
        let executor = stage.executor().register(flaky).start().await.expect("starts");
        let run = executor.client().invoke(flaky, (3, 9)).await.expect("invokes");
        let error = soon("result", run.result()).await.expect_err("fails");
        assert_eq!(error.code(), "FAILED");
        assert!(error.to_string().contains("attempt 3 failed"), "{error}");
        assert_eq!(stage.probe.notes(), ["attempt 1", "attempt 2", "attempt 3"]);
    }

    async fn attempts_are_counted_across_a_restart(stage: Stage) {
        let first = stage.executor().register(held_retry).start().await.expect("starts");
        let run = first.client().invoke(held_retry, ()).await.expect("invokes");
        stage.probe.noted("attempt 3", 1).await;
        first.shutdown().await.expect("shuts down");
        stage.probe.open("third", 5);
        let second = stage.executor().register(held_retry).start().await.expect("starts");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 3);
        // The attempt that the shutdown cut short isn't counted, and runs again.
        assert_eq!(stage.probe.notes(), ["attempt 1", "attempt 2", "attempt 3", "attempt 3"]);
        second.shutdown().await.expect("shuts down");
    }

    async fn a_long_backoff_hangs_up(stage: Stage) {
        let executor = stage.executor().register(slow_retry).start().await.expect("starts");
        let run = executor.client().invoke(slow_retry, 3_600_000).await.expect("invokes");
        let waiting = stage.status(&run, Status::Waiting).await;
        let failed = stage.journal(run.id()).await[0].recorded_at;
        assert_eq!((waiting.wake_at().expect("wakes") - failed).num_seconds(), 3_600);
        until("it left memory", || executor.resident() == 0).await;
    }

    async fn a_backoff_goes_on_after_a_restart(stage: Stage) {
        let first = stage.executor().linger(Duration::ZERO).register(slow_retry).start().await.expect("starts");
        let run = first.client().invoke(slow_retry, 500).await.expect("invokes");
        eventually("the first attempt is recorded", async || {
            if stage.lines(run.id()).await.is_empty() { Err("no entry".into()) } else { Ok(()) }
        }).await;
        first.shutdown().await.expect("shuts down");
        let second = stage.executor().register(slow_retry).start().await.expect("starts");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 2);
        let journal = stage.journal(run.id()).await;
        let waited = journal[1].recorded_at - journal[0].recorded_at;
        assert!(waited.num_milliseconds() >= 500, "tried again after {waited}");
        second.shutdown().await.expect("shuts down");
    }

    async fn a_short_backoff_stays_in_memory(stage: Stage) {
        let executor = stage.executor().register(slow_retry).start().await.expect("starts");
        let run = executor.client().invoke(slow_retry, 200).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 2);
        assert_eq!(executor.replays(), 1);
    }

    async fn a_fatal_failure_is_not_tried_again(stage: Stage) {
        let executor = stage.executor().register(fatal).start().await.expect("starts");
        let run = executor.client().invoke(fatal, ()).await.expect("invokes");
        let error = soon("result", run.result()).await.expect_err("fails");
        let failure = error.failure().expect("is the run's failure");
        assert_eq!((failure.message(), failure.details::<i32>()), ("the card is stolen", Some(7)));
        assert_eq!(stage.probe.count("body"), 1);
    }

    async fn retry_after_overrides_the_delay(stage: Stage) {
        let executor = stage.executor().register(wait_as_told).start().await.expect("starts");
        let run = executor.client().invoke(wait_as_told, ()).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 2);
        let journal = stage.journal(run.id()).await;
        assert!((journal[1].recorded_at - journal[0].recorded_at).num_milliseconds() >= 400);
    }

    async fn an_attempt_that_takes_too_long_times_out(stage: Stage) {
        let executor = stage.executor().register(endless).start().await.expect("starts");
        let run = executor.client().invoke(endless, ()).await.expect("invokes");
        let told = soon("result", run.result()).await.expect("completes");
        assert_eq!(told, "TIMED_OUT: an attempt took longer than its timeout of 0.03 s");
        assert_eq!(stage.lines(run.id()).await, ["retry step endless", "failed step endless"]);
    }

    async fn a_panic_is_a_failure_that_names_its_place(stage: Stage) {
        let executor = stage.executor().register(panics).start().await.expect("starts");
        let run = executor.client().invoke(panics, ()).await.expect("invokes");
        let told = soon("result", run.result()).await.expect("completes");
        assert!(told.starts_with("PANICKED: panicked at ") && told.contains("step.rs:"), "{told}");
        assert!(told.contains("the glass is empty \0 really"), "{told:?}");
    }

    async fn an_outcome_that_cannot_be_kept_fails_and_the_body_runs_once(stage: Stage) {
        let executor = stage.executor().register(unkeepable).start().await.expect("starts");
        let client = executor.client();
        for (index, (which, words)) in [
            ("keys", "key must be a string"),
            ("large", "3145730 bytes, more than the limit of 2097152"),
            ("one-way", "expected a string"),
            ("nan", "invalid type: null, expected f64"),
        ].into_iter().enumerate() {
            let run = client.invoke(unkeepable, which.to_owned()).await.expect("invokes");
            let told = soon("result", run.result()).await.expect("completes");
            assert!(told.contains("the step ran, but its outcome can't be journaled") && told.contains(words), "{told}");
            assert_eq!(stage.probe.count("body"), index + 1);
        }
    }

    async fn bodies_borrow_the_locals_and_run_side_by_side(stage: Stage) {
        let executor = stage.executor().register(borrows).start().await.expect("starts");
        let run = executor.client().invoke(borrows, vec!["ab".into(), "cde".into()]).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 5);
    }

    async fn missing_state_is_told_by_its_type(stage: Stage) {
        let executor = stage.executor().register(stateless).start().await.expect("starts");
        let run = executor.client().invoke(stateless, ()).await.expect("invokes");
        let error = soon("result", run.result()).await.expect_err("fails");
        assert_eq!(error.code(), "PANICKED");
        let told = error.to_string();
        assert!(told.contains("step::Absent") && told.contains("`.state(value)`"), "{told}");
    }

    async fn idempotency_keys_are_the_steps_own(stage: Stage) {
        let executor = stage.executor().register(keys).start().await.expect("starts");
        let mut all = Vec::new();
        for _ in 0..2 {
            let run = executor.client().invoke(keys, ()).await.expect("invokes");
            all.extend(soon("result", run.result()).await.expect("completes"));
        }
        let notes = stage.probe.notes();
        for key in &all {
            assert!(key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
            // The same in both attempts, and in no other step or run.
            assert_eq!(notes.iter().filter(|note| note.ends_with(key)).count(), 2, "{key} in {notes:?}");
        }
        assert_eq!(all.len(), 6);
    }

    async fn an_operation_inside_a_body_is_misuse(stage: Stage) {
        let executor = stage.executor().register(nested).start().await.expect("starts");
        let run = executor.client().invoke(nested, ()).await.expect("invokes");
        let told = soon("result", run.result()).await.expect("completes");
        assert!(told.starts_with("MISUSE: ") && told.contains("inside a step's body") && told.contains("step.rs:"), "{told}");
    }

    async fn a_policy_without_sense_is_misuse_and_the_body_does_not_run(stage: Stage) {
        let executor = stage.executor().register(absurd_policy).start().await.expect("starts");
        for (which, words) in ["0 attempts", "factor of NaN", "factor of 0.5", "retry base", "a timeout of"].iter().enumerate() {
            let run = executor.client().invoke(absurd_policy, which as u32).await.expect("invokes");
            let told = soon("result", run.result()).await.expect("completes");
            assert!(told.starts_with("MISUSE: ") && told.contains(words), "{told}");
        }
        assert_eq!(stage.probe.count("body"), 0);
    }

    async fn details_that_cannot_be_read_back_are_left_out_and_told(stage: Stage) {
        let executor = stage.executor().register(deep_failure).start().await.expect("starts");
        let run = executor.client().invoke(deep_failure, ()).await.expect("invokes");
        let told = soon("result", run.result()).await.expect("completes");
        assert!(told.contains("too deep to tell") && told.contains("details"), "{told}");
        assert_eq!(stage.probe.count("body"), 1);
    }

    async fn a_body_that_was_cut_short_by_a_crash_runs_again(stage: Stage) {
        let first = stage.executor().lease(BRIEF.0, BRIEF.1).register(two_steps).start().await.expect("starts");
        let run = first.client().invoke(two_steps, 1).await.expect("invokes");
        stage.probe.noted("second", 1).await;
        drop(first);
        let _second = stage.executor().lease(BRIEF.0, BRIEF.1).register(two_steps).start().await.expect("starts");
        stage.probe.noted("second", 2).await;
        stage.probe.open("second", 10);
        assert_eq!(soon("result", run.result()).await.expect("completes"), 4);
        assert_eq!(stage.lines(run.id()).await, ["ok step first", "ok step second"]);
    }
}

static TRIES: AtomicU32 = AtomicU32::new(0);

#[workflow]
async fn counted(ctx: Ctx) -> Result<u32> {
    ctx.step("count", async || Ok(TRIES.fetch_add(1, Ordering::SeqCst))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_acknowledgement_is_lost_is_looked_up_and_not_repeated() {
    let stage = Stage::memory().await;
    let faulty = crate::support::Faulty::new(stage.store.clone());
    let executor = stage.executor_on(faulty.store()).register(counted).start().await.expect("starts");
    for _ in 0..20 {
        faulty.fail_after_once(Method::Commit, workflow::StoreError::Unknown("cut".into()));
        let run = executor.client().invoke(counted, ()).await.expect("invokes");
        soon("result", run.result()).await.expect("completes");
        assert_eq!(stage.lines(run.id()).await, ["ok step count"]);
    }
    assert_eq!(TRIES.load(Ordering::SeqCst), 20);
}
