//! Cases of sweeping: what is deleted, when, and what is kept for the sake of others.

use std::time::Duration;

use super::bench::{Bench, LONG, SHORT, event, fact, hang_up_for, new_run, park, turn, wait_for};
use crate::ids::{ExecutorId, RunId};
use crate::journal::OpKey;
use crate::store::{CreateOutcome, NewEvent, NewRun, ParentRef, RunRef, SendOutcome, Status, Swept, Turn};

const NOTHING: Swept = Swept { runs: 0, events: 0, more: false };

async fn sweep(b: &Bench, limit: usize) -> Swept {
    b.store().sweep(limit).await.expect("anyone can sweep")
}

/// Sweeps until there isn't more, which a chain of parents and children may need. Returns how many runs went.
async fn sweep_all(b: &Bench, limit: usize) -> u64 {
    let mut runs = 0;
    loop {
        let swept = sweep(b, limit).await;
        runs += swept.runs;
        if !swept.more {
            return runs;
        }
    }
}

/// A run that is owned and kept for `retain` after its end.
async fn kept(b: &Bench, owner: ExecutorId, retain: Duration, parent: Option<RunId>) -> RunId {
    let parent = parent.map(|run| ParentRef { run, key: OpKey::new("invoke", "a", 1) });
    b.created(NewRun { owner: Some(owner), retain, parent, ..new_run() }).await.id
}

/// A parent and so many children, all of whom have ended.
async fn ended_family(b: &Bench, executor: ExecutorId, children: usize) {
    let parent = kept(b, executor, SHORT, None).await;
    for _ in 0..children {
        let child = kept(b, executor, LONG, Some(parent)).await;
        b.finish(executor, child).await;
    }
    b.finish(executor, parent).await;
}

async fn exists(b: &Bench, run: RunId) -> bool {
    b.find(RunRef::Id(run)).await.is_some()
}

pub async fn sweep_of_nothing_does_nothing(b: &Bench) {
    assert_eq!(sweep(b, 100).await, NOTHING);
}

pub async fn sweep_deletes_runs_after_their_time(b: &Bench) {
    let executor = b.executor().await;
    let (short, long) = (kept(b, executor, SHORT, None).await, kept(b, executor, LONG, None).await);
    let forever = kept(b, executor, Duration::MAX, None).await;
    for run in [short, long, forever] {
        b.finish(executor, run).await;
    }
    b.outlast().await;
    assert_eq!(sweep(b, 100).await, Swept { runs: 1, ..NOTHING });
    assert_eq!((exists(b, short).await, exists(b, long).await, exists(b, forever).await), (false, true, true));
    assert_eq!(sweep(b, 100).await, NOTHING);
}

pub async fn sweep_counts_from_the_end_of_a_run(b: &Bench) {
    let executor = b.executor().await;
    let run = kept(b, executor, LONG, None).await;
    let old = kept(b, executor, SHORT, None).await;
    b.outlast().await;
    assert_eq!(sweep(b, 100).await, NOTHING, "a run that goes on is kept");
    b.finish(executor, run).await;
    b.finish(executor, old).await;
    b.outlast().await;
    assert_eq!(sweep(b, 100).await.runs, 1);
    assert!(exists(b, run).await);
}

pub async fn sweep_leaves_runs_that_are_not_over(b: &Bench) {
    let executor = b.executor().await;
    let [waiting, parked, running] = [
        kept(b, executor, Duration::ZERO, None).await,
        kept(b, executor, Duration::ZERO, None).await,
        kept(b, executor, Duration::ZERO, None).await,
    ];
    let ready = b.created(NewRun { retain: Duration::ZERO, ..new_run() }).await.id;
    let turns = [
        Turn { then: hang_up_for(LONG), ..Turn::new(waiting, 0) },
        Turn { then: park("DIVERGED"), ..Turn::new(parked, 0) },
    ];
    b.commit(executor, &turns).await;
    b.outlast().await;
    assert_eq!(sweep(b, 100).await, NOTHING);
    for run in [waiting, parked, running, ready] {
        assert!(exists(b, run).await);
    }
}

pub async fn sweep_is_bounded(b: &Bench) {
    let executor = b.executor().await;
    for n in 0..5 {
        let run = kept(b, executor, SHORT, None).await;
        b.finish(executor, run).await;
        b.emit(NewEvent { retain: SHORT, ..event("k", &n.to_string()) }).await;
    }
    b.outlast().await;
    let mut swept = Vec::new();
    for _ in 0..4 {
        let Swept { runs, events, .. } = sweep(b, 2).await;
        swept.push((runs, events));
    }
    assert_eq!(swept, [(2, 2), (2, 2), (1, 1), (0, 0)]);
}

pub async fn sweep_takes_everything_of_a_run(b: &Bench) {
    let executor = b.executor().await;
    let new = NewRun { invoke_id: Some("order-1".into()), retain: SHORT, owner: Some(executor), ..new_run() };
    let run = b.created(new.clone()).await.id;
    b.send(run, fact("x")).await;
    b.done(executor, Turn { subscribe: vec![wait_for("k", 0)], ..turn(run, 0, &["a"]) }).await;
    b.finish(executor, run).await;
    b.outlast().await;
    assert_eq!(sweep(b, 100).await.runs, 1);
    assert_eq!(b.find(RunRef::InvokeId("order-1".into())).await, None);
    assert_eq!(b.journal(run).await, []);
    assert!(!b.store().landed(run, 0).await.expect("journals can be read"));
    assert_eq!(b.send(run, fact("late")).await, SendOutcome::NoSuchRun);
    b.emit(event("k", "1")).await;
    // The ids are free, and nothing of the old run comes back.
    assert!(matches!(b.create(NewRun { invoke_id: None, ..new }).await, CreateOutcome::Created(_)));
    let same_invoke_id = NewRun { invoke_id: Some("order-1".into()), workflow: "refund".into(), ..new_run() };
    assert!(matches!(b.create(same_invoke_id).await, CreateOutcome::Created(_)));
    assert_eq!((b.journal(run).await, b.inbox(executor, run).await), (vec![], vec![]));
}

pub async fn sweep_keeps_children_as_long_as_their_parent(b: &Bench) {
    let executor = b.executor().await;
    let parent = kept(b, executor, SHORT, None).await;
    let child = kept(b, executor, Duration::ZERO, Some(parent)).await;
    let grandchild = kept(b, executor, LONG, Some(child)).await;
    b.finish(executor, grandchild).await;
    b.finish(executor, child).await;
    b.outlast().await;
    assert_eq!(sweep(b, 100).await, NOTHING, "the parent goes on");
    b.finish(executor, parent).await;
    b.outlast().await;
    assert_eq!(sweep_all(b, 100).await, 3, "the whole family goes");
    for run in [parent, child, grandchild] {
        assert!(!exists(b, run).await);
    }
}

pub async fn sweep_keeps_children_while_their_ended_parent_is_kept(b: &Bench) {
    let executor = b.executor().await;
    let parent = kept(b, executor, LONG, None).await;
    let child = kept(b, executor, Duration::ZERO, Some(parent)).await;
    b.finish(executor, child).await;
    b.finish(executor, parent).await;
    b.outlast().await;
    assert_eq!(sweep_all(b, 100).await, 0);
}

pub async fn sweep_lets_a_child_that_goes_on_outlive_its_parent(b: &Bench) {
    let executor = b.executor().await;
    let parent = kept(b, executor, SHORT, None).await;
    let child = kept(b, executor, SHORT, Some(parent)).await;
    b.finish(executor, parent).await;
    b.outlast().await;
    assert_eq!(sweep_all(b, 100).await, 1);
    let record = b.record(child).await;
    assert_eq!((record.status, record.parent), (Status::Running, None));
    b.done(executor, turn(child, 0, &["a"])).await;
    b.finish(executor, child).await;
    b.outlast().await;
    assert_eq!(sweep_all(b, 100).await, 1);
}

pub async fn sweep_of_a_bounded_batch_comes_to_the_children_later(b: &Bench) {
    let executor = b.executor().await;
    ended_family(b, executor, 5).await;
    b.outlast().await;
    let mut swept = Vec::new();
    while swept.last().is_none_or(|last: &Swept| last.more) && swept.len() < 20 {
        swept.push(sweep(b, 2).await);
    }
    let all = swept.iter().map(|swept| swept.runs).sum::<u64>();
    assert!(swept.iter().all(|swept| swept.runs <= 2) && all == 6, "{swept:?}");
    assert_eq!(sweep(b, 2).await, NOTHING);
}

pub async fn sweep_says_when_families_leave_more_to_do(b: &Bench) {
    let executor = b.executor().await;
    for _ in 0..6 {
        ended_family(b, executor, 3).await;
    }
    b.outlast().await;
    assert_eq!(sweep_all(b, 4).await, 24, "whoever sweeps while there is more has swept all");
}

pub async fn sweep_of_events_keeps_their_numbers_going(b: &Bench) {
    let executor = b.executor().await;
    for n in 0..3 {
        b.emit(NewEvent { retain: SHORT, ..event("k", &n.to_string()) }).await;
    }
    b.emit(event("other", "1")).await;
    b.outlast().await;
    assert_eq!(sweep(b, 100).await, Swept { events: 3, ..NOTHING });
    assert_eq!(sweep(b, 100).await, NOTHING);
    b.emit(event("k", "3")).await;
    let run = b.owned(executor).await;
    b.done(executor, Turn { subscribe: vec![wait_for("k", 0)], ..Turn::new(run, 0) }).await;
    assert_eq!(b.inbox(executor, run).await[0].fact.mark, Some(4));
}
