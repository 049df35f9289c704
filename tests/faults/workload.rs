//! A bit of everything: steps, sleeps, events, children, cancels; on two executors that share a store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use workflow::prelude::*;
use workflow::store::{ListFilter, Status};
use workflow::{Error, MemoryStore, Store, StoreError};
use workflow_core::journal::Phase;

/// What the steps' bodies did, told by themselves.
#[derive(Debug, Clone)]
pub struct Bodies {
    store: MemoryStore,
    began: Arc<Mutex<BTreeMap<(RunId, String), u32>>>,
    late: Arc<Mutex<Vec<String>>>,
}

impl Bodies {
    pub fn new(store: &MemoryStore) -> Self {
        Self { store: store.clone(), began: Arc::default(), late: Arc::default() }
    }

    /// A body begins: it never may when its outcome is recorded.
    async fn begin(&self, run: RunId, step: &str) {
        let recorded = self.store.journal(run, 0, 10_000).await.expect("the memory store answers");
        if recorded.iter().any(|entry| entry.fact.key.kind == "step" && entry.fact.key.name == step) {
            self.late.lock().expect("no panic holds it").push(format!("{step} of {run}"));
        }
        *self.began.lock().expect("no panic holds it").entry((run, step.to_owned())).or_default() += 1;
    }

    /// The most that one body began.
    fn most(&self) -> u32 {
        self.began.lock().expect("no panic holds it").values().copied().max().unwrap_or(0)
    }
}

async fn add(ctx: &Ctx, name: &str, a: u64, b: u64) -> Result<u64> {
    ctx.step_with(name, async |step| {
        step.state::<Bodies>().begin(step.run_id(), step.step_name()).await;
        Ok(a + b)
    })
    .await
}

#[workflow]
pub async fn steps(ctx: Ctx, from: u64) -> Result<u64> {
    let mut sum = from;
    for n in 0..4 {
        sum = add(&ctx, &format!("add-{n}"), sum, n).await?;
    }
    ctx.sleep(Duration::from_millis(40)).await?;
    add(&ctx, "last", sum, 10).await
}

#[workflow]
pub async fn parent(ctx: Ctx, children: u64) -> Result<u64> {
    let started: Vec<_> = (0..children).map(|n| ctx.invoke(steps, n)).collect();
    let mut sum = 0;
    for child in started {
        sum += child.await?;
    }
    add(&ctx, "sum", sum, 0).await
}

#[workflow]
pub async fn waiter(ctx: Ctx, key: String) -> Result<u64> {
    let before = add(&ctx, "before", 1, 1).await?;
    let got: u64 = ctx.wait_for_event("number").key(key.as_str()).await?;
    ctx.emit("echo", &got).key(key).await?;
    add(&ctx, "after", before, got).await
}

#[workflow]
pub async fn echo(ctx: Ctx, key: String) -> Result<u64> {
    ctx.wait_for_event("echo").key(key).await
}

#[workflow]
pub async fn endless(ctx: Ctx, _: ()) -> Result<u64> {
    loop {
        ctx.sleep(Duration::from_millis(30)).await?;
    }
}

/// Starts an executor, as a supervisor would: again, when the store fails.
pub async fn executor(store: &Arc<dyn Store>, bodies: &Bodies) -> Executor {
    loop {
        let builder = Executor::builder(store.clone())
            .register(steps)
            .register(parent)
            .register(waiter)
            .register(echo)
            .register(endless)
            .state(bodies.clone())
            .lease(Duration::from_millis(1_500), Duration::from_millis(150))
            .poll_interval(Duration::from_millis(150))
            .linger(Duration::from_millis(20))
            .sweep_interval(Some(Duration::from_millis(100)))
            .driver_threads(1);
        match builder.start().await {
            Ok(executor) => return executor,
            Err(error) => transient(error).await,
        }
    }
}

/// Waits a little after an error that says: failed, or unknown. Any other one is no answer to an injected fault.
async fn transient(error: Error) {
    match error {
        Error::Store(StoreError::Unavailable(_) | StoreError::Contention(_) | StoreError::Unknown(_)) => {}
        error => panic!("an injected fault came out as {}: {error}", error.code()),
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// Does something until it is acknowledged.
pub async fn insist<T, Fut: Future<Output = Result<T, Error>>>(call: impl Fn() -> Fut) -> T {
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => transient(error).await,
        }
    }
}

/// The workload on two executors over `store`, which keeps what it has in `memory`. Returns the most that one body
/// began.
pub async fn run(what: &str, store: Arc<dyn Store>, memory: &MemoryStore) -> u32 {
    let bodies = Bodies::new(memory);
    let work = work(store, &bodies);
    if tokio::time::timeout(Duration::from_secs(40), work).await.is_err() {
        let filter = ListFilter { limit: 100, ..ListFilter::default() };
        let runs = memory.list(&filter).await.expect("the memory store answers");
        let open: Vec<_> = runs.iter().filter(|run| !run.status.is_terminal()).collect();
        panic!("{what}: these runs never ended: {open:#?}");
    }
    check(what, memory, &bodies).await;
    bodies.most()
}

async fn work(store: Arc<dyn Store>, bodies: &Bodies) {
    let (one, two) = tokio::join!(executor(&store, bodies), executor(&store, bodies));
    let outside = insist(|| async { Ok(Client::new(store.clone())) }).await;
    for (n, client) in [one.client(), two.client(), outside.clone()].into_iter().enumerate() {
        round(&client, n).await;
    }
    for executor in [one, two] {
        // A shutdown that fails is a crash; nothing is left to be taken over.
        let _ = executor.shutdown().await;
    }
}

/// Invokes one of each with ids, and sees how they end.
async fn round(client: &Client, n: usize) {
    let key = format!("key {n}");
    let id = |what: &str| format!("{what} {n}");
    let (simple, family, waiting, echoed, cancelled) = tokio::join!(
        insist(|| async { client.invoke(steps, 1).id(id("steps")).await }),
        insist(|| async { client.invoke(parent, 3).id(id("parent")).await }),
        insist(|| async { client.invoke(waiter, key.clone()).id(id("waiter")).await }),
        insist(|| async { client.invoke(echo, key.clone()).id(id("echo")).await }),
        insist(|| async { client.invoke(endless, ()).id(id("endless")).await }),
    );
    insist(|| client.emit_to("number", &key, &7)).await;
    insist(|| async {
        match cancelled.cancel("enough").await {
            // The answer of the first try was lost.
            Err(Error::Ended { status: Status::Cancelled, .. }) => Ok(()),
            other => other,
        }
    })
    .await;
    assert_eq!(insist(|| simple.result()).await, 17);
    assert_eq!(insist(|| family.result()).await, 51);
    assert_eq!(insist(|| waiting.result()).await, 9);
    assert_eq!(insist(|| echoed.result()).await, 7);
    let ended = insist(|| cancelled.ended()).await;
    assert_eq!(ended.status(), Status::Cancelled);
}

/// What the journals say: nothing is there twice, and nothing is missing.
async fn check(what: &str, memory: &MemoryStore, bodies: &Bodies) {
    let late = bodies.late.lock().expect("no panic holds it").clone();
    assert!(late.is_empty(), "{what}: bodies began although their outcomes were recorded: {late:?}");
    let filter = ListFilter { limit: 100, ..ListFilter::default() };
    let runs = memory.list(&filter).await.expect("the memory store answers");
    assert_eq!(runs.len(), 3 * 8, "{what}");
    for run in runs {
        assert!(run.status.is_terminal(), "{what}: {run:?}");
        assert_eq!(run.crashes, 0, "{what}: no process died: {run:?}");
        let journal = memory.journal(run.id, 0, 10_000).await.expect("the memory store answers");
        let mut outcomes = BTreeMap::new();
        for (position, entry) in (0..).zip(&journal) {
            assert_eq!(entry.position, position, "{what}: a gap in {run:?}");
            if matches!(entry.fact.phase, Phase::Ok | Phase::Failed) {
                let outcome = outcomes.insert(entry.fact.key.clone(), position);
                assert_eq!(outcome, None, "{what}: {} twice in {run:?}", entry.fact.key);
            }
        }
    }
}
