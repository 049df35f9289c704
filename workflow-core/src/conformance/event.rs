//! Cases of events: who waits for them, before and after they came.

use std::collections::BTreeSet;
use std::time::Duration;

use super::bench::{Bench, event, finish, hang_up, json, new_run, park, turn, wait_for};
use crate::ids::{ExecutorId, RunId};
use crate::journal::{OpKey, Phase};
use crate::store::{Message, NewEvent, NewRun, Resume, Status, Subscription, Turn};

pub(super) async fn subscribe(b: &Bench, executor: ExecutorId, run: RunId, subscription: Subscription) {
    b.done(executor, Turn { subscribe: vec![subscription], ..Turn::new(run, 0) }).await;
}

/// A run that is owned and waits for an event of `key` after `after`.
pub(super) async fn waiter(b: &Bench, executor: ExecutorId, key: &str, after: u64) -> RunId {
    let run = b.owned(executor).await;
    subscribe(b, executor, run, wait_for(key, after)).await;
    run
}

/// What a message says of its event.
pub(super) fn said(message: &Message) -> (i64, String) {
    (message.fact.mark.expect("an event has a seq"), message.fact.payload.display())
}

pub(super) async fn heard(b: &Bench, executor: ExecutorId, run: RunId) -> Vec<(i64, String)> {
    b.inbox(executor, run).await.iter().map(said).collect()
}

pub async fn an_event_reaches_who_waits_for_it(b: &Bench) {
    let executor = b.executor().await;
    let run = waiter(b, executor, "k", 0).await;
    b.emit(event("k", "\"hello\"")).await;
    let inbox = b.inbox(executor, run).await;
    assert_eq!(inbox.len(), 1);
    assert_eq!((inbox[0].seq, &inbox[0].fact.key), (1, &OpKey::new("event", "paid", 1)));
    let fact = &inbox[0].fact;
    assert_eq!((fact.phase, &fact.payload, fact.mark), (Phase::Ok, &json("\"hello\""), Some(1)));
}

pub async fn an_event_makes_who_hung_up_for_it_ready(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    b.done(executor, Turn { subscribe: vec![wait_for("k", 0)], then: hang_up(0), ..Turn::new(run, 0) }).await;
    assert_eq!(b.record(run).await.status, Status::Waiting);
    b.emit(event("k", "1")).await;
    assert_eq!(b.claim_one(executor, run).await.inbox.iter().map(said).collect::<Vec<_>>(), [(1, "1".into())]);
}

pub async fn a_late_waiter_gets_the_first_event_after_its_seq(b: &Bench) {
    let executor = b.executor().await;
    for n in 1..=4 {
        b.emit(event("k", &n.to_string())).await;
    }
    for (after, seq) in [(0, 1), (1, 2), (3, 4)] {
        let run = waiter(b, executor, "k", after).await;
        assert_eq!(heard(b, executor, run).await, [(seq, seq.to_string())]);
    }
    let run = waiter(b, executor, "k", 4).await;
    assert_eq!(heard(b, executor, run).await, []);
    b.emit(event("k", "5")).await;
    assert_eq!(heard(b, executor, run).await, [(5, "5".into())]);
}

pub async fn a_late_waiter_that_hangs_up_is_ready(b: &Bench) {
    let executor = b.executor().await;
    b.emit(event("k", "1")).await;
    let run = b.owned(executor).await;
    b.done(executor, Turn { subscribe: vec![wait_for("k", 0)], then: hang_up(0), ..Turn::new(run, 0) }).await;
    assert_eq!(b.record(run).await.status, Status::Ready);
    assert_eq!(b.claim_one(executor, run).await.inbox.iter().map(said).collect::<Vec<_>>(), [(1, "1".into())]);
}

pub async fn a_waiter_for_a_later_seq_is_not_served_before(b: &Bench) {
    let executor = b.executor().await;
    let run = waiter(b, executor, "k", 2).await;
    for n in 1..=4 {
        b.emit(event("k", &n.to_string())).await;
    }
    assert_eq!(heard(b, executor, run).await, [(3, "3".into())]);
}

pub async fn every_waiter_gets_an_event_once(b: &Bench) {
    let executor = b.executor().await;
    let mut runs = Vec::new();
    for _ in 0..30 {
        runs.push(waiter(b, executor, "k", 0).await);
    }
    b.emit(event("k", "1")).await;
    b.emit(event("k", "2")).await;
    for run in runs {
        assert_eq!(heard(b, executor, run).await, [(1, "1".into())], "its wait ended with the first");
    }
}

/// More than a store brings in one statement, once from outside and once from a run that waits itself.
pub async fn a_thousand_waiters_get_an_event_once(b: &Bench) {
    let executor = b.executor().await;
    for from_outside in [true, false] {
        let key = format!("{from_outside}");
        let runs: Vec<NewRun> = (0..1_100).map(|_| NewRun { owner: Some(executor), ..new_run() }).collect();
        b.store().create(&runs, true).await.expect("runs can be created");
        let wait = |run: &NewRun| Turn { subscribe: vec![wait_for(&key, 0)], ..Turn::new(run.id, 0) };
        b.commit(executor, &runs.iter().map(wait).collect::<Vec<_>>()).await;
        if from_outside {
            b.emit(event(&key, "1")).await;
        } else {
            let turn = Turn { emits: vec![event(&key, "1")], then: hang_up(0), ..Turn::new(runs[7].id, 0) };
            b.done(executor, turn).await;
            assert_eq!(b.record(runs[7].id).await.status, Status::Ready, "it has mail of its own");
        }
        let mail = b.store().mail(executor, 10_000).await.expect("mail can be read");
        let reached: Vec<RunId> =
            mail.iter().filter(|m| runs.iter().any(|run| run.id == m.run)).map(|m| m.run).collect();
        let distinct: BTreeSet<RunId> = reached.iter().copied().collect();
        assert_eq!(reached.len(), distinct.len(), "once");
        assert_eq!(distinct.len(), if from_outside { 1_100 } else { 1_099 }, "all that this executor owns");
        assert!(mail.iter().all(|m| m.message.seq == 1));
    }
}

pub async fn events_are_read_in_order_one_after_the_other(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    for n in 1..=10 {
        // Some are waited for before, some after they came.
        if n % 2 == 0 {
            b.emit(event("k", &n.to_string())).await;
        }
        subscribe(b, executor, run, wait_for("k", n - 1)).await;
        if n % 2 == 1 {
            b.emit(event("k", &n.to_string())).await;
        }
    }
    assert_eq!(heard(b, executor, run).await, (1..=10).map(|n| (n, n.to_string())).collect::<Vec<_>>());
}

pub async fn topics_are_separate(b: &Bench) {
    let executor = b.executor().await;
    let mut runs = Vec::new();
    // The same text, cut in other places.
    let topics = [("paid", ""), ("paid", "k"), ("paid", "kk"), ("paidk", "k"), ("paid", "K")];
    for (name, key) in topics {
        let run = b.owned(executor).await;
        subscribe(b, executor, run, Subscription { name: name.into(), ..wait_for(key, 0) }).await;
        runs.push(run);
    }
    for (i, (name, key)) in topics.into_iter().enumerate() {
        b.emit(NewEvent { name: name.into(), ..event(key, &i.to_string()) }).await;
    }
    for (i, run) in runs.into_iter().enumerate() {
        assert_eq!(heard(b, executor, run).await, [(1, i.to_string())]);
    }
}

pub async fn waiting_again_is_harmless(b: &Bench) {
    let executor = b.executor().await;
    let run = waiter(b, executor, "k", 0).await;
    subscribe(b, executor, run, wait_for("k", 0)).await;
    let twice = vec![wait_for("k", 0), wait_for("k", 0)];
    b.done(executor, Turn { subscribe: twice, ..Turn::new(run, 0) }).await;
    b.emit(event("k", "1")).await;
    assert_eq!(heard(b, executor, run).await, [(1, "1".into())]);
}

pub async fn one_run_may_wait_for_several_events(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    let op = |nth| OpKey::new("event", "paid", nth);
    let subscribe = vec![
        wait_for("a", 0),
        Subscription { op: op(2), ..wait_for("b", 0) },
        Subscription { op: op(3), ..wait_for("a", 0) },
    ];
    b.done(executor, Turn { subscribe, ..Turn::new(run, 0) }).await;
    b.emit(event("b", "1")).await;
    b.emit(event("a", "2")).await;
    let inbox = b.inbox(executor, run).await;
    let mut heard: Vec<_> = inbox.iter().map(|m| (m.fact.key.nth, m.fact.payload.display())).collect();
    heard.sort();
    assert_eq!(heard, [(1, "2".into()), (2, "1".into()), (3, "2".into())]);
}

pub async fn unsubscribing_ends_one_wait(b: &Bench) {
    let executor = b.executor().await;
    let run = waiter(b, executor, "k", 0).await;
    let other = OpKey::new("event", "paid", 2);
    subscribe(b, executor, run, Subscription { op: other.clone(), ..wait_for("k", 0) }).await;
    let unsubscribe = vec![OpKey::new("event", "paid", 1), OpKey::new("event", "unknown", 1)];
    b.done(executor, Turn { unsubscribe, ..Turn::new(run, 0) }).await;
    b.emit(event("k", "1")).await;
    let inbox = b.inbox(executor, run).await;
    assert_eq!(inbox.iter().map(|m| m.fact.key.clone()).collect::<Vec<_>>(), [other]);
}

pub async fn the_end_of_a_run_ends_its_waits(b: &Bench) {
    let executor = b.executor().await;
    let run = waiter(b, executor, "k", 0).await;
    let second = OpKey::new("event", "paid", 2);
    let subscribe = vec![Subscription { op: second, ..wait_for("k", 0) }];
    b.done(executor, Turn { subscribe, then: finish(), ..Turn::new(run, 0) }).await;
    let other = waiter(b, executor, "k", 0).await;
    b.emit(event("k", "1")).await;
    assert_eq!(heard(b, executor, other).await, [(1, "1".into())]);
    assert_eq!(b.record(run).await.status, Status::Completed);
}

pub async fn a_parked_run_keeps_waiting(b: &Bench) {
    let executor = b.executor().await;
    let run = waiter(b, executor, "k", 0).await;
    b.done(executor, Turn { then: park("DIVERGED"), ..Turn::new(run, 0) }).await;
    b.emit(event("k", "1")).await;
    assert_eq!(b.record(run).await.status, Status::Parked);
    b.store().resume(&Resume::Runs(vec![run])).await.expect("it can be resumed");
    assert_eq!(b.claim_one(executor, run).await.inbox.iter().map(said).collect::<Vec<_>>(), [(1, "1".into())]);
}

pub async fn a_turn_emits_events(b: &Bench) {
    let executor = b.executor().await;
    let (waiting, sender) = (waiter(b, executor, "k", 0).await, b.owned(executor).await);
    let emits = vec![event("k", "1"), event("k", "2"), event("other", "3")];
    b.done(executor, Turn { emits, ..turn(sender, 0, &["a"]) }).await;
    assert_eq!(heard(b, executor, waiting).await, [(1, "1".into())]);
    let late = waiter(b, executor, "k", 1).await;
    assert_eq!(heard(b, executor, late).await, [(2, "2".into())]);
}

pub async fn waiting_and_emitting_in_one_batch_meet(b: &Bench) {
    let executor = b.executor().await;
    for (key, order) in [("a", [0, 1]), ("b", [1, 0])] {
        let [sender, waiting] = [b.owned(executor).await, b.owned(executor).await];
        // Kept for no time at all: who waits with the emit still gets it.
        let turns = [
            Turn { emits: vec![NewEvent { retain: Duration::ZERO, ..event(key, "1") }], ..Turn::new(sender, 0) },
            Turn { subscribe: vec![wait_for(key, 0)], then: hang_up(0), ..Turn::new(waiting, 0) },
        ];
        b.commit(executor, &order.map(|i| turns[i].clone())).await;
        let claimed = b.claim_one(executor, waiting).await;
        assert_eq!(claimed.inbox.iter().map(said).collect::<Vec<_>>(), [(1, "1".into())]);
    }
}

pub async fn a_refused_turn_neither_waits_nor_emits(b: &Bench) {
    let (executor, other) = (b.executor().await, b.executor().await);
    let (waiting, theirs) = (waiter(b, executor, "k", 0).await, b.owned(other).await);
    let refused = Turn {
        subscribe: vec![wait_for("theirs", 0)],
        emits: vec![event("k", "1")],
        then: hang_up(0),
        ..Turn::new(theirs, 0)
    };
    b.commit(executor, &[refused]).await;
    b.emit(event("theirs", "1")).await;
    assert_eq!(heard(b, executor, waiting).await, []);
    assert_eq!(heard(b, other, theirs).await, []);
}
