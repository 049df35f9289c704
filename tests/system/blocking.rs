//! Code that doesn't give its thread back: it is told once, and only its own thread stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use workflow::prelude::*;

use crate::support::{log, on_every_store, soon, until};

#[derive(Clone, Default)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    fn block(&self) {
        while !self.0.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[workflow]
async fn blocks(ctx: Ctx) -> Result<()> {
    let gate = ctx.state::<Gate>();
    ctx.step("before", async || Ok(())).await?;
    gate.block();
    ctx.step("after", async || Ok(())).await
}

#[workflow]
async fn blocks_in_a_step(ctx: Ctx) -> Result<()> {
    let gate = ctx.state::<Gate>();
    ctx.step("block", async || {
        gate.block();
        Ok(())
    })
    .await
}

#[workflow]
async fn healthy(ctx: Ctx, n: u64) -> Result<u64> {
    ctx.step("add", async || Ok(n + 1)).await
}

async fn is_told_once(gate: Gate, executor: &Executor, run: RunHandle<()>, name: &str) {
    let id = run.id().to_string();
    let told = || log::lines_with(&["WARN", "blocks its thread", &id]);
    until("it is told", || !told().is_empty()).await;
    for words in ["BLOCKED", name, "blocking.rs:", "spawn_blocking"] {
        assert!(told()[0].contains(words), "{words:?} is missing in: {}", told()[0]);
    }
    // Of so many, some belong to the other thread.
    let others = executor.client().invoke_many(healthy, 0..20).await.expect("invokes");
    let first = futures::future::select_all(others.iter().map(|run| Box::pin(run.result())));
    soon("another run", first).await.0.expect("completes");
    assert!(!run.status().await.expect("exists").status().is_terminal());
    gate.open();
    soon("result", run.result()).await.expect("completes");
    for run in &others {
        soon("result", run.result()).await.expect("completes");
    }
    assert_eq!(told().len(), 1, "{:?}", told());
    assert_eq!(log::lines_with(&["WARN", "came back", &id]).len(), 1);
}

on_every_store! {
    async fn a_workflow_is_told_once_and_others_go_on(stage: Stage) {
        log::collect();
        let gate = Gate::default();
        let builder = stage.executor().state(gate.clone()).max_poll(Some(Duration::from_millis(100))).verify(false);
        let executor = builder.register(blocks).register(healthy).start().await.expect("starts");
        let run = executor.client().invoke(blocks, ()).await.expect("invokes");
        is_told_once(gate, &executor, run, "workflow blocks ").await;
    }

    async fn a_step_is_told_once_and_others_go_on(stage: Stage) {
        log::collect();
        let gate = Gate::default();
        let builder = stage.executor().state(gate.clone()).max_poll(Some(Duration::from_millis(100))).verify(false);
        let executor = builder.register(blocks_in_a_step).register(healthy).start().await.expect("starts");
        let run = executor.client().invoke(blocks_in_a_step, ()).await.expect("invokes");
        is_told_once(gate, &executor, run, "workflow blocks_in_a_step ").await;
    }
}
