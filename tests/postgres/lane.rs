//! The connections of drivers for lone turns: lost, not to be had, and closed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use workflow::postgres::PgStore;
use workflow::prelude::*;
use workflow::{Client, Status, Store};
use workflow_testserver::{Database, test_database};

use crate::faulty::{Error, Faults, Method, Site, Verdict};
use crate::support::{Narrow, PATIENCE, soon, until};

/// The last statement of a session that wrote a lone step, which goes on a driver's lane.
const LANES: &str = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%Adds one entry%' \
     AND pid <> pg_backend_pid()";

/// The same of one that did nothing since it ended a run.
const ENDED: &str = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%Ends one run%' \
     AND pid <> pg_backend_pid()";

const HOUR: Duration = Duration::from_secs(3_600);

/// What the steps may use: a connection that isn't the executor's.
struct Outside(String);

impl Outside {
    async fn count(&self, what: &str) -> i64 {
        let mut connection = PgConnection::connect(&self.0).await.expect("connects");
        let count = sqlx::query_scalar(sqlx::AssertSqlSafe(what.to_owned())).fetch_one(&mut connection).await;
        connection.close().await.expect("closes");
        count.expect("counts")
    }
}

/// So many steps, each followed by the end of every connection that wrote one.
#[workflow]
async fn cut_off(ctx: Ctx, steps: u64) -> Result<u64> {
    let mut ended = 0;
    for _ in 0..steps {
        ended += ctx
            .step("cut", async || {
                let outside = ctx.state::<Outside>();
                let ended = outside.count(&format!("SELECT count(pg_terminate_backend(pid)) {LANES}")).await;
                Ok(u64::try_from(ended)?)
            })
            .await?;
    }
    Ok(ended)
}

#[workflow]
async fn plain_steps(ctx: Ctx, count: u64) -> Result<u64> {
    for n in 0..count {
        ctx.step("step", async || Ok(n)).await?;
    }
    Ok(count)
}

async fn start(store: Arc<dyn Store>, outside: Outside) -> Executor {
    Executor::builder(store)
        .register(cut_off)
        .register(plain_steps)
        .state(outside)
        .driver_threads(1)
        .poll_interval(Duration::from_millis(200))
        .start()
        .await
        .expect("starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_is_cut_loses_and_doubles_nothing() {
    let database = test_database().await.expect("a database");
    let store = Arc::new(PgStore::connect(database.url()).await.expect("connects"));
    let executor = start(store.clone(), Outside(database.url().to_owned())).await;
    // Its connections aren't cut.
    let client = Client::new(Arc::new(PgStore::connect(database.url()).await.expect("connects")));
    // Every other one, after the first ones, during which the lane has yet to connect.
    let run = client.invoke(cut_off, 24).await.expect("invokes");
    let ended = soon("result", run.result()).await.expect("completes");
    assert!(ended >= 10, "{ended} connections were cut: lone steps didn't go on lanes");
    let entries = store.journal(run.id(), 0, 100).await.expect("reads");
    let steps = entries.iter().filter(|entry| entry.fact.key.kind == "step").count();
    assert_eq!(steps, 24, "{entries:?}");
    executor.shutdown().await.expect("shuts down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_lane_steps_go_the_way_of_all_others() {
    let narrow = Narrow::start().await;
    let url = narrow.url.clone();
    let store = Arc::new(PgStore::connect(&url).await.expect("connects"));
    let executor = start(store, Outside(url.clone())).await;
    // Nothing was written before the last free connection was taken.
    let others = narrow.fill().await;
    let run = executor.client().invoke(plain_steps, 20).await.expect("invokes");
    assert_eq!(soon("result", run.result()).await.expect("completes"), 20);
    for other in others {
        other.close().await.expect("closes");
    }
    executor.shutdown().await.expect("shuts down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_closes_lanes() {
    let database = test_database().await.expect("a database");
    let store = Arc::new(PgStore::connect(database.url()).await.expect("connects"));
    let outside = Outside(database.url().to_owned());
    let executor = start(store.clone(), Outside(database.url().to_owned())).await;
    until("a run ends on a lane", async || {
        let run = executor.client().invoke(plain_steps, 20).await.expect("invokes");
        soon("result", run.result()).await.expect("completes");
        outside.count(&format!("SELECT count(*) {ENDED}")).await == 1
    })
    .await;
    executor.shutdown().await.expect("shuts down");
    // The store is in use still, by a client.
    Client::new(store.clone()).invoke(plain_steps, 1).await.expect("invokes");
    until("the lanes are closed", async || outside.count(&format!("SELECT count(*) {ENDED}")).await == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_panics_is_replaced() {
    let database = test_database().await.expect("a database");
    let inner: Arc<dyn Store> = Arc::new(PgStore::connect(database.url()).await.expect("connects"));
    let panicked = Arc::new(AtomicBool::new(false));
    let told = panicked.clone();
    let store: Arc<dyn Store> = Faults::around(inner, move |site| {
        let lone_commit = site.on_lane && site.method == Method::Commit;
        assert!(!lone_commit || told.swap(true, Ordering::SeqCst), "injected, in the middle of a driver");
        Verdict::Pass
    });
    let executor = start(store, Outside(database.url().to_owned())).await;
    let first = executor.id();
    let all = async {
        while !panicked.load(Ordering::SeqCst) {
            let run = executor.client().invoke(plain_steps, 20).await.expect("invokes");
            assert_eq!(run.result().await.expect("completes"), 20);
        }
    };
    soon("all runs are completed", all).await;
    assert_ne!(executor.id(), first, "the life that lost its driver is over");
    executor.shutdown().await.expect("shuts down");
}

/// Invokes runs one after the other until one is created on a lane, whose answer is lost, and fails so many creations then.
fn loses_a_lone_run(failing: u64) -> impl Fn(Site) -> Verdict + Send + Sync {
    let left = Mutex::new(None);
    move |site| {
        let mut left = left.lock().expect("no panic holds it");
        match (site.method, &mut *left) {
            (Method::Create, None) if site.on_lane => {
                *left = Some(failing);
                Verdict::After(Error::Unknown)
            }
            (Method::Create, Some(left @ 1..)) => {
                *left -= 1;
                Verdict::Before(Error::Unavailable)
            }
            _ => Verdict::Pass,
        }
    }
}

async fn lone_runs(failing: u64) -> (Database, Executor, Arc<dyn Store>, Vec<Result<u64, workflow::Error>>) {
    let database = test_database().await.expect("a database");
    let inner: Arc<dyn Store> = Arc::new(PgStore::connect(database.url()).await.expect("connects"));
    let lost = Arc::new(AtomicBool::new(false));
    let (judge, told) = (loses_a_lone_run(failing), lost.clone());
    let store: Arc<dyn Store> = Faults::around(inner.clone(), move |site| {
        let verdict = judge(site);
        told.fetch_or(!matches!(verdict, Verdict::Pass), Ordering::SeqCst);
        verdict
    });
    let executor = Executor::builder(store).register(plain_steps).lease(HOUR, Duration::from_secs(1)).start().await;
    let executor = executor.expect("starts");
    let mut results = Vec::new();
    let all = async {
        while !lost.load(Ordering::SeqCst) {
            let invoked = executor.client().invoke(plain_steps, 5).id(format!("run {}", results.len())).await;
            results.push(match invoked {
                Ok(run) => run.result().await,
                Err(error) => Err(error),
            });
        }
    };
    soon("a run that is created on a lane", all).await;
    (database, executor, inner, results)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_run_whose_creation_got_no_answer_is_found() {
    let (_database, executor, _, results) = lone_runs(0).await;
    assert!(results.iter().all(|result| matches!(result, Ok(5))), "{results:?}");
    executor.shutdown().await.expect("shuts down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_run_that_nobody_knows_of_is_not_left_alone() {
    let (_database, executor, inner, results) = lone_runs(30).await;
    let error = results.last().expect("one was lost").as_ref().expect_err("nobody knows");
    assert_eq!(error.code(), "COMMIT_UNKNOWN", "{error}");
    // Whoever isn't sure asks again.
    let id = format!("run {}", results.len() - 1);
    let run = Client::new(inner).invoke(plain_steps, 5).id(id).await.expect("attaches");
    assert_eq!(soon("result", run.result()).await.expect("completes"), 5);
    executor.shutdown().await.expect("shuts down");
}

/// Where a step keeps its driver's thread until it is told to go on.
struct Door {
    reached: AtomicBool,
    opened: Mutex<mpsc::Receiver<()>>,
}

#[workflow]
async fn blocks(ctx: Ctx) -> Result<()> {
    ctx.step("block", async || {
        let door = ctx.state::<Arc<Door>>();
        door.reached.store(true, Ordering::SeqCst);
        Ok(door.opened.lock().expect("no panic holds it").recv_timeout(PATIENCE)?)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_run_does_not_wait_for_a_driver_that_is_kept() {
    let database = test_database().await.expect("a database");
    let store: Arc<dyn Store> = Arc::new(PgStore::connect(database.url()).await.expect("connects"));
    let (open, opened) = mpsc::channel();
    let door = Arc::new(Door { reached: AtomicBool::new(false), opened: Mutex::new(opened) });
    let executor = Executor::builder(store).register(blocks).register(plain_steps).state(door.clone());
    let executor = executor.driver_threads(1).start().await.expect("starts");
    let long = executor.client().invoke(blocks, ()).await.expect("invokes");
    until("its driver is kept", async || door.reached.load(Ordering::SeqCst)).await;
    let other = soon("another run", executor.client().invoke(plain_steps, 5).into_future()).await.expect("invokes");
    assert_eq!(long.status().await.expect("is there").status(), Status::Running, "it blocks still");
    open.send(()).expect("it waits");
    soon("its end", long.result()).await.expect("completes");
    assert_eq!(soon("result", other.result()).await.expect("completes"), 5);
    executor.shutdown().await.expect("shuts down");
}
