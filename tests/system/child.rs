//! Children: none lost, none twice, none orphaned.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use workflow::prelude::*;
use workflow::{RunId, Status};

use crate::support::{BRIEF, Probe, on_every_store, soon};

#[workflow]
async fn add_one(ctx: Ctx, n: u64) -> Result<u64> {
    ctx.step("add", async || Ok(n + 1)).await
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Declined {
    reason: String,
    cents: i64,
}

#[workflow]
async fn decline(_ctx: Ctx, cents: i64) -> Result<()> {
    Err(Failure::fatal("declined").with_details(&Declined { reason: "limit".into(), cents }))
}

#[workflow]
async fn catches(ctx: Ctx) -> Result<Declined> {
    let failure = ctx.invoke(decline, 300).await.expect_err("is declined");
    assert_eq!((failure.code(), failure.message()), ("FAILED", "declined"));
    Ok(failure.details().expect("are typed"))
}

#[workflow]
async fn sums(ctx: Ctx, count: u64) -> Result<u64> {
    let children: Vec<_> = (0..count).map(|n| ctx.invoke(add_one, n)).collect();
    Ok(futures::future::try_join_all(children).await?.into_iter().sum())
}

#[workflow]
async fn sleeper(ctx: Ctx) -> Result<()> {
    let probe = ctx.state::<Probe>();
    ctx.step("up", async || {
        probe.note("sleeper");
        Ok(())
    })
    .await?;
    ctx.sleep(Duration::from_secs(3600)).await
}

#[workflow]
async fn parent_of_sleeper(ctx: Ctx) -> Result<()> {
    ctx.invoke(sleeper, ()).await
}

#[workflow]
async fn grandparent(ctx: Ctx) -> Result<()> {
    ctx.invoke(parent_of_sleeper, ()).await
}

#[workflow]
async fn leaves_one_behind(ctx: Ctx) -> Result<RunId> {
    let probe = ctx.state::<Probe>();
    let child = ctx.start(sleeper, ());
    let id = child.id().await?;
    ctx.step("wait", async || {
        probe.noted("sleeper", 1).await;
        Ok(())
    })
    .await?;
    Ok(id)
}

#[workflow]
async fn leaves_a_detached_one(ctx: Ctx) -> Result<RunId> {
    ctx.invoke(add_one, 41).detached().await
}

#[workflow]
async fn recursion(ctx: Ctx, depth: u32) -> Result<String> {
    match Box::pin(async { ctx.invoke(recursion, depth + 1).await }).await {
        Err(failure) if failure.code() == "MISUSE" => Ok(format!("at {depth}: {failure}")),
        other => other,
    }
}

#[workflow]
async fn fan_out(ctx: Ctx, count: u64) -> Result<String> {
    let children: Vec<_> = (0..count).map(|n| ctx.invoke(add_one, n)).collect();
    let results = futures::future::join_all(children).await;
    let refused = results.iter().filter_map(|r| r.as_ref().err()).map(|f| format!("{}: {f}", f.code()));
    Ok(refused.collect::<Vec<_>>().join("\n"))
}

#[workflow]
async fn delays(ctx: Ctx) -> Result<u64> {
    ctx.invoke(add_one, 1).delay(Duration::from_millis(400)).await
}

#[workflow]
async fn other_queue(ctx: Ctx) -> Result<u64> {
    ctx.invoke(add_one, 1).queue("side").await
}

#[workflow]
async fn bad_child(ctx: Ctx, which: u32) -> Result<String> {
    let result = match which {
        0 => ctx.invoke(add_one, 1).queue("no such/queue name!").await,
        1 => ctx.invoke(add_one, 1).delay(Duration::MAX).await,
        _ => ctx.invoke(measure, f64::NAN).await.map(|_| 0),
    };
    let failure = result.expect_err("is refused");
    Ok(format!("{}: {failure}", failure.code()))
}

#[workflow]
async fn measure(_ctx: Ctx, x: f64) -> Result<f64> {
    Ok(x / 0.0)
}

/// Waits for a child in its own queue that has room for one.
#[workflow]
async fn nested_in_one_place(ctx: Ctx) -> Result<u64> {
    Ok(ctx.invoke(add_one, 1).await? + ctx.invoke(add_one, 2).await?)
}

on_every_store! {
    async fn a_childs_failure_is_caught_with_its_details(stage: Stage) {
        let executor = stage.executor().register(catches).register(decline).start().await.expect("starts");
        let run = executor.client().invoke(catches, ()).await.expect("invokes");
        let details = soon("result", run.result()).await.expect("completes");
        assert_eq!(details, Declined { reason: "limit".into(), cents: 300 });
    }

    async fn a_hundred_are_joined(stage: Stage) {
        let executor = stage.executor().register(sums).register(add_one).start().await.expect("starts");
        let run = executor.client().invoke(sums, 100).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 5_050);
        let children = executor.client().list().parent(run.id()).limit(500).await.expect("lists");
        assert_eq!(children.len(), 100);
    }

    async fn a_hung_up_parent_is_woken_by_children_elsewhere(stage: Stage) {
        let parents = stage.executor().linger(Duration::ZERO).register(sums).start().await.expect("starts");
        let children = stage.executor_on(stage.another().await).linger(Duration::ZERO).register(add_one).start().await.expect("starts");
        let runs = parents.client().invoke_many(sums, [20, 20, 20]).await.expect("invokes");
        for run in runs {
            assert_eq!(soon("result", run.result()).await.expect("completes"), 210);
        }
        drop(children);
    }

    async fn children_and_parent_survive_a_crash(stage: Stage) {
        let first = stage.executor().lease(BRIEF.0, BRIEF.1).register(sums).register(add_one).start().await.expect("starts");
        let run = first.client().invoke(sums, 60).await.expect("invokes");
        crate::support::eventually("children", async || {
            let children = stage.client().list().parent(run.id()).await.expect("lists").len();
            if children > 0 { Ok(()) } else { Err(format!("{children} children")) }
        }).await;
        drop(first);
        let _second = stage.executor().lease(BRIEF.0, BRIEF.1).register(sums).register(add_one).start().await.expect("starts");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 1_830);
        assert_eq!(stage.client().list().parent(run.id()).await.expect("lists").len(), 60);
    }

    async fn a_cancel_reaches_grandchildren(stage: Stage) {
        let executor = stage.executor().register(sleeper).register(parent_of_sleeper).register(grandparent).start().await.expect("starts");
        let run = executor.client().invoke(grandparent, ()).await.expect("invokes");
        stage.probe.noted("sleeper", 1).await;
        run.cancel("no longer wanted").await.expect("cancels");
        stage.status(&run, Status::Cancelled).await;
        let parent = &executor.client().list().parent(run.id()).await.expect("lists")[0];
        let child = &executor.client().list().parent(parent.id()).await.expect("lists")[0];
        for id in [parent.id(), child.id()] {
            let ended = stage.status(&executor.client().handle::<()>(id), Status::Cancelled).await;
            assert_eq!(ended.failure().expect("has a reason").message(), "no longer wanted");
        }
    }

    async fn the_end_of_a_parent_cancels_open_children(stage: Stage) {
        let executor = stage.executor().register(leaves_one_behind).register(sleeper).start().await.expect("starts");
        let run = executor.client().invoke(leaves_one_behind, ()).await.expect("invokes");
        let child = soon("result", run.result()).await.expect("completes");
        let ended = stage.status(&executor.client().handle::<()>(child), Status::Cancelled).await;
        assert!(ended.failure().expect("has a reason").message().contains("parent"), "{ended:?}");
        assert_eq!(ended.parent(), Some(run.id()));
    }

    async fn a_detached_one_survives_its_parent(stage: Stage) {
        let executor = stage.executor().register(leaves_a_detached_one).register(add_one).start().await.expect("starts");
        let run = executor.client().invoke(leaves_a_detached_one, ()).await.expect("invokes");
        let child = soon("result", run.result()).await.expect("completes");
        let child = executor.client().handle::<u64>(child);
        assert_eq!(soon("result", child.result()).await.expect("completes"), 42);
        assert_eq!(child.status().await.expect("exists").parent(), None);
    }

    async fn recursion_ends_at_the_limit(stage: Stage) {
        let executor = stage.executor().max_depth(6).register(recursion).start().await.expect("starts");
        let run = executor.client().invoke(recursion, 0).await.expect("invokes");
        let told = soon("result", run.result()).await.expect("completes");
        assert!(told.contains("at 6: ") && told.contains("the limit is 6") && told.contains("`max_depth`"), "{told}");
    }

    async fn more_children_than_allowed_are_refused_and_the_others_run(stage: Stage) {
        let executor = stage.executor().max_children(5).register(fan_out).register(add_one).start().await.expect("starts");
        let run = executor.client().invoke(fan_out, 7).await.expect("invokes");
        let told = soon("result", run.result()).await.expect("completes");
        assert_eq!(told.lines().count(), 2, "{told}");
        assert!(told.contains("MISUSE: ") && told.contains("the limit is 5") && told.contains("`max_children`"), "{told}");
        assert_eq!(executor.client().list().parent(run.id()).await.expect("lists").len(), 5);
    }

    async fn a_delayed_child_is_not_early(stage: Stage) {
        let executor = stage.executor().register(delays).register(add_one).start().await.expect("starts");
        let run = executor.client().invoke(delays, ()).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 2);
        let child = &executor.client().list().parent(run.id()).await.expect("lists")[0];
        let began = stage.journal(child.id()).await[0].recorded_at;
        assert!((began - child.created_at()).num_milliseconds() >= 400);
    }

    async fn a_child_waits_in_the_queue_it_was_put_in(stage: Stage) {
        let parents = stage.executor().register(other_queue).register(add_one).start().await.expect("starts");
        let run = parents.client().invoke(other_queue, ()).await.expect("invokes");
        let child = crate::support::eventually("child", async || {
            parents.client().list().parent(run.id()).await.expect("lists").pop().ok_or_else(|| "none".to_owned())
        }).await;
        assert_eq!((child.queue(), child.status()), ("side", Status::Ready));
        let _side = stage.executor().queue(Queue::new("side")).register(add_one).start().await.expect("starts");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 2);
    }

    async fn what_is_asked_of_a_child_is_checked(stage: Stage) {
        let executor = stage.executor().register(bad_child).register(measure).register(add_one).start().await.expect("starts");
        for (which, words) in ["no such/queue name!", "a delay of", "NaN"].iter().enumerate() {
            let run = executor.client().invoke(bad_child, which as u32).await.expect("invokes");
            let told = soon("result", run.result()).await.expect("completes");
            assert!(told.starts_with("MISUSE: ") && told.contains(words), "{told}");
            assert_eq!(stage.lines(run.id()).await, Vec::<String>::new());
        }
    }

    async fn a_parent_does_not_keep_its_children_out_of_their_queue(stage: Stage) {
        let executor = stage.executor().queue(Queue::new("default").concurrency(1))
            .register(nested_in_one_place).register(add_one).start().await.expect("starts");
        let runs = executor.client().invoke_many(nested_in_one_place, std::iter::repeat_n((), 5)).await.expect("invokes");
        for run in runs {
            assert_eq!(soon("result", run.result()).await.expect("completes"), 5);
        }
    }
}
