//! The messages that people read when a run is parked, word by word.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Closure, Run, State};
use workflow_core::env::MachineOptions;
use workflow_core::{Ctx, Failure, Result, Workflow, WorkflowFuture};

#[derive(Clone, Copy)]
struct Ship;

impl Workflow for Ship {
    type Input = u32;
    type Output = u32;
    const NAME: &'static str = "ship";
    fn call(self, _: Ctx, n: u32) -> WorkflowFuture<u32> {
        Box::pin(async move { Ok(n) })
    }
}

async fn step(ctx: &Ctx, name: &str) -> Result<()> {
    ctx.step(name, async || Ok(())).await
}

async fn sleep(ctx: &Ctx) -> Result<Value> {
    ctx.sleep(Duration::from_secs(60)).await?;
    Ok(json!(null))
}

/// The code and message that a run is parked with. Lines of this file are shown as `:_`.
fn parked(run: &mut Run) -> (String, String) {
    let State::Parked(reason) = run.go() else { panic!("not parked") };
    let mut message = String::new();
    let mut rest = reason.message.as_str();
    while let Some((before, after)) = rest.split_once("tests/messages.rs:") {
        message.push_str(before.trim_end_matches("workflow-core/"));
        message.push_str("messages.rs:_");
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    message.push_str(rest);
    (reason.code, message)
}

/// Runs `before` until it blocks, then goes on with `after`: the message without its ways out.
fn changed<A, B>(
    before: impl Fn(Ctx) -> A + Send + Sync + 'static,
    after: impl Fn(Ctx) -> B + Send + Sync + 'static,
) -> String
where
    A: Future<Output = Result<Value>> + 'static,
    B: Future<Output = Result<Value>> + 'static,
{
    let mut run = Run::new(before);
    assert!(matches!(run.go(), State::Blocked(_)));
    run.workflow = Arc::new(Closure(after));
    run.hang_up();
    let (code, message) = parked(&mut run);
    assert_eq!(code, "DIVERGED");
    message.split_once("  ways out:").expect("has some").0.to_owned()
}

async fn buys(ctx: Ctx) -> Result<Value> {
    step(&ctx, "reserve").await?;
    step(&ctx, "charge").await?;
    step(&ctx, "mail").await?;
    sleep(&ctx).await
}

#[test]
fn a_renamed_step() {
    let message = changed(buys, |ctx| async move {
        step(&ctx, "reserve").await?;
        step(&ctx, "bill").await?;
        step(&ctx, "mail").await?;
        sleep(&ctx).await
    });
    assert_eq!(
        message,
        "\
the code of workflow test (test.rs:1) no longer matches the run's journal
  recorded: step charge
  asked:    step bill (messages.rs:_, not recorded)
  so:       step charge was removed, renamed or moved behind step bill; or step bill is new before it
  journal:
        0 ok      step reserve
  >     1 ok      step charge
        2 ok      step mail
        3 asked   sleep
  the code's last operations:
                step reserve (messages.rs:_)
                step bill (messages.rs:_)
"
    );
}

#[test]
fn an_added_step() {
    let message = changed(buys, |ctx| async move {
        step(&ctx, "reserve").await?;
        step(&ctx, "check").await?;
        step(&ctx, "charge").await?;
        step(&ctx, "mail").await?;
        sleep(&ctx).await
    });
    assert!(
        message.contains("  recorded: step charge\n  asked:    step check (messages.rs:_, not recorded)\n"),
        "{message}"
    );
    assert!(message.contains("or step check is new before it"), "{message}");
}

#[test]
fn a_removed_step() {
    let message = changed(buys, |ctx| async move {
        step(&ctx, "reserve").await?;
        step(&ctx, "charge").await?;
        sleep(&ctx).await
    });
    assert!(
        message.contains(
            "  recorded: step mail\n  asked:    nothing but sleep (messages.rs:_, recorded, without outcome)\n"
        ),
        "{message}"
    );
    assert!(
        message.contains("the code waits for sleep, but when step mail was recorded it went on without"),
        "{message}"
    );
    assert!(message.contains("  >     2 ok      step mail\n"), "{message}");
}

#[test]
fn a_step_moved_behind_one_that_is_not_recorded() {
    let message = changed(buys, |ctx| async move {
        step(&ctx, "reserve").await?;
        step(&ctx, "thank").await?;
        step(&ctx, "charge").await?;
        step(&ctx, "mail").await?;
        sleep(&ctx).await
    });
    assert!(message.contains("step charge was removed, renamed or moved behind step thank"), "{message}");
}

#[test]
fn steps_that_only_changed_places_are_no_difference() {
    let mut run = Run::new(buys);
    assert!(matches!(run.go(), State::Blocked(_)));
    run.workflow = Arc::new(Closure(|ctx: Ctx| async move {
        step(&ctx, "mail").await?;
        step(&ctx, "charge").await?;
        step(&ctx, "reserve").await?;
        sleep(&ctx).await
    }));
    run.hang_up();
    run.finish().expect("every value is found by its name");
}

#[test]
fn another_kind_of_operation() {
    let message = changed(buys, |ctx| async move {
        step(&ctx, "reserve").await?;
        ctx.wait_for_event::<()>("charge").await?;
        sleep(&ctx).await
    });
    assert!(
        message.contains("  recorded: step charge\n  asked:    event charge (messages.rs:_, not recorded)\n"),
        "{message}"
    );
}

#[test]
fn a_child_with_another_input() {
    let message = changed(
        |ctx| async move { Ok(json!(ctx.invoke(Ship, 1).await?)) },
        |ctx| async move { Ok(json!(ctx.invoke(Ship, 2).await?)) },
    );
    assert_eq!(
        message,
        "\
the code of workflow test (test.rs:1) no longer matches the run's journal
  recorded: invoke ship with another input (its fingerprint is 6b86b273ff34, that of the code's input d4735e3a265e; \
for inputs that serialise in random order, as a HashSet does, set `lenient_inputs`)
  asked:    invoke ship (messages.rs:_)
  journal:
  >     0 asked   invoke ship
  the code's last operations:
                invoke ship (messages.rs:_)
"
    );
}

#[test]
fn an_event_with_another_key() {
    let message = changed(
        |ctx| async move { Ok(json!(ctx.wait_for_event::<u32>("paid").key("order-1").await?)) },
        |ctx| async move { Ok(json!(ctx.wait_for_event::<u32>("paid").key("order-2").await?)) },
    );
    assert!(
        message.contains("  recorded: event paid with key \"order-1\" (the code waits for key \"order-2\")\n"),
        "{message}"
    );
}

#[test]
fn code_that_ends_early() {
    let message = changed(buys, |ctx| async move {
        step(&ctx, "reserve").await?;
        Ok(json!(null))
    });
    assert!(message.contains("  asked:    the end of the workflow\n"), "{message}");
    assert!(
        message
            .contains("the code ends before it comes to step charge: that was removed, or another branch is taken now"),
        "{message}"
    );
    let message = changed(buys, |ctx| async move {
        step(&ctx, "reserve").await?;
        Err(Failure::new("no stock"))
    });
    assert!(message.contains("  asked:    the end of the workflow, which failed with: no stock\n"), "{message}");
}

#[test]
fn the_ways_out_of_changed_code() {
    let mut run = Run::new(buys);
    run.go();
    run.workflow = Arc::new(Closure(|_: Ctx| async move { Ok(json!(null)) }));
    run.hang_up();
    let (_, message) = parked(&mut run);
    assert_eq!(
        message.split_once("  ways out:").expect("has some").1,
        "
    the code was changed: roll it back; or give the changed workflow a new version (#[workflow(version = 2)]) and keep \
the old one registered
    it wasn't: then it decides by something that isn't journaled (time, randomness, the environment, the order of a \
HashMap); move that into a step, or use ctx.now() and ctx.random()
  The run is parked and its journal untouched. The next executor that starts tries it again, or `client.resume(run)`."
    );
}

#[test]
fn a_difference_right_after_the_commit() {
    let calls = Arc::new(AtomicU32::new(0));
    let code = Closure(move |ctx: Ctx| {
        let name = if calls.fetch_add(1, Ordering::SeqCst) == 0 { "heads" } else { "tails" };
        async move {
            step(&ctx, name).await?;
            sleep(&ctx).await
        }
    });
    let (code, message) = parked(&mut Run::with(Arc::new(code), Vec::new(), true));
    assert_eq!(code, "DIVERGED");
    assert_eq!(
        message,
        "\
workflow test (test.rs:1), replayed right after its commit, didn't do the same again: it decides by something that \
isn't journaled (time, randomness, the environment, the order of a HashMap)
  recorded: step heads
  asked:    step tails (messages.rs:_, not recorded)
  so:       step heads was removed, renamed or moved behind step tails; or step tails is new before it
  journal:
  >     0 ok      step heads
  the code's last operations:
                step tails (messages.rs:_)
  ways out:
    move what isn't journaled into a step, or use ctx.now() and ctx.random()
    if branches of a `tokio::select!` or `tokio::join!` run steps of the same name: give them names of their own, or \
contexts of their own with ctx.scope(..)
    if several branches can be ready at once, or race for a lock: write `biased;`, or use futures::join!
  The run is parked and its journal untouched. The next executor that starts tries it again, or `client.resume(run)`."
    );
}

#[test]
fn a_foreign_await() {
    let mut run = Run::new(|ctx| async move {
        step(&ctx, "load").await?;
        std::future::pending::<()>().await;
        Ok(json!(null))
    });
    let (code, message) = parked(&mut run);
    assert_eq!(code, "FOREIGN_AWAIT");
    assert_eq!(
        message,
        "\
workflow test (test.rs:1) awaits a future that is not journaled: wrap it in ctx.step(..)
  it waits, but none of its operations is pending; its last operation was step load (messages.rs:_)
  ways out: timers are ctx.sleep(..), timeouts are .timeout(..) on the operation, spawned work is join! or \
ctx.invoke(..), everything else goes into a step; then deploy, and the run goes on"
    );
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the mistake that is told")]
fn a_tokio_timer() {
    let mut run = Run::new(|_| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(json!(null))
    });
    let (code, message) = parked(&mut run);
    assert_eq!(code, "FOREIGN_AWAIT");
    assert!(
        message.contains("\n  at messages.rs:_: there is no reactor running, must be called from the context of a Tokio 1.x runtime\n"),
        "{message}"
    );
}

#[test]
fn a_value_of_another_type() {
    let mut run = Run::new(|ctx| async move {
        ctx.step("price", async || Ok("12 EUR".to_owned())).await?;
        sleep(&ctx).await
    });
    run.go();
    run.workflow = Arc::new(Closure(|ctx: Ctx| async move {
        ctx.step("price", async || Ok(12u32)).await?;
        sleep(&ctx).await
    }));
    run.hang_up();
    let (code, message) = parked(&mut run);
    assert_eq!(code, "PAYLOAD");
    assert_eq!(
        message,
        "\
the recorded outcome of step price (messages.rs:_): the payload can't be read as u32: invalid type: string \"12 EUR\", expected \
u32 at line 1 column 8 (at .)
  ways out: deploy a type that can read the recorded value (a field with #[serde(default)], say), or give the changed \
workflow a new version; then resume the run"
    );
}

#[test]
fn a_damaged_journal() {
    let mut run = Run::new(buys);
    run.go();
    let mut journal = run.journal.clone();
    journal.remove(2);
    let Err(reason) = Run::load(run.workflow.clone(), journal, MachineOptions::default()) else { panic!("taken") };
    assert_eq!(reason.code, "CORRUPT");
    assert_eq!(
        reason.message,
        "\
the journal of the run is damaged: entry 2 is missing: the next one has position 3
  the engine never writes such a journal: somebody edited it, or a restore is incomplete
  ways out: restore the entries and resume the run; or cancel it and invoke it again"
    );
}

#[test]
fn a_journal_of_a_newer_version() {
    let mut run = Run::new(buys);
    run.go();
    let mut journal = run.journal.clone();
    journal[1].version = 2;
    let Err(reason) = Run::load(run.workflow.clone(), journal, MachineOptions::default()) else { panic!("taken") };
    assert_eq!(reason.code, "PAYLOAD");
    assert_eq!(
        reason.message,
        "\
the journal of the run was written by a newer version of this library: entry 1 has the format 2, this build knows \
formats up to 1
  way out: deploy the newer version everywhere; the run goes on with the next executor of it that starts, or after \
`client.resume(run)`"
    );
}

#[test]
fn a_full_journal() {
    let options = MachineOptions { max_entries: 2, ..MachineOptions::default() };
    let (code, message) = parked(&mut Run::with_options(Arc::new(Closure(buys)), Vec::new(), options));
    assert_eq!(code, "JOURNAL_FULL");
    assert_eq!(
        message,
        "\
the journal of the run would have 3 entries and 12 bytes, the limits are 2 and 67108864: hand parts of the work to \
children (ctx.invoke), or raise the executor's `max_journal(..)`, then resume"
    );
}
