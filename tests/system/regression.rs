//! What other engines got wrong once, by their own trackers. The rest of that list is in `docs/guarantees.md`, with the
//! tests of each subject.

use std::time::Duration;

use workflow::Status;
use workflow::prelude::*;

use crate::support::{BRIEF, Probe, on_every_store, soon, until};

#[workflow(queue = "narrow")]
async fn held(ctx: Ctx, gate: String) -> Result<()> {
    let probe = ctx.state::<Probe>();
    ctx.step("hold", async || {
        let _inside = probe.enter("narrow");
        probe.note("inside");
        probe.pass(&gate).await;
        Ok(())
    })
    .await
}

#[workflow(queue = "narrow")]
async fn puts_off(ctx: Ctx) -> Result<()> {
    let century = Duration::from_secs(99 * 365 * 24 * 3_600);
    let failing = ctx.step("put-off", async || -> Result<()> { Err(Failure::new("later").retry_after(century)) });
    failing.retry(RetryPolicy::default().attempts(1_000)).await
}

#[derive(Debug, thiserror::Error)]
#[error("the card was refused: {0}")]
struct Refused(&'static str);

/// What a failure tells the code, in words.
fn told(failure: &Failure) -> String {
    let details: Option<u32> = failure.details();
    format!("{:?} {} {failure} {details:?} {}", failure.kind(), failure.code(), failure.is_timeout())
}

#[workflow]
async fn catches(ctx: Ctx) -> Result<bool> {
    let mut seen = Vec::new();
    let once = RetryPolicy::fixed(Duration::from_millis(1)).attempts(2);
    let own = ctx.step("own", async || -> Result<()> { Err(Refused("expired"))? }).retry(once.clone()).await;
    seen.push(told(&own.expect_err("fails")));
    let fatal = ctx.step("fatal", async || -> Result<()> { Err(Failure::fatal("no").with_details(&7_u32)) }).await;
    seen.push(told(&fatal.expect_err("fails")));
    let panicked = ctx.step("panic", async || -> Result<()> { panic!("oh no") }).retry(once).await;
    seen.push(told(&panicked.expect_err("fails")));
    let late = ctx.step("late", async || std::future::pending::<Result<()>>().await).timeout(Duration::from_millis(5));
    seen.push(told(&late.retry(RetryPolicy::none()).await.expect_err("fails")));
    let missed = ctx.wait_for_event::<u32>("never").timeout(Duration::from_millis(1)).await;
    seen.push(told(&missed.expect_err("times out")));
    let child = ctx.invoke(fails, ()).await;
    seen.push(told(&child.expect_err("fails")));
    let live = ctx.step("live", async || Ok(seen.clone())).await?;
    ctx.state::<Probe>().note("seen");
    ctx.wait_for_event::<()>("again").await?;
    Ok(live == seen)
}

#[workflow]
async fn fails(_ctx: Ctx) -> Result<()> {
    Err(Failure::fatal("the child failed").with_details(&8_u32))
}

on_every_store! {
    async fn a_place_of_a_dead_executor_is_free_again(stage: Stage) {
        let narrow = || Queue::new("narrow").concurrency(1);
        let first = stage.executor().queue(narrow()).register(held).lease(BRIEF.0, BRIEF.1).start().await.expect("starts");
        let run = first.client().invoke(held, "gate".to_owned()).await.expect("invokes");
        let waiting = first.client().invoke(held, String::from("gate")).await.expect("invokes");
        stage.probe.noted("inside", 1).await;
        drop(first);
        // A body ends at its next wait; until then its place is taken.
        until("the dead one's body is gone", || stage.probe.inside("narrow") == 0).await;
        stage.probe.open("gate", 5);
        let _second = stage.executor().queue(narrow()).register(held).start().await.expect("starts");
        soon("result", run.result()).await.expect("completes");
        soon("result", waiting.result()).await.expect("completes");
        assert_eq!(stage.probe.most("narrow"), 1);
    }

    async fn an_absurd_retry_delay_holds_up_nobody_else(stage: Stage) {
        let narrow = Queue::new("narrow").concurrency(1);
        let executor = stage.executor().queue(narrow).register(held).register(puts_off).start().await.expect("starts");
        stage.probe.open("gate", 50);
        let absurd = executor.client().invoke(puts_off, ()).await.expect("invokes");
        stage.status(&absurd, Status::Waiting).await;
        for _ in 0..5 {
            let run = executor.client().invoke(held, "gate".to_owned()).await.expect("invokes");
            soon("result", run.result()).await.expect("completes");
        }
        stage.status(&absurd, Status::Waiting).await;
        absurd.cancel("enough").await.expect("cancels");
        stage.status(&absurd, Status::Cancelled).await;
    }

    async fn a_failure_is_the_same_after_a_replay(stage: Stage) {
        let start = async || stage.executor().register(catches).register(fails).start().await.expect("starts");
        let first = start().await;
        let run = first.client().invoke(catches, ()).await.expect("invokes");
        stage.probe.noted("seen", 1).await;
        first.shutdown().await.expect("shuts down");
        let second = start().await;
        second.client().emit("again", &()).await.expect("emits");
        assert!(soon("result", run.result()).await.expect("completes"), "{:?}", stage.journal(run.id()).await);
        assert!(stage.probe.count("seen") >= 2, "it was replayed");
    }
}
