//! Cancelling: reaches a run wherever it is, lets it put things in order, and happens once.

use std::time::Duration;

use workflow::prelude::*;
use workflow::{Error, RunId, Status};

use crate::support::{Probe, on_every_store, soon};

#[workflow]
async fn busy(ctx: Ctx) -> Result<()> {
    let probe = ctx.state::<Probe>();
    ctx.step("busy", async || {
        let _inside = probe.enter("body");
        probe.note("busy");
        probe.pass("never").await;
        Ok(())
    })
    .await
}

#[workflow]
async fn sleepy(ctx: Ctx) -> Result<()> {
    ctx.sleep(Duration::from_secs(3600)).await
}

#[workflow]
async fn waiting(ctx: Ctx) -> Result<u64> {
    ctx.wait_for_event::<u64>("never").await
}

#[workflow]
async fn tidy(ctx: Ctx) -> Result<String> {
    let probe = ctx.state::<Probe>();
    let slept = ctx.sleep(Duration::from_secs(3600)).await;
    let failure = slept.expect_err("is cancelled");
    // What isn't shielded is answered with the cancellation; the cleanup runs, waits and is recorded.
    assert!(
        ctx.step("late", async || {
            probe.note("late");
            Ok(())
        })
        .await
        .expect_err("is cancelled")
        .is_cancelled()
    );
    let shield = ctx.shield();
    shield
        .step("release", async || {
            probe.note("release");
            Ok(())
        })
        .await?;
    shield.sleep(Duration::from_millis(20)).await?;
    shield
        .step("tell", async || {
            probe.note("tell");
            Ok(())
        })
        .await?;
    assert!(ctx.is_cancelled());
    Err(failure)
}

#[workflow]
async fn stubborn(ctx: Ctx) -> Result<String> {
    let slept = ctx.sleep(Duration::from_secs(3600)).await;
    Ok(format!("went on after: {}", slept.expect_err("is cancelled")))
}

#[workflow]
async fn forever(ctx: Ctx) -> Result<()> {
    loop {
        let _ = ctx.sleep(Duration::from_secs(1)).await;
    }
}

#[workflow]
async fn quick(_ctx: Ctx) -> Result<u64> {
    Ok(1)
}

#[workflow]
async fn endless_retry(ctx: Ctx) -> Result<()> {
    let policy = RetryPolicy::fixed(Duration::from_secs(3600)).forever();
    let probe = ctx.state::<Probe>();
    ctx.step("hopeless", async || {
        probe.note("hopeless");
        Err(Failure::new("no"))
    })
    .retry(policy)
    .await
}

on_every_store! {
    async fn a_running_body_is_dropped(stage: Stage) {
        let executor = stage.executor().register(busy).start().await.expect("starts");
        let run = executor.client().invoke(busy, ()).await.expect("invokes");
        stage.probe.noted("busy", 1).await;
        run.cancel("stop it").await.expect("cancels");
        let error = soon("result", run.result()).await.expect_err("is cancelled");
        assert_eq!(error.code(), "CANCELLED");
        assert!(error.to_string().contains("stop it"), "{error}");
        crate::support::until("the body is gone", || stage.probe.inside("body") == 0).await;
        assert_eq!(stage.lines(run.id()).await, ["ok cancel"]);
    }

    async fn a_hung_up_sleeper_ends_at_once(stage: Stage) {
        let executor = stage.executor().register(sleepy).start().await.expect("starts");
        let run = executor.client().invoke(sleepy, ()).await.expect("invokes");
        stage.status(&run, Status::Waiting).await;
        // From another process that runs nothing.
        workflow::Client::new(stage.another().await).cancel(run.id(), "woken").await.expect("cancels");
        let ended = stage.status(&run, Status::Cancelled).await;
        assert_eq!(ended.failure().expect("has a reason").message(), "woken");
    }

    async fn a_waiter_ends_and_its_subscription_with_it(stage: Stage) {
        let executor = stage.executor().register(waiting).start().await.expect("starts");
        let run = executor.client().invoke(waiting, ()).await.expect("invokes");
        crate::support::until("it waits", || executor.resident() == 1).await;
        run.cancel("enough").await.expect("cancels");
        stage.status(&run, Status::Cancelled).await;
        executor.client().emit("never", &1).await.expect("emits");
        let again = executor.client().invoke(waiting, ()).await.expect("invokes");
        assert_eq!(soon("result", again.result()).await.expect("completes"), 1);
    }

    async fn a_backoff_is_cut_short(stage: Stage) {
        let executor = stage.executor().register(endless_retry).start().await.expect("starts");
        let run = executor.client().invoke(endless_retry, ()).await.expect("invokes");
        stage.status(&run, Status::Waiting).await;
        run.cancel("hopeless").await.expect("cancels");
        stage.status(&run, Status::Cancelled).await;
        assert_eq!(stage.probe.count("hopeless"), 1);
    }

    async fn cleanup_in_a_shield_runs_and_is_recorded(stage: Stage) {
        let executor = stage.executor().register(tidy).start().await.expect("starts");
        let run = executor.client().invoke(tidy, ()).await.expect("invokes");
        stage.status(&run, Status::Waiting).await;
        run.cancel("tidy up").await.expect("cancels");
        stage.status(&run, Status::Cancelled).await;
        assert_eq!(stage.probe.notes(), ["release", "tell"]);
        assert_eq!(stage.lines(run.id()).await,
            ["asked sleep", "ok cancel", "ok step release", "asked sleep #2", "ok sleep #2", "ok step tell"]);
    }

    async fn a_workflow_that_catches_it_may_complete(stage: Stage) {
        let executor = stage.executor().register(stubborn).start().await.expect("starts");
        let run = executor.client().invoke(stubborn, ()).await.expect("invokes");
        stage.status(&run, Status::Waiting).await;
        run.cancel("please").await.expect("cancels");
        assert_eq!(soon("result", run.result()).await.expect("completes"), "went on after: please");
    }

    async fn a_loop_that_ignores_it_is_ended(stage: Stage) {
        let executor = stage.executor().register(forever).start().await.expect("starts");
        let run = executor.client().invoke(forever, ()).await.expect("invokes");
        crate::support::until("it sleeps", || executor.resident() == 1).await;
        run.cancel("really").await.expect("cancels");
        let ended = stage.status(&run, Status::Cancelled).await;
        assert_eq!(ended.failure().expect("has a reason").message(), "really");
    }

    async fn before_it_began_nothing_of_it_runs(stage: Stage) {
        let client = stage.client();
        let run = client.invoke(busy, ()).await.expect("invokes");
        let delayed = client.invoke(busy, ()).delay(Duration::from_secs(3600)).await.expect("invokes");
        run.cancel("too late").await.expect("cancels");
        delayed.cancel("too late").await.expect("cancels");
        let _executor = stage.executor().register(busy).start().await.expect("starts");
        stage.status(&run, Status::Cancelled).await;
        stage.status(&delayed, Status::Cancelled).await;
        assert_eq!(stage.probe.count("busy"), 0);
    }

    async fn twice_is_once_and_the_first_reason_stays(stage: Stage) {
        let executor = stage.executor().register(tidy).start().await.expect("starts");
        let client = executor.client();
        let run = client.invoke(tidy, ()).await.expect("invokes");
        stage.status(&run, Status::Waiting).await;
        let (one, two) = futures::join!(run.cancel("first"), run.cancel("first"));
        one.expect("cancels");
        // The second may come when all is over.
        if let Err(error) = two {
            assert_eq!(error.code(), "ENDED");
        }
        let ended = stage.status(&run, Status::Cancelled).await;
        assert_eq!(ended.failure().expect("has a reason").message(), "first");
        assert_eq!(stage.probe.notes(), ["release", "tell"]);
    }

    async fn a_finished_or_unknown_run_is_told_apart(stage: Stage) {
        let executor = stage.executor().register(quick).start().await.expect("starts");
        let run = executor.client().invoke(quick, ()).await.expect("invokes");
        soon("result", run.result()).await.expect("completes");
        let before = stage.picture().await;
        let error = run.cancel("late").await.expect_err("is over");
        assert!(matches!(error, Error::Ended { status: Status::Completed, .. }), "{error}");
        assert_eq!(error.to_string(), format!("run {} has ended already as completed", run.id()));
        let nobody = RunId::generate();
        let error = executor.client().cancel(nobody, "who").await.expect_err("is unknown");
        assert_eq!(error.code(), "NO_SUCH_RUN");
        assert!(error.to_string().contains(&nobody.to_string()), "{error}");
        assert_eq!(stage.picture().await, before);
    }

    async fn a_reason_may_be_odd_but_not_huge(stage: Stage) {
        let executor = stage.executor().register(sleepy).start().await.expect("starts");
        let run = executor.client().invoke(sleepy, ()).await.expect("invokes");
        let error = run.cancel(&"x".repeat(3 << 20)).await.expect_err("is too large");
        assert_eq!(error.code(), "PAYLOAD_TOO_LARGE");
        let odd = "null \0, quote ', newline \n, \u{1F980}";
        run.cancel(odd).await.expect("cancels");
        let ended = stage.status(&run, Status::Cancelled).await;
        assert_eq!(ended.failure().expect("has a reason").message(), odd);
    }
}
