//! Transfers between accounts while executors are killed and the database restarts: sums are conserved, and each
//! transfer took place exactly once, without any unique index to help.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use workflow::postgres::{PgOptions, PgStore};
use workflow::{Client, Error, RunHandle, Store, StoreError};
use workflow_testserver::{Options, Server, Shutdown};

use crate::child::{LIMIT, Process};
use crate::ledger;
use crate::workflows::{Transfer, transfer};

const LEASE: Duration = Duration::from_millis(1_500);
const EXECUTORS: usize = 3;
const KILLS: usize = 50;
/// After which kills the database restarts, too.
const RESTARTS: [usize; 5] = [5, 14, 23, 32, 41];
/// Transfers that are under way at any time.
const CLIENTS: u64 = 48;

#[derive(Default)]
struct Counts {
    acknowledged: AtomicU64,
    failed: AtomicU64,
    unknown: AtomicU64,
}

/// What a call has come to: ok, failed, or nobody knows. Both of the latter are told by an error, and tried again with
/// the same id.
async fn again(error: Error, counts: &Counts) {
    let count = match error {
        Error::Store(StoreError::Unknown(_)) => &counts.unknown,
        Error::Store(StoreError::Unavailable(_) | StoreError::Contention(_)) => &counts.failed,
        error => panic!("a crash came out as {}: {error}", error.code()),
    };
    count.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(20)).await;
}

async fn invoke(client: &Client, n: u64, counts: &Counts) -> RunHandle<i64> {
    // Whatever the number, always the same order: a repeated invocation has the same input.
    let order = Transfer { from: (n * 7) as i64 % 100, to: (n * 13 + 1) as i64 % 100, amount: n as i64 % 9 + 1 };
    loop {
        match client.invoke(transfer, order.clone()).id(format!("transfer {n}")).await {
            Ok(run) => return run,
            Err(error) => again(error, counts).await,
        }
    }
}

/// One transfer after the other until there were enough kills; then the last one is waited for.
async fn transfers(client: Client, numbers: Arc<AtomicU64>, stop: Arc<AtomicBool>, counts: Arc<Counts>) {
    while !stop.load(Ordering::Relaxed) {
        let run = invoke(&client, numbers.fetch_add(1, Ordering::Relaxed), &counts).await;
        counts.acknowledged.fetch_add(1, Ordering::Relaxed);
        while let Err(error) = run.result().await {
            again(error, &counts).await;
        }
    }
}

/// Kills a process whenever it is in the middle of a body, one after the other, and starts it again.
async fn kill_and_restart(server: &Server, url: &str) -> Vec<Process> {
    let name = |n: usize| format!("executor {n}");
    let mut processes: Vec<_> = (0..EXECUTORS).map(|n| Process::start(url, &name(n), LEASE)).collect();
    for kill in 1..=KILLS {
        let victim = &mut processes[kill % EXECUTORS];
        victim.forget();
        victim.says("began").await;
        victim.kill();
        *victim = Process::start(url, &name(kill % EXECUTORS), LEASE);
        if RESTARTS.contains(&kill) {
            server.restart(Shutdown::Immediate).await.expect("the server comes back");
        }
    }
    processes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_take_place_exactly_once_through_kills_and_restarts() {
    let server = Server::start(Options::new()).await.expect("a server");
    let database = server.create_database().await.expect("a database");
    let store = Arc::new(PgStore::connect_with(PgOptions::new(database.url())).await.expect("connects"));
    store.migrate().await.expect("migrated");
    let pool = store.pool().clone();
    ledger::make(&pool).await;
    let began = Instant::now();
    let (stop, counts, numbers) = (Arc::<AtomicBool>::default(), Arc::<Counts>::default(), Arc::<AtomicU64>::default());
    let client = Client::new(store);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(transfers(client.clone(), numbers.clone(), stop.clone(), counts.clone())))
        .collect();
    let processes = kill_and_restart(&server, database.url()).await;
    stop.store(true, Ordering::Relaxed);
    let killed = began.elapsed();
    for client in clients {
        tokio::time::timeout(LIMIT, client).await.expect("every acknowledged transfer ends").expect("no panic");
    }
    drop(processes);
    check(&pool, &counts).await;
    println!(
        "{KILLS} kills and {} restarts in {killed:.1?}, {} transfers in {:.1?}; calls failed {}, unknown {}; \
         the busiest body began {} times",
        RESTARTS.len(),
        counts.acknowledged.load(Ordering::Relaxed),
        began.elapsed(),
        counts.failed.load(Ordering::Relaxed),
        counts.unknown.load(Ordering::Relaxed),
        ledger::most_begun(&pool).await,
    );
}

async fn check(pool: &PgPool, counts: &Counts) {
    ledger::check_runs(pool).await;
    let acknowledged = i64::try_from(counts.acknowledged.load(Ordering::Relaxed)).expect("few");
    let count = async |query: &'static str| sqlx::query_scalar::<_, i64>(query).fetch_one(pool).await.expect("a count");
    assert_eq!(count("SELECT count(*) FROM workflow.runs").await, acknowledged);
    assert_eq!(count("SELECT sum(balance)::bigint FROM account").await, 100 * 1_000);
    assert_eq!(count("SELECT count(*) FROM effect").await, 2 * acknowledged);
    let uneven = "SELECT count(*) FROM (
        SELECT r.id FROM workflow.runs AS r LEFT JOIN effect AS e ON e.run = r.id GROUP BY r.id
        HAVING count(*) FILTER (WHERE e.what = 'move') <> 1 OR count(*) FILTER (WHERE e.what = 'book') <> 1) AS uneven";
    assert_eq!(count(uneven).await, 0, "runs whose effects aren't there exactly once");
    let moved = "SELECT count(*) FROM account AS a WHERE a.balance <> 1000 + (
        SELECT COALESCE(sum(CASE WHEN (i.input ->> 'to')::bigint = a.id THEN (i.input ->> 'amount')::bigint ELSE 0 END
                          - CASE WHEN (i.input ->> 'from')::bigint = a.id THEN (i.input ->> 'amount')::bigint ELSE 0 END), 0)
        FROM workflow.run AS i)";
    assert_eq!(count(moved).await, 0, "accounts that don't hold what the transfers say");
    assert!(acknowledged > 100, "only {acknowledged} transfers were made");
}
