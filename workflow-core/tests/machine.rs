//! The replay machine on its own, without executor or database.

mod support;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use support::{Run, State};
use workflow_core::journal::{Fact, OpKey, Phase};
use workflow_core::{Failure, Payload, RetryPolicy};

#[test]
fn steps_and_sleeps_run_once_across_replays() {
    let ran = Arc::new(AtomicU32::new(0));
    let counter = ran.clone();
    let mut run = Run::new(move |ctx| {
        let counter = counter.clone();
        async move {
            let a = ctx.step("a", || async { Ok(counter.fetch_add(1, Ordering::SeqCst)) }).await?;
            ctx.sleep(Duration::from_secs(60)).await?;
            let b = ctx.step("a", async || Ok(counter.fetch_add(1, Ordering::SeqCst))).await?;
            Ok(json!([a, b]))
        }
    });
    let State::Blocked(Some(due)) = run.go() else { panic!("sleeps") };
    assert_eq!(due, run.journal[1].recorded_at + Duration::from_secs(60));
    run.hang_up();
    assert!(matches!(run.go(), State::Blocked(_)));
    run.now = due;
    run.hang_up();
    assert_eq!(run.finish().expect("ends well"), json!([0, 1]));
    assert_eq!(ran.load(Ordering::SeqCst), 2);
    let keys: Vec<String> = run.journal.iter().map(|e| format!("{} {}", e.fact.key, e.fact.phase.as_str())).collect();
    assert_eq!(keys, ["step a ok", "sleep asked", "sleep ok", "step a #2 ok"]);
}

#[test]
fn a_failing_step_is_tried_again_and_its_attempts_are_durable() {
    let mut run = Run::new(|ctx| async move {
        let attempt = ctx
            .step_with(
                "a",
                async |step| {
                    if step.attempt() < 3 { Err(Failure::new("not yet")) } else { Ok(step.attempt()) }
                },
            )
            .retry(RetryPolicy::fixed(Duration::from_secs(10)))
            .await?;
        Ok(json!(attempt))
    });
    for _ in 0..2 {
        let State::Blocked(Some(due)) = run.go() else { panic!("backs off") };
        run.hang_up();
        run.now = due;
    }
    assert_eq!(run.finish().expect("ends well"), json!(3));
    assert_eq!(run.journal.len(), 3);
}

#[test]
fn join_and_locals_can_be_borrowed() {
    let mut run = Run::new(|ctx| async move {
        let name = String::from("x");
        let log = RefCell::new(Vec::new());
        let (a, b) = futures::join!(
            ctx.step("a", || async {
                log.borrow_mut().push(name.clone());
                Ok(1)
            }),
            ctx.step("b", async || {
                log.borrow_mut().push(name.clone());
                Ok::<u32, Failure>("2".parse()?)
            })
        );
        Ok(json!(a? + b?))
    });
    assert_eq!(run.finish().expect("ends well"), json!(3));
}

#[test]
fn a_changed_name_parks_the_run_with_a_readable_difference() {
    let mut run = Run::new(|ctx| async move {
        ctx.step("reserve", || async { Ok(()) }).await?;
        ctx.step("charge", || async { Ok(()) }).await?;
        ctx.sleep(Duration::from_secs(1)).await?;
        Ok(json!(null))
    });
    run.go();
    run.workflow = Arc::new(support::Closure(|ctx: workflow_core::Ctx| async move {
        ctx.step("reserve", || async { Ok(()) }).await?;
        ctx.step("bill", || async { Ok(()) }).await?;
        ctx.sleep(Duration::from_secs(1)).await?;
        Ok(json!(null))
    }));
    run.hang_up();
    let State::Parked(reason) = run.go() else { panic!("diverged") };
    assert_eq!(reason.code, "DIVERGED");
    for part in [
        "recorded: step charge",
        "asked:    step bill",
        "tests/machine.rs:",
        ">     1 ok      step charge",
        "version = 2",
    ] {
        assert!(reason.message.contains(part), "{part:?} is missing in:\n{}", reason.message);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the mistake that is caught")]
fn foreign_awaits_are_caught_at_the_first_poll() {
    let mut run = Run::new(|_| async move {
        std::future::pending::<()>().await;
        Ok(json!(null))
    });
    let State::Parked(reason) = run.go() else { panic!("foreign") };
    assert_eq!(reason.code, "FOREIGN_AWAIT");
    let mut run = Run::new(|_| async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(json!(null))
    });
    let State::Parked(reason) = run.go() else { panic!("foreign") };
    assert_eq!(reason.code, "FOREIGN_AWAIT");
    assert!(reason.message.contains("tests/machine.rs"), "{}", reason.message);
}

#[test]
fn an_event_resolves_its_wait_and_a_timeout_is_recorded() {
    let code = |ctx: workflow_core::Ctx| async move {
        let first = ctx.wait_for_event::<u32>("go").await?;
        let second = ctx.wait_for_event::<u32>("go").timeout(Duration::from_secs(5)).await;
        Ok(json!([first, second.expect_err("nobody emits it").is_timeout()]))
    };
    let mut run = Run::new(code);
    assert!(matches!(run.go(), State::Blocked(None)));
    let fact = Fact {
        key: OpKey::new("event", "go", 1),
        phase: Phase::Ok,
        payload: Payload::json(&7).expect("JSON"),
        mark: Some(3),
    };
    run.send(fact);
    assert!(matches!(run.go(), State::Blocked(Some(_))));
    assert_eq!(run.turns.last().expect("the second wait").subscribe[0].after, 3);
    run.hang_up();
    assert_eq!(run.finish().expect("ends well"), json!([7, true]));
    assert_eq!(run.turns.iter().map(|t| t.unsubscribe.len()).sum::<usize>(), 1);
}

#[test]
fn cancel_reaches_pending_and_later_operations_but_not_shielded_ones() {
    let mut run = Run::new(|ctx| async move {
        let work = ctx.sleep(Duration::from_secs(1000)).await;
        assert!(work.expect_err("cancelled").is_cancelled());
        assert!(ctx.step("late", || async { Ok(()) }).await.expect_err("cancelled").is_cancelled());
        ctx.shield().step("undo", || async { Ok(()) }).await?;
        Err(ctx.sleep(Duration::from_secs(1)).await.expect_err("cancelled"))
    });
    assert!(matches!(run.go(), State::Blocked(_)));
    run.send(workflow_core::replay::cancel("enough"));
    let State::Finished(Err(failure)) = run.go() else { panic!("cancelled") };
    assert!(failure.is_cancelled());
    assert_eq!(failure.message(), "enough");
    let keys: Vec<String> = run.journal.iter().map(|e| e.fact.key.to_string()).collect();
    assert_eq!(keys, ["sleep", "cancel", "step undo"]);
    // The same again from the journal.
    run.journal.truncate(3);
    run.hang_up();
    assert!(matches!(run.go(), State::Finished(Err(_))));
}

#[test]
fn hidden_nondeterminism_is_found_right_after_the_first_commit() {
    let calls = Arc::new(AtomicU32::new(0));
    let code = support::Closure(move |ctx: workflow_core::Ctx| {
        let calls = calls.clone();
        async move {
            let name = if calls.fetch_add(1, Ordering::SeqCst) == 0 { "a" } else { "b" };
            ctx.step(name, || async { Ok(()) }).await?;
            Ok(json!(null))
        }
    });
    let mut run = Run::with(Arc::new(code), Vec::new(), true);
    let State::Parked(reason) = run.go() else { panic!("diverged") };
    assert_eq!(reason.code, "DIVERGED");
    assert!(reason.message.contains("isn't journaled"), "{}", reason.message);
}

#[test]
fn panics_become_failures() {
    let mut run = Run::new(|ctx| async move {
        let caught = ctx.step::<(), _>("a", || async { panic!("in a step") }).retry(RetryPolicy::none()).await;
        assert!(caught.expect_err("panicked").message().contains("in a step"));
        panic!("in the workflow")
    });
    let failure = run.finish().expect_err("panicked");
    assert_eq!(failure.code(), "PANICKED");
    assert!(failure.message().contains("tests/machine.rs"), "{failure}");
}

#[test]
fn a_run_that_can_not_go_on_ends_when_it_is_cancelled() {
    let mut run = Run::new(|ctx| async move {
        ctx.step("a", || async { Ok(()) }).await?;
        ctx.sleep(Duration::from_secs(1_000)).await?;
        Ok(json!(null))
    });
    assert!(matches!(run.go(), State::Blocked(_)));
    run.workflow = Arc::new(support::Closure(|ctx: workflow_core::Ctx| async move {
        ctx.step("b", || async { Ok(()) }).await?;
        Ok(json!(null))
    }));
    run.hang_up();
    run.send(workflow_core::replay::cancel("not wanted any more"));
    let State::Finished(Err(failure)) = run.go() else { panic!("cancelled") };
    assert_eq!((failure.is_cancelled(), failure.message()), (true, "not wanted any more"));
}

#[test]
fn a_race_has_the_winner_that_was_recorded_first() {
    let mut run = Run::new(|ctx| async move {
        let sleeps = [30, 10, 20].map(|seconds| ctx.sleep(Duration::from_secs(seconds)));
        let (winner, slept) = ctx.race(sleeps).await;
        slept?;
        let sum: u32 = ctx.join((0..3).map(|n| ctx.step("n", async move || Ok(n)))).await.into_iter().flatten().sum();
        Ok(json!([winner, sum]))
    });
    assert_eq!(run.finish().expect("ends well"), json!([1, 3]));
    run.journal.pop();
    run.hang_up();
    assert_eq!(run.finish().expect("ends well"), json!([1, 3]));
}
