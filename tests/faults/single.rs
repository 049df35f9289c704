//! Faults that have to come at one certain moment.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use tokio::sync::Semaphore;
use workflow::memory::Clock;
use workflow::prelude::*;
use workflow::store::RunRef;
use workflow::{Client, MemoryStore, RunHandle, Status, Store, StoreError, Timestamp};

use crate::faulty::{Error, Faults, Method, Verdict};
use crate::workload::{self, Bodies};

/// What should happen soon.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(10), work).await {
        Ok(answer) => answer,
        Err(_) => panic!("{what} never happened"),
    }
}

async fn eventually(what: &str, mut is: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_claimed_again_before_its_hang_up_is_answered_goes_on() {
    let memory = MemoryStore::default();
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    let first = std::sync::atomic::AtomicBool::new(true);
    let store: Arc<dyn Store> = Faults::around(Arc::new(memory.clone()), move |site| {
        if site.hangs_up && first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            Verdict::Hold(held.clone())
        } else {
            Verdict::Pass
        }
    });
    let executor = workload::executor(&store, &Bodies::new(&memory)).await;
    let run = executor.client().invoke(workload::waiter, "key".to_owned()).await.expect("invoked");
    eventually("the hang-up", async || run.status().await.expect("there").status() == Status::Waiting).await;
    // Ready again, and claimed by the same executor, which doesn't know yet that it had given the run away.
    executor.client().emit_to("number", "key", &7).await.expect("emitted");
    eventually("the claim", async || {
        !matches!(run.status().await.expect("there").status(), Status::Waiting | Status::Ready)
    })
    .await;
    permits.add_permits(1);
    assert_eq!(soon("the end of the run", run.result()).await.expect("ended well"), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_overtakes_the_answer_to_a_claim_is_seen_without_a_poll() {
    let memory = MemoryStore::default();
    let permits = Arc::new(Semaphore::new(0));
    let held = permits.clone();
    let store: Arc<dyn Store> = Faults::around(Arc::new(memory.clone()), move |site| match site.method {
        Method::Claim => Verdict::Hold(held.clone()),
        _ => Verdict::Pass,
    });
    let hour = Duration::from_secs(3_600);
    let client = workflow::Client::new(Arc::new(memory.clone()));
    let run = client.invoke(workload::endless, ()).await.expect("invoked");
    let executor = workflow::Executor::builder(store).register(workload::endless).poll_interval(hour).start().await;
    let executor = executor.expect("starts");
    eventually("the claim", async || run.status().await.expect("there").status() == Status::Running).await;
    run.cancel("enough").await.expect("delivered");
    // Long enough for the executor to look for its mail, while it doesn't know of the run.
    tokio::time::sleep(Duration::from_millis(100)).await;
    permits.add_permits(1_000);
    assert_eq!(soon("the end of the run", run.ended()).await.expect("there").status(), Status::Cancelled);
    executor.shutdown().await.expect("shut down");
}

/// Ends before its child does, once it is told to.
#[workflow::workflow]
async fn careless(ctx: workflow::Ctx, _: ()) -> workflow::Result<workflow::RunId> {
    let child = ctx.start(workload::waiter, "never".to_owned());
    ctx.wait_for_event::<u64>("go").await?;
    child.id().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_commit_whose_answer_is_lost_are_seen_without_a_poll() {
    let memory = MemoryStore::default();
    let losses = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let left = losses.clone();
    let store: Arc<dyn Store> = Faults::around(Arc::new(memory.clone()), move |site| {
        let order = std::sync::atomic::Ordering::SeqCst;
        let lost = site.method == Method::Commit && left.fetch_update(order, order, |n| n.checked_sub(1)).is_ok();
        if lost { Verdict::After(Error::Unknown) } else { Verdict::Pass }
    });
    let hour = Duration::from_secs(3_600);
    let executor = workflow::Executor::builder(store)
        .register(workload::waiter)
        .register(careless)
        .state(Bodies::new(&memory))
        .poll_interval(hour)
        .linger(hour)
        .start()
        .await
        .expect("starts");
    let client = executor.client();
    let parent = client.invoke(careless, ()).await.expect("invoked");
    let waits = workflow::store::ListFilter { workflow: Some("waiter".to_owned()), ..Default::default() };
    eventually("the child's wait", async || {
        let children = memory.list(&waits).await.expect("answers");
        let Some(child) = children.first() else { return false };
        memory.journal(child.id, 0, 10).await.expect("answers").iter().any(|entry| entry.fact.key.kind == "event")
    })
    .await;
    // What the event brings, and the end, which cancels the child.
    losses.store(4, std::sync::atomic::Ordering::SeqCst);
    client.emit("go", &1u64).await.expect("emitted");
    let child = soon("the end of the parent", parent.result()).await.expect("ended well");
    let child = client.handle::<u64>(child);
    assert_eq!(soon("the end of the child", child.ended()).await.expect("there").status(), Status::Cancelled);
    executor.shutdown().await.expect("shut down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invocation_that_nobody_waits_for_any_more_still_runs() {
    let memory = MemoryStore::default();
    let permits = Arc::new(Semaphore::new(0));
    let store: Arc<dyn Store> =
        Faults::once(Arc::new(memory.clone()), Method::Create, 1, Verdict::Hold(permits.clone()));
    let executor = workload::executor(&store, &Bodies::new(&memory)).await;
    let client = executor.client();
    let invocation = async { client.invoke(workload::steps, 1).id("dropped").await };
    let run = tokio::select! {
        _ = invocation => unreachable!("its answer is held"),
        run = async {
            loop {
                match client.find::<u64>("dropped").await {
                    Ok(run) => return run,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        } => run,
    };
    permits.add_permits(1);
    assert_eq!(soon("the end of the run", run.result()).await.expect("ended well"), 17);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invocation_is_unknown_when_any_try_was() {
    let memory = MemoryStore::default();
    let store: Arc<dyn Store> = Faults::around(Arc::new(memory.clone()), |site| match (site.method, site.nth) {
        (Method::Create, 1) => Verdict::After(Error::Unknown),
        (Method::Create, _) => Verdict::Before(Error::Unavailable),
        _ => Verdict::Pass,
    });
    let client = workflow::Client::new(store);
    let error = client.invoke(workload::steps, 1).id("it").await.expect_err("the store is away");
    assert!(matches!(error, workflow::Error::Store(StoreError::Unknown(_))), "the run exists, and it says: {error}");
}

/// A server that is read-only for a while refuses every write with an error that says it isn't worth a retry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_outlive_a_time_in_which_every_commit_is_refused() {
    let memory = MemoryStore::default();
    let store: Arc<dyn Store> = Faults::around(Arc::new(memory.clone()), |site| match (site.method, site.nth) {
        (Method::Commit, 2..=12) => Verdict::Before(Error::Unusable),
        _ => Verdict::Pass,
    });
    let executor = workload::executor(&store, &Bodies::new(&memory)).await;
    let client = executor.client();
    let invoke = |n| client.invoke(workload::steps, n).into_future();
    let runs = futures::future::try_join_all((0..3).map(invoke)).await.expect("invoked");
    for (run, n) in runs.into_iter().zip(0..) {
        assert_eq!(soon("the end of the run", run.result()).await.expect("ended well"), n + 16);
    }
}

#[cfg(feature = "postgres")]
#[workflow::workflow]
async fn paced(ctx: workflow::Ctx, bytes: usize) -> workflow::Result<usize> {
    let mut length = 0;
    for _ in 0..30 {
        let step = ctx.step("step", async || {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok("x".repeat(bytes))
        });
        length += step.await?.len();
    }
    Ok(length)
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_tell_that_the_lease_lasts_so_that_nobody_asks() {
    let database = workflow_testserver::test_database().await.expect("a database");
    let inner = Arc::new(workflow::postgres::PgStore::connect(database.url()).await.expect("connects"));
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let asking = asked.clone();
    // Half of it may pass between two answers.
    let notice = Some(Duration::from_millis(500));
    let store: Arc<dyn Store> = Faults::with_notice(inner, notice, move |site| {
        asking.fetch_add(u32::from(site.method == Method::LeaseLeft), std::sync::atomic::Ordering::SeqCst);
        Verdict::Pass
    });
    let executor = workflow::Executor::builder(store).register(paced).start().await.expect("starts");
    // Over the lane of a driver, and, as they are too long for one, as batches: else they would ask 12 times each.
    for bytes in [1, 100_000] {
        let run = executor.client().invoke(paced, bytes).await.expect("invoked");
        assert_eq!(soon("the end of the run", run.result()).await.expect("ended well"), 30 * bytes);
    }
    let asked = asked.load(std::sync::atomic::Ordering::SeqCst);
    assert!(asked <= 8, "it asked {asked} times whether its lease lasts");
    executor.shutdown().await.expect("shuts down");
}

/// A client of another process, whose lookups fail while `away` says so.
fn asking(memory: &MemoryStore, away: impl Fn() -> bool + Send + Sync + 'static) -> Client {
    let store: Arc<dyn Store> = Faults::around(Arc::new(memory.clone()), move |site| match site.method {
        Method::Find if away() => Verdict::Before(Error::Unavailable),
        _ => Verdict::Pass,
    });
    Client::new(store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_result_waits_through_an_outage() {
    let memory = MemoryStore::default();
    let store: Arc<dyn Store> = Arc::new(memory.clone());
    let executor = workload::executor(&store, &Bodies::new(&memory)).await;
    let away = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicU64::new(0));
    let client = asking(&memory, {
        let (away, asked) = (away.clone(), asked.clone());
        move || {
            asked.fetch_add(1, SeqCst);
            away.load(SeqCst)
        }
    });
    let run = client.invoke(workload::steps, 1).await.expect("invoked");
    let result = tokio::spawn(async move { (run.result().await, run.ended().await) });
    eventually("a second try", async || asked.load(SeqCst) >= 2).await;
    away.store(false, SeqCst);
    let (result, ended) = soon("the result", result).await.expect("joined");
    assert_eq!(result.expect("ended well"), 17);
    assert_eq!(ended.expect("ended well").status(), Status::Completed);
    executor.shutdown().await.expect("shuts down");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_result_is_told_of_an_outage_that_lasts() {
    let memory = MemoryStore::default();
    let run = asking(&memory, || true).invoke(workload::steps, 1).await.expect("invoked");
    let begun = tokio::time::Instant::now();
    let error = run.result().await.expect_err("the store is away");
    assert_eq!(error.code(), "STORE_UNAVAILABLE");
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(60) && waited < Duration::from_secs(70), "{waited:?}");
}

/// The time of the runtime, which is paused.
#[derive(Debug)]
struct RuntimeClock(tokio::time::Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.0.elapsed()
    }
}

/// An executor that reaches the store except from `begin` until `end`, and a run that it keeps for hours.
async fn away(memory: &MemoryStore, begin: Duration, end: Duration) -> (Executor, RunHandle<()>) {
    let started = tokio::time::Instant::now();
    let store: Arc<dyn Store> = Faults::around(Arc::new(memory.clone()), move |_| {
        if (begin..end).contains(&started.elapsed()) { Verdict::Before(Error::Unavailable) } else { Verdict::Pass }
    });
    let builder = Executor::builder(store).register(keeps).lease(Duration::from_secs(3), Duration::from_secs(1));
    let executor = builder.drive_in_tasks().driver_threads(1).max_poll(None).start().await.expect("starts");
    let run = executor.client().invoke(keeps, ()).await.expect("invoked");
    (executor, run)
}

#[workflow]
async fn keeps(ctx: Ctx, _: ()) -> Result<()> {
    ctx.step("long", async || {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        Ok(())
    })
    .await
}

/// How often executors died with the runs of two executors that were cut off from 1.5 s until then.
async fn crashes_after(ends: [Duration; 2]) -> Vec<u32> {
    let memory = MemoryStore::new(RuntimeClock(tokio::time::Instant::now()));
    let begin = Duration::from_millis(1_500);
    let (one, of_one) = away(&memory, begin, ends[0]).await;
    let (other, of_other) = away(&memory, begin, ends[1]).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let found = memory.find(&[of_one.id(), of_other.id()].map(RunRef::Id)).await.expect("reads");
    drop((one, other));
    found.into_iter().map(|record| record.expect("is there").crashes).collect()
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_who_comes_back_first_leaves_the_others_time() {
    let ms = Duration::from_millis;
    let outages = async {
        // Longer than the leases, and shorter.
        assert_eq!(crashes_after([ms(6_000), ms(6_350)]).await, [0, 0]);
        assert_eq!(crashes_after([ms(3_700), ms(4_050)]).await, [0, 0]);
        // Who stays away for longer is dead.
        assert_eq!(crashes_after([ms(6_000), ms(15_000)]).await, [0, 1]);
    };
    tokio::task::LocalSet::new().run_until(outages).await;
}
