//! Cases of events: numbers per topic, buffers and their end, waiters, and races between the two.

use std::time::Duration;

use futures::future::{join, join_all};
use uuid::Uuid;

use super::bench::{Bench, LONG, SHORT, event, fact, finish, hang_up, json, park, turn, wait_for};
use crate::ids::{ExecutorId, RunId};
use crate::journal::{OpKey, Phase};
use crate::store::{Message, NewEvent, NewMessage, Resume, SendOutcome, Status, StoreError, Subscription, Turn};

async fn subscribe(b: &Bench, executor: ExecutorId, run: RunId, subscription: Subscription) {
    b.done(executor, Turn { subscribe: vec![subscription], ..Turn::new(run, 0) }).await;
}

/// A run that is owned and waits for an event of `key` after `after`.
async fn waiter(b: &Bench, executor: ExecutorId, key: &str, after: u64) -> RunId {
    let run = b.owned(executor).await;
    subscribe(b, executor, run, wait_for(key, after)).await;
    run
}

/// What a message says of its event.
fn said(message: &Message) -> (i64, String) {
    (message.fact.mark.expect("an event has a seq"), message.fact.payload.display())
}

async fn heard(b: &Bench, executor: ExecutorId, run: RunId) -> Vec<(i64, String)> {
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

pub async fn emitting_is_idempotent_by_the_events_id(b: &Bench) {
    let executor = b.executor().await;
    let first = event("k", "1");
    let batch = [first.clone(), first.clone(), event("k", "2")];
    b.store().deliver(&[], &batch, 10).await.expect("events can be emitted");
    b.store()
        .deliver(&[], std::slice::from_ref(&first), 2)
        .await
        .expect("an event that is there already needs no room");
    let (run, sender) = (waiter(b, executor, "k", 1).await, b.owned(executor).await);
    b.done(executor, Turn { emits: vec![first], ..Turn::new(sender, 0) }).await;
    assert_eq!(heard(b, executor, run).await, [(2, "2".into())]);
    let last = waiter(b, executor, "k", 2).await;
    assert_eq!(heard(b, executor, last).await, []);
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

pub async fn a_full_buffer_takes_nothing_of_the_batch(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    let sends = [NewMessage { to: run, fact: fact("hello") }];
    b.store().deliver(&[], &[event("k", "1")], 2).await.expect("there is room");
    // One fits, the second doesn't.
    let batch = [event("other", "1"), event("k", "2"), event("k", "3")];
    match b.store().deliver(&sends, &batch, 2).await.expect_err("the buffer is full") {
        StoreError::BufferFull { name, key, limit } => assert_eq!((&*name, &*key, limit), ("paid", "k", 2)),
        other => panic!("the buffer is full, not {other:?}"),
    }
    assert_eq!(b.inbox(executor, run).await, []);
    let waiting = waiter(b, executor, "other", 0).await;
    assert_eq!(heard(b, executor, waiting).await, []);
    b.store().deliver(&[], &[event("k", "2")], 2).await.expect("there is room for one");
    b.store().deliver(&sends, &[event("another", "1")], 2).await.expect("other topics have room");
    assert_eq!(b.inbox(executor, run).await.len(), 1);
    let last = waiter(b, executor, "k", 1).await;
    assert_eq!(heard(b, executor, last).await, [(2, "2".into())], "what was refused has no number");
}

pub async fn an_expired_event_is_no_longer_there(b: &Bench) {
    let executor = b.executor().await;
    let early = waiter(b, executor, "k", 0).await;
    b.store().deliver(&[], &[NewEvent { retain: SHORT, ..event("k", "1") }], 1).await.expect("there is room");
    b.outlast().await;
    assert_eq!(heard(b, executor, early).await, [(1, "1".into())], "an inbox keeps what it has");
    let late = waiter(b, executor, "k", 0).await;
    assert_eq!(heard(b, executor, late).await, []);
    b.store().deliver(&[], &[event("k", "2")], 1).await.expect("it takes no room any more");
    assert_eq!(heard(b, executor, late).await, [(2, "2".into())]);
}

pub async fn events_kept_for_the_longest_time_stay(b: &Bench) {
    let executor = b.executor().await;
    b.emit(NewEvent { retain: Duration::MAX, ..event("k", "1") }).await;
    b.store().sweep(100).await.expect("anyone can sweep");
    let late = waiter(b, executor, "k", 0).await;
    assert_eq!(heard(b, executor, late).await, [(1, "1".into())]);
}

pub async fn emits_at_once_are_numbered_without_gaps(b: &Bench) {
    let stores = b.two().await;
    let executor = b.executor().await;
    let emits = (0..12).map(|i| {
        let store = stores[i % 2].clone();
        async move {
            // Two topics in one batch, in another order each time: what locks as given deadlocks here.
            let mut batch = vec![event("a", &i.to_string()), event("b", &i.to_string()), event("a", "x")];
            batch.rotate_left(i % 3);
            store.deliver(&[], &batch, 1_000).await.expect("events can be emitted");
        }
    });
    join_all(emits).await;
    let run = b.owned(executor).await;
    for (key, count) in [("a", 24), ("b", 12)] {
        for after in 0..=count {
            let op = OpKey::new("event", key, after as u32 + 1);
            subscribe(b, executor, run, Subscription { op, ..wait_for(key, after) }).await;
        }
        let inbox = b.inbox(executor, run).await;
        let seqs: Vec<_> = inbox.iter().filter(|m| m.fact.key.name == key).map(|m| said(m).0).collect();
        assert_eq!(seqs, (1..=count as i64).collect::<Vec<_>>());
    }
}

pub async fn a_wait_and_an_emit_at_once_never_miss_each_other(b: &Bench) {
    let stores = b.two().await;
    let executor = b.executor().await;
    for round in 0..12 {
        let mut runs = Vec::new();
        for _ in 0..6 {
            runs.push(b.owned(executor).await);
        }
        let races = runs.iter().enumerate().map(|(i, run)| {
            let [first, second] = stores.clone();
            async move {
                let key = Uuid::now_v7().to_string();
                let turns = [Turn { subscribe: vec![wait_for(&key, 0)], then: hang_up(0), ..Turn::new(*run, 0) }];
                let emits = [event(&key, "1")];
                let (wait, emit) = (first.commit(executor, &turns), second.deliver(&[], &emits, 10));
                if (i + round) % 2 == 0 {
                    let (waited, emitted) = join(wait, emit).await;
                    waited.and(emitted).expect("both go through");
                } else {
                    let (emitted, waited) = join(emit, wait).await;
                    waited.and(emitted).expect("both go through");
                }
            }
        });
        join_all(races).await;
        let claimed = b.claim(executor, 100).await;
        assert_eq!(claimed.len(), 6, "each waited and was woken");
        assert!(claimed.iter().all(|run| run.mail == 1 && run.inbox.len() == 1));
    }
}

pub async fn one_emit_and_many_waits_at_once_all_meet(b: &Bench) {
    let stores = b.two().await;
    let executor = b.executor().await;
    for round in 0..6 {
        let key = format!("k{round}");
        let mut runs = Vec::new();
        for _ in 0..8 {
            runs.push(b.owned(executor).await);
        }
        let parts = (0..=runs.len()).map(|i| {
            let (store, key, runs) = (stores[i % 2].clone(), key.clone(), runs.clone());
            async move {
                // The emit comes in the middle of the waits.
                if i == 4 {
                    store.deliver(&[], &[event(&key, "1")], 10).await.expect("events can be emitted");
                } else {
                    let run = runs[if i > 4 { i - 1 } else { i }];
                    let turn = Turn { subscribe: vec![wait_for(&key, 0)], then: hang_up(0), ..Turn::new(run, 0) };
                    store.commit(executor, &[turn]).await.expect("an executor with a lease can commit");
                }
            }
        });
        join_all(parts).await;
        let claimed = b.claim(executor, 100).await;
        assert_eq!(claimed.len(), 8);
        assert!(claimed.iter().all(|run| run.inbox.iter().map(said).eq([(1, "1".to_owned())])));
    }
}

pub async fn an_end_and_an_emit_at_once_agree(b: &Bench) {
    let [first, second] = b.two().await;
    let executor = b.executor().await;
    for round in 0..12 {
        let key = format!("k{round}");
        let run = waiter(b, executor, &key, 0).await;
        let (turns, emits) = ([Turn { then: finish(), ..Turn::new(run, 0) }], [event(&key, "1")]);
        let (end, emit) = (first.commit(executor, &turns), second.deliver(&[], &emits, 10));
        let (ended, emitted) = join(end, emit).await;
        ended.expect("it ends");
        emitted.expect("events can be emitted");
        assert_eq!(b.send(run, fact("late")).await, SendOutcome::Ended(Status::Completed));
        let late = waiter(b, executor, &key, 0).await;
        assert_eq!(heard(b, executor, late).await, [(1, "1".into())]);
    }
    b.store().heartbeat(executor, LONG).await.expect("alive");
}
