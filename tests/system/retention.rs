//! Retention: what has ended goes when its time is over, children with their parents.

use std::time::Duration;

use workflow::prelude::*;

use crate::support::{eventually, on_every_store, soon};

#[workflow]
async fn leaf(_ctx: Ctx, n: u64) -> Result<u64> {
    Ok(n)
}

#[workflow]
async fn family(ctx: Ctx) -> Result<u64> {
    Ok(ctx.invoke(leaf, 1).await? + ctx.invoke(leaf, 2).await?)
}

#[workflow]
async fn listens(ctx: Ctx) -> Result<u64> {
    match ctx.wait_for_event::<u64>("brief").timeout(Duration::ZERO).await {
        Err(failure) if failure.is_timeout() => Ok(0),
        other => other,
    }
}

on_every_store! {
    async fn an_ended_run_goes_after_its_time_with_its_children(stage: Stage) {
        let executor = stage.executor().register(family).register(leaf).start().await.expect("starts");
        let client = executor.client();
        let kept = client.invoke(family, ()).await.expect("invokes");
        soon("result", kept.result()).await.expect("completes");
        let brief = client.invoke(family, ()).id("reusable").retain(Duration::from_millis(1)).await.expect("invokes");
        soon("result", brief.result()).await.expect("completes");
        let children = client.list().parent(brief.id()).await.expect("lists");
        assert_eq!(children.len(), 2);
        eventually("swept", async || {
            stage.store.sweep(100).await.expect("sweeps");
            let mut left = usize::from(stage.exists(brief.id()).await);
            for child in &children {
                left += usize::from(stage.exists(child.id()).await);
            }
            if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
        }).await;
        assert!(stage.exists(kept.id()).await);
        assert!(stage.journal(brief.id()).await.is_empty());
        let other = client.handle::<u32>(brief.id());
        assert_eq!(other.result().await.expect_err("is gone").code(), "NO_SUCH_RUN");
        assert_eq!(brief.result().await.expect("was told here"), 3);
        // Its id is free for another.
        let again = client.invoke(leaf, 9).id("reusable").await.expect("invokes");
        assert_eq!(soon("result", again.result()).await.expect("completes"), 9);
    }

    async fn a_child_stays_as_long_as_its_parent(stage: Stage) {
        let executor = stage.executor().sweep_interval(Some(Duration::from_millis(10))).retain(Duration::ZERO)
            .register(family).register(leaf).start().await.expect("starts");
        let run = executor.client().invoke(family, ()).retain(Duration::from_secs(3600)).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 3);
        let swept = executor.client().invoke(leaf, 1).retain(Duration::ZERO).await.expect("invokes");
        eventually("a later run is swept", async || if stage.exists(swept.id()).await { Err("there".into()) } else { Ok(()) }).await;
        assert_eq!(executor.client().list().parent(run.id()).await.expect("lists").len(), 2);
    }

    async fn an_event_is_no_longer_given_after_its_time(stage: Stage) {
        let executor = stage.executor().retain(Duration::from_millis(1)).register(listens).start().await.expect("starts");
        executor.client().emit("brief", &5).await.expect("emits");
        eventually("forgotten", async || {
            let run = executor.client().invoke(listens, ()).retain(Duration::from_secs(60)).await.expect("invokes");
            match soon("result", run.result()).await.expect("completes") {
                0 => Ok(()),
                got => Err(format!("got {got}")),
            }
        }).await;
    }
}
