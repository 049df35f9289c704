//! Cases of migrating, registering, renewing and closing.

use std::time::Duration;

use super::bench::{Bench, LONG, SHORT, claim_of, hang_up_for, new_run};
use crate::ids::{ExecutorId, RunId};
use crate::store::{NewRun, Status, StoreError, Turn};

pub async fn migrating_twice_is_harmless(b: &Bench) {
    let run = b.ready().await;
    b.store().migrate().await.expect("migrating again does nothing");
    for store in b.two().await {
        store.migrate().await.expect("another process migrates as well");
    }
    assert_eq!(b.record(run).await.status, Status::Ready);
}

pub async fn register_answers_the_stores_clock(b: &Bench) {
    let first = b.now().await;
    b.advance(Duration::from_millis(30)).await;
    let second = b.now().await;
    assert!(second - first >= chrono::TimeDelta::milliseconds(30), "{first} {second}");
    assert!(second - first < chrono::TimeDelta::minutes(5), "{first} {second}");
}

pub async fn heartbeat_keeps_the_lease(b: &Bench) {
    let executor = b.executor().await;
    let before = b.now().await;
    let beat = b.store().heartbeat(executor, LONG).await.expect("the lease is alive");
    assert!(beat.now >= before);
    assert!(!beat.rescue);
    assert_eq!(beat.next_due, None);
    // The lease from the first call would be over by now without the second.
    b.store().heartbeat(executor, SHORT * 50).await.expect("alive");
    b.store().heartbeat(executor, LONG).await.expect("alive");
    b.advance(SHORT).await;
    b.store().heartbeat(executor, LONG).await.expect("renewed leases are alive");
}

pub async fn heartbeat_may_shorten_the_lease(b: &Bench) {
    let executor = b.executor().await;
    b.store().heartbeat(executor, SHORT).await.expect("alive");
    b.outlast().await;
    let error = b.store().heartbeat(executor, LONG).await.expect_err("the shorter lease has run out");
    assert!(matches!(error, StoreError::LeaseLost(id) if id == executor), "{error:?}");
}

pub async fn heartbeat_tells_when_the_lease_of_another_runs_out(b: &Bench) {
    let executor = b.executor().await;
    let alone = b.store().heartbeat(executor, SHORT * 50).await.expect("alive");
    assert_eq!(alone.next_expiry, None, "its own lease is no news");
    let others = [ExecutorId::generate(), ExecutorId::generate()];
    let mut registered = Vec::new();
    for (other, lease) in others.iter().zip([LONG, LONG / 2]) {
        registered.push(b.store().register(*other, "host:2", lease).await.expect("registers"));
    }
    let beat = b.store().heartbeat(executor, LONG).await.expect("alive");
    assert_eq!(beat.next_expiry, Some(registered[1] + LONG / 2));
    b.store().close(others[1]).await.expect("closes");
    let beat = b.store().heartbeat(executor, LONG).await.expect("alive");
    assert_eq!(beat.next_expiry, Some(registered[0] + LONG));
}

pub async fn heartbeat_of_an_unknown_executor_is_refused(b: &Bench) {
    let executor = ExecutorId::generate();
    let error = b.store().heartbeat(executor, LONG).await.expect_err("it was never registered");
    assert!(matches!(error, StoreError::LeaseLost(id) if id == executor), "{error:?}");
}

pub async fn an_expired_lease_is_never_renewed(b: &Bench) {
    let executor = ExecutorId::generate();
    b.store().register(executor, "host:1", SHORT).await.expect("an executor can register");
    b.outlast().await;
    for _ in 0..2 {
        let error = b.store().heartbeat(executor, LONG).await.expect_err("its lease has run out");
        assert!(matches!(error, StoreError::LeaseLost(id) if id == executor), "{error:?}");
    }
    let dead = b.store().rescue(3, 100).await.expect("anyone can rescue").executors;
    assert_eq!(dead, [executor]);
    b.store().heartbeat(executor, LONG).await.expect_err("it was rescued");
}

pub async fn an_expired_lease_claims_nothing(b: &Bench) {
    let run = b.ready().await;
    let executor = b.expired().await;
    let error = b.store().claim(&claim_of(executor, 10)).await.expect_err("its lease has run out");
    assert!(matches!(error, StoreError::LeaseLost(id) if id == executor), "{error:?}");
    assert_eq!(b.record(run).await.status, Status::Ready);
}

pub async fn heartbeat_tells_of_executors_to_rescue(b: &Bench) {
    let (alive, other) = (b.executor().await, b.executor().await);
    b.owned(other).await;
    b.owned(other).await;
    b.expire(other).await;
    let rescue = async || b.store().heartbeat(alive, LONG).await.expect("alive").rescue;
    assert!(rescue().await, "an expired executor is to be rescued");
    b.store().rescue(3, 1).await.expect("anyone can rescue");
    assert!(rescue().await, "a run of the dead executor is left");
    b.store().rescue(3, 1).await.expect("anyone can rescue");
    assert!(!rescue().await, "a dead executor without runs is forgotten");
}

pub async fn heartbeat_tells_whether_a_run_is_ready(b: &Bench) {
    let executor = b.executor().await;
    let ready = async || b.store().heartbeat(executor, LONG).await.expect("alive").ready;
    b.owned(executor).await;
    b.created(NewRun { delay: Some(LONG), ..new_run() }).await;
    assert!(!ready().await, "one is owned, and one waits");
    let run = b.ready().await;
    assert!(ready().await);
    b.claim_one(executor, run).await;
    assert!(!ready().await, "it is owned now");
}

pub async fn heartbeat_tells_the_next_wake_time(b: &Bench) {
    let executor = b.executor().await;
    let next_due = async || b.store().heartbeat(executor, LONG).await.expect("alive").next_due;
    b.ready().await;
    assert_eq!(next_due().await, None, "a ready run has no wake time");
    let run = b.owned(executor).await;
    b.done(executor, Turn { then: hang_up_for(LONG * 2), ..Turn::new(run, 0) }).await;
    assert_eq!(next_due().await, b.record(run).await.wake_at);
    let sooner = b.created(NewRun { delay: Some(LONG), queue: "another".into(), ..new_run() }).await.id;
    assert_eq!(next_due().await, b.record(sooner).await.wake_at);
    assert!(next_due().await.is_some());
}

pub async fn claim_tells_the_next_wake_time(b: &Bench) {
    let executor = b.executor().await;
    let claim = async || b.store().claim(&claim_of(executor, 1)).await.expect("alive");
    let next_due = async || claim().await.next_due;
    assert_eq!(next_due().await, None, "nothing waits");
    let run = b.owned(executor).await;
    b.done(executor, Turn { then: hang_up_for(LONG * 2), ..Turn::new(run, 0) }).await;
    assert_eq!(next_due().await, b.record(run).await.wake_at);
    let sooner = b.created(NewRun { delay: Some(LONG), ..new_run() }).await.id;
    assert_eq!(next_due().await, b.record(sooner).await.wake_at);
    assert!(next_due().await.is_some());
    let due = b.created(NewRun { delay: Some(Duration::from_millis(1)), ..new_run() }).await.id;
    b.advance(Duration::from_millis(2)).await;
    let claimed = claim().await;
    assert_eq!(claimed.runs.first().map(|run| run.id), Some(due));
    assert_eq!(claimed.next_due, b.record(sooner).await.wake_at, "what is due already isn't told again");
}

pub async fn hand_over_gives_back_what_it_names(b: &Bench) {
    let (leaving, next) = (b.executor().await, b.executor().await);
    let (given, kept) = (b.owned(leaving).await, b.owned(leaving).await);
    let others = b.owned(next).await;
    let named = [given, others, b.ready().await, RunId::generate(), given];
    assert_eq!(b.store().hand_over(leaving, &named).await.expect("runs can be handed over"), 1);
    let record = b.record(given).await;
    assert_eq!((record.status, record.owner, record.crashes), (Status::Ready, None, 0));
    assert_eq!(b.record(kept).await.owner, Some(leaving), "the others are its own still");
    assert_eq!(b.record(others).await.owner, Some(next), "nobody gives away what isn't his");
    b.store().commit(leaving, &[Turn::new(kept, 0)]).await.expect("it has its lease still");
    assert_eq!(b.store().hand_over(leaving, &[]).await.expect("nothing is handed over"), 0);
    assert_eq!(b.store().hand_over(leaving, &[given]).await.expect("again is harmless"), 0);
    assert_eq!(b.store().close(leaving).await.expect("an executor can be closed"), 1);
}

pub async fn hand_over_of_a_dead_executor_does_nothing(b: &Bench) {
    let (dead, run) = (b.executor().await, b.ready().await);
    b.claim_one(dead, run).await;
    b.expire(dead).await;
    b.store().rescue(3, 100).await.expect("anyone can rescue");
    let next = b.executor().await;
    b.claim_one(next, run).await;
    assert_eq!(b.store().hand_over(dead, &[run]).await.expect("nothing is handed over"), 0);
    assert_eq!(b.record(run).await.owner, Some(next));
    assert_eq!(b.store().hand_over(ExecutorId::generate(), &[run]).await.expect("nothing is handed over"), 0);
}

pub async fn close_hands_runs_over(b: &Bench) {
    let (closing, next) = (b.executor().await, b.executor().await);
    let mut runs = vec![b.owned(closing).await, b.owned(closing).await];
    let other = b.owned(next).await;
    assert_eq!(b.store().close(closing).await.expect("an executor can be closed"), 2);
    for run in &runs {
        let record = b.record(*run).await;
        assert_eq!((record.status, record.owner), (Status::Ready, None));
    }
    assert_eq!(b.record(other).await.owner, Some(next), "runs of others are left alone");
    let mut claimed: Vec<_> = b.claim(next, 10).await.into_iter().map(|r| r.id).collect();
    claimed.sort();
    runs.sort();
    assert_eq!(claimed, runs);
}

pub async fn close_leaves_the_crash_count_alone(b: &Bench) {
    let (crashing, run) = (b.executor().await, b.ready().await);
    b.claim_one(crashing, run).await;
    b.expire(crashing).await;
    b.store().rescue(3, 100).await.expect("anyone can rescue");
    assert_eq!(b.record(run).await.crashes, 1);
    for _ in 0..5 {
        let executor = b.executor().await;
        b.claim_one(executor, run).await;
        assert_eq!(b.store().close(executor).await.expect("an executor can be closed"), 1);
    }
    let record = b.record(run).await;
    assert_eq!((record.status, record.crashes), (Status::Ready, 1));
}

pub async fn close_is_idempotent(b: &Bench) {
    let executor = b.executor().await;
    b.owned(executor).await;
    assert_eq!(b.store().close(executor).await.expect("an executor can be closed"), 1);
    assert_eq!(b.store().close(executor).await.expect("closing again does nothing"), 0);
}

pub async fn close_ends_the_lease(b: &Bench) {
    let executor = b.executor().await;
    b.store().close(executor).await.expect("an executor can be closed");
    let error = b.store().heartbeat(executor, LONG).await.expect_err("a closed executor has no lease");
    assert!(matches!(error, StoreError::LeaseLost(id) if id == executor), "{error:?}");
    b.store().claim(&claim_of(executor, 1)).await.expect_err("a closed executor claims nothing");
    b.outlast().await;
    let rescued = b.store().rescue(3, 100).await.expect("anyone can rescue");
    assert_eq!(rescued.executors, [], "a closed executor is forgotten, not dead");
}

pub async fn close_of_an_unknown_executor_does_nothing(b: &Bench) {
    assert_eq!(b.store().close(ExecutorId::generate()).await.expect("closing it does nothing"), 0);
}
