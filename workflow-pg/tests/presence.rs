//! The process of an executor that dies is noticed long before its lease ends; one that lost its session isn't taken for
//! dead.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::PgPool;
use support::Harness;
use tokio::sync::mpsc;
use workflow_core::store::{Store, Wakeup, WatchGuard};
use workflow_core::{ExecutorId, StoreError};
use workflow_pg::PgStore;

const LONG: Duration = Duration::from_secs(3_600);
const LIMIT: Duration = Duration::from_secs(60);

/// A process with an executor on the store, which is watched by others from the time when this returns.
async fn process(harness: &Harness, observer: &PgPool) -> (PgStore, ExecutorId) {
    let store = harness.another().await;
    let executor = ExecutorId::generate();
    store.register(executor, "test", LONG).await.expect("registers");
    until_present(observer, executor).await;
    (store, executor)
}

/// Waits until the executor has a presence, and a session that holds it.
async fn until_present(observer: &PgPool, executor: ExecutorId) {
    until_locked(observer, executor, "ExclusiveLock", true).await;
}

/// Waits until somebody waits for the end of the executor's process.
async fn until_watched(observer: &PgPool, executor: ExecutorId) {
    until_locked(observer, executor, "ShareLock", false).await;
}

async fn until_locked(observer: &PgPool, executor: ExecutorId, mode: &str, granted: bool) {
    let held = "SELECT EXISTS (SELECT 1 FROM workflow.executors AS x JOIN pg_locks AS l ON l.locktype = 'advisory' \
             AND l.objsubid = 1 AND l.mode = $2 AND l.granted = $3 \
             AND (l.classid::bigint << 32) | l.objid::bigint = x.presence \
         WHERE x.id = $1)";
    let locked = || sqlx::query_scalar::<_, bool>(held).bind(executor.0).bind(mode).bind(granted).fetch_one(observer);
    let wait = async { while !locked().await.expect("a query") {} };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("nobody has the {mode}"));
}

fn deaths(store: &PgStore) -> (mpsc::UnboundedReceiver<()>, WatchGuard) {
    let (sender, deaths) = mpsc::unbounded_channel();
    let sender = Mutex::new(sender);
    let guard = store.watch(Arc::new(move |wakeup| {
        if wakeup == Wakeup::Died {
            let _ = sender.lock().expect("a lock").send(());
        }
    }));
    (deaths, guard)
}

async fn next(deaths: &mut mpsc::UnboundedReceiver<()>) {
    tokio::time::timeout(LIMIT, deaths.recv()).await.expect("the death is noticed").expect("is watched");
}

#[tokio::test]
async fn a_process_that_died_is_noticed_before_its_lease_ends() {
    let harness = Harness::migrated().await;
    let observer = harness.database.pool(1).await.expect("connects");
    let (watcher, _) = process(&harness, &observer).await;
    let (mut deaths, _guard) = deaths(&watcher);
    for _ in 0..3 {
        // The next one of the ring is another each time.
        let (victim, executor) = process(&harness, &observer).await;
        until_watched(&observer, executor).await;
        drop(victim);
        next(&mut deaths).await;
        let rescued = watcher.rescue(20, 100).await.expect("rescues");
        assert_eq!(rescued.executors, [executor]);
    }
}

#[tokio::test]
async fn all_but_one_of_many_processes_die_at_once() {
    let harness = Harness::migrated().await;
    let observer = harness.database.pool(1).await.expect("connects");
    let (watcher, _) = process(&harness, &observer).await;
    let (mut deaths, _guard) = deaths(&watcher);
    let mut victims = Vec::new();
    let mut left: Vec<ExecutorId> = Vec::new();
    for _ in 0..4 {
        let (victim, executor) = process(&harness, &observer).await;
        victims.push(victim);
        left.push(executor);
    }
    drop(victims);
    while !left.is_empty() {
        next(&mut deaths).await;
        let rescued = watcher.rescue(20, 100).await.expect("rescues");
        left.retain(|executor| !rescued.executors.contains(executor));
    }
}

/// Ends the sessions that hold the first locks of the executor's presence, up to the one with this number: of the session that
/// listens, 0, and of those for leases, 1 and 2. Returns how many.
async fn end_sessions(observer: &PgPool, executor: ExecutorId, last: i64) -> usize {
    let end = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a \
         JOIN pg_locks AS l ON l.pid = a.pid AND l.locktype = 'advisory' AND l.mode = 'ExclusiveLock' AND l.granted \
         JOIN workflow.executors AS x ON ((l.classid::bigint << 32) | l.objid::bigint)::numeric - x.presence BETWEEN 0 AND $2 \
         WHERE x.id = $1";
    sqlx::query(end).bind(executor.0).bind(last).fetch_all(observer).await.expect("ends them").len()
}

#[tokio::test]
async fn a_process_that_lost_its_sessions_is_there_again_and_keeps_its_lease() {
    let harness = Harness::migrated().await;
    let observer = harness.database.pool(1).await.expect("connects");
    let (_watcher, _) = process(&harness, &observer).await;
    let (other, executor) = process(&harness, &observer).await;
    for _ in 0..3 {
        end_sessions(&observer, executor, 0).await;
        until_present(&observer, executor).await;
    }
    other.heartbeat(executor, LONG).await.expect("it has kept its lease");
}

#[tokio::test]
async fn nobody_is_taken_for_dead_while_the_server_takes_no_connections() {
    let harness = Harness::migrated().await;
    let observer = harness.database.pool(1).await.expect("connects");
    let (_watcher, _) = process(&harness, &observer).await;
    let (_other, executor) = process(&harness, &observer).await;
    until_watched(&observer, executor).await;
    // As in a shutdown, in which the watcher's session is the last to end.
    let refuse = "UPDATE pg_database SET datallowconn = FALSE WHERE datname = current_database()";
    sqlx::query(refuse).execute(&observer).await.expect("sets it");
    assert!(end_sessions(&observer, executor, 2).await >= 2, "it listens and has a lease");
    // It couldn't make sure, and looks a second time.
    let looks = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity AS a \
         WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.query LIKE '%Whether the server has been%')";
    let looked = async { while !sqlx::query_scalar::<_, bool>(looks).fetch_one(&observer).await.expect("a query") {} };
    tokio::time::timeout(LIMIT, looked).await.expect("looks again");
    let left =
        "SELECT x.lease_until - clock_timestamp() > INTERVAL '10 minutes' FROM workflow.executors AS x WHERE x.id = $1";
    let lives: bool = sqlx::query_scalar(left).bind(executor.0).fetch_one(&observer).await.expect("a query");
    assert!(lives, "its lease goes on");
}

async fn presence(observer: &PgPool, executor: ExecutorId) -> i64 {
    sqlx::query_scalar("SELECT x.presence FROM workflow.executors AS x WHERE x.id = $1")
        .bind(executor.0)
        .fetch_one(observer)
        .await
        .expect("has a presence")
}

/// Ends the lease as somebody does who takes the executor's process for dead, with this notice.
async fn expire(observer: &PgPool, executor: ExecutorId, notice: Duration) {
    let presence = presence(observer, executor).await;
    let micros = i64::try_from(notice.as_micros()).expect("is short");
    let query = sqlx::query("UPDATE workflow.executors SET notice_us = $2 WHERE id = $1").bind(executor.0).bind(micros);
    query.execute(observer).await.expect("sets it");
    let query = sqlx::query(include_str!("../queries/expire_absent.sql")).bind(presence);
    assert_eq!(query.fetch_all(observer).await.expect("expires it").len(), 1);
}

#[tokio::test]
async fn who_is_taken_for_dead_wrongly_can_say_so_within_the_notice() {
    let harness = Harness::migrated().await;
    let observer = harness.database.pool(1).await.expect("connects");
    let (store, executor) = process(&harness, &observer).await;
    assert!(store.lease_left(executor, None).await.expect("lives") > LIMIT);
    expire(&observer, executor, LIMIT).await;
    assert!(store.lease_left(executor, None).await.expect("lives still") <= LIMIT);
    let left = store.commit(executor, &[]).await.expect("writes still").lease_left.expect("is told");
    assert!(left > LIMIT / 2 && left <= LIMIT, "{left:?}");
    store.heartbeat(executor, LONG).await.expect("lives");
    let left = store.commit(executor, &[]).await.expect("writes").lease_left.expect("is told");
    assert!(left > LIMIT && left <= LONG, "{left:?}");
    assert!(store.lease_left(executor, None).await.expect("lives") > LIMIT);
}

#[tokio::test]
async fn a_lease_is_ended_with_the_notice_that_its_executor_needs() {
    let harness = Harness::migrated().await;
    let observer = harness.database.pool(1).await.expect("connects");
    let (store, executor) = process(&harness, &observer).await;
    let presence = presence(&observer, executor).await;
    let expire = async || {
        let query = sqlx::query(include_str!("../queries/expire_absent.sql")).bind(presence);
        query.fetch_all(&observer).await.expect("expires it").len()
    };
    let whole = store.lease_left(executor, Some(LONG)).await.expect("lives");
    assert!(whole > LIMIT, "{whole:?}");
    assert_eq!(expire().await, 0, "it needs all of it");
    store.lease_left(executor, Some(LIMIT)).await.expect("lives");
    assert_eq!(expire().await, 1);
    let left = store.lease_left(executor, None).await.expect("lives still");
    assert!(left > LIMIT / 2 && left <= LIMIT, "{left:?}");
}

#[tokio::test]
async fn who_is_taken_for_dead_wrongly_is_fenced() {
    let harness = Harness::migrated().await;
    let observer = harness.database.pool(1).await.expect("connects");
    let (store, executor) = process(&harness, &observer).await;
    expire(&observer, executor, Duration::ZERO).await;
    let lost = |error: &StoreError| matches!(error, StoreError::LeaseLost(id) if *id == executor);
    assert!(store.commit(executor, &[]).await.is_err_and(|error| lost(&error)));
    assert!(store.lease_left(executor, None).await.is_err_and(|error| lost(&error)));
    assert!(store.heartbeat(executor, LONG).await.is_err_and(|error| lost(&error)));
}
