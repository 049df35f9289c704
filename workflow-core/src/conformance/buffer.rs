//! Cases of buffered events: their ids and numbers, the limit, and the end of their retention.

use std::time::Duration;

use futures::future::join_all;

use super::bench::{Bench, SHORT, event, fact, wait_for};
use super::event::{heard, said, subscribe, waiter};
use crate::journal::OpKey;
use crate::store::{NewEvent, NewMessage, StoreError, Subscription, Turn};

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
