//! Cases of creating runs.

use std::time::Duration;

use super::bench::{Bench, LONG, MANY, QUEUE, SHORT, WORKFLOW, json, new_run, with_input};
use crate::ids::{ExecutorId, RunId};
use crate::journal::OpKey;
use crate::payload::Payload;
use crate::store::{CreateOutcome, Created, ListFilter, NewRun, ParentRef, RunRef, Status, StoreError};

pub async fn create_makes_a_ready_run(b: &Bench) {
    let before = b.now().await;
    let new = NewRun { invoke_id: Some("order-1".into()), ..new_run() };
    let created = b.created(new.clone()).await;
    assert_eq!((created.id, created.owned), (new.id, false));
    assert!(created.created_at >= before && created.created_at <= b.now().await);
    let record = b.record(new.id).await;
    assert_eq!(record.id, new.id);
    assert_eq!(record.invoke_id.as_deref(), Some("order-1"));
    assert_eq!((record.workflow.as_str(), record.version), WORKFLOW);
    assert_eq!(record.queue, QUEUE);
    assert_eq!(record.status, Status::Ready);
    assert_eq!(record.input, new.input);
    assert_eq!((record.output, record.parked, record.parent, record.depth), (None, None, None, 0));
    assert_eq!((record.owner, record.wake_at, record.crashes), (None, None, 0));
    assert_eq!((record.created_at, record.finished_at), (created.created_at, None));
}

pub async fn create_answers_in_order(b: &Bench) {
    let existing = new_run();
    b.created(existing.clone()).await;
    // Not in the order of their ids, which is the order of locks.
    let mut batch: Vec<_> = (0..20).map(|_| new_run()).collect();
    batch.reverse();
    batch.insert(7, existing.clone());
    let outcomes = b.store().create(&batch, false).await.expect("runs can be created");
    assert_eq!(outcomes.len(), batch.len());
    for (run, outcome) in batch.iter().zip(&outcomes) {
        match outcome {
            CreateOutcome::Created(Created { id, .. }) => assert!(*id == run.id && run.id != existing.id),
            other => assert_eq!((other, run.id), (&CreateOutcome::Existing(existing.id), existing.id)),
        }
    }
}

pub async fn create_of_nothing_is_fine(b: &Bench) {
    assert_eq!(b.store().create(&[], true).await.expect("nothing to do"), []);
    assert_eq!(b.store().create(&[], false).await.expect("nothing to do"), []);
}

pub async fn create_is_idempotent_by_id(b: &Bench) {
    let new = new_run();
    b.created(new.clone()).await;
    let again = NewRun { version: 2, queue: "another".into(), ..new.clone() };
    assert_eq!(b.create(again).await, CreateOutcome::Existing(new.id));
    let record = b.record(new.id).await;
    assert_eq!((record.version, record.queue.as_str()), (new.version, QUEUE), "the first one stays as it is");
    assert_eq!(count(b).await, 1);
}

pub async fn create_is_idempotent_by_invoke_id(b: &Bench) {
    let new = NewRun { invoke_id: Some("order-1".into()), ..new_run() };
    b.created(new.clone()).await;
    let again = NewRun { id: RunId::generate(), ..new.clone() };
    assert_eq!(b.create(again).await, CreateOutcome::Existing(new.id));
    assert_eq!(count(b).await, 1);
}

pub async fn create_is_idempotent_after_the_run_ended(b: &Bench) {
    let executor = b.executor().await;
    let new = NewRun { invoke_id: Some("order-1".into()), owner: Some(executor), ..new_run() };
    b.created(new.clone()).await;
    b.finish(executor, new.id).await;
    let again = NewRun { id: RunId::generate(), ..new.clone() };
    assert_eq!(b.create(again).await, CreateOutcome::Existing(new.id));
    assert_eq!(b.record(new.id).await.status, Status::Completed);
}

pub async fn create_refuses_the_same_id_with_another_input(b: &Bench) {
    let new = new_run();
    b.created(new.clone()).await;
    let other = with_input(new.clone(), json("2"));
    assert_eq!(b.create(other).await, CreateOutcome::Conflict(new.id));
    assert_eq!(b.record(new.id).await.input, new.input);
}

pub async fn create_refuses_the_same_id_with_another_workflow(b: &Bench) {
    let new = new_run();
    b.created(new.clone()).await;
    let other = NewRun { workflow: "refund".into(), ..new.clone() };
    assert_eq!(b.create(other).await, CreateOutcome::Conflict(new.id));
}

pub async fn create_refuses_the_same_invoke_id_with_another_input(b: &Bench) {
    let new = NewRun { invoke_id: Some("order-1".into()), ..new_run() };
    b.created(new.clone()).await;
    let other = NewRun { invoke_id: new.invoke_id.clone(), ..with_input(new_run(), json("2")) };
    assert_eq!(b.create(other.clone()).await, CreateOutcome::Conflict(new.id));
    assert_eq!(b.find(RunRef::Id(other.id)).await, None);
    let other = NewRun { id: RunId::generate(), workflow: "refund".into(), ..new.clone() };
    assert_eq!(b.create(other).await, CreateOutcome::Conflict(new.id));
}

pub async fn create_compares_digests_and_not_bytes(b: &Bench) {
    let new = with_input(new_run(), json(r#"{"a":1,"b":2}"#));
    b.created(new.clone()).await;
    let same = with_input(new.clone(), json(r#"{ "b":2, "a":1 }"#));
    assert_eq!(b.create(same).await, CreateOutcome::Existing(new.id));
}

pub async fn create_looks_at_the_id_before_the_invoke_id(b: &Bench) {
    let by_id = new_run();
    let by_invoke_id = NewRun { invoke_id: Some("order-1".into()), ..new_run() };
    b.created(by_id.clone()).await;
    b.created(by_invoke_id.clone()).await;
    let both = NewRun { invoke_id: by_invoke_id.invoke_id.clone(), ..by_id.clone() };
    assert_eq!(b.create(both.clone()).await, CreateOutcome::Existing(by_id.id));
    let other = with_input(both, json("2"));
    assert_eq!(b.create(other).await, CreateOutcome::Conflict(by_id.id));
}

pub async fn create_sees_duplicates_within_the_batch(b: &Bench) {
    let first = NewRun { invoke_id: Some("order-1".into()), ..new_run() };
    let same_invoke_id = NewRun { id: RunId::generate(), ..first.clone() };
    let batch = [first.clone(), first.clone(), same_invoke_id];
    let outcomes = b.store().create(&batch, true).await.expect("duplicates are no conflict");
    assert!(matches!(&outcomes[0], CreateOutcome::Created(c) if c.id == first.id), "{outcomes:?}");
    assert_eq!(outcomes[1..], [CreateOutcome::Existing(first.id), CreateOutcome::Existing(first.id)]);
    let plain = new_run();
    let outcomes = b.store().create(&[plain.clone(), plain.clone()], true).await.expect("duplicates are no conflict");
    assert!(matches!(&outcomes[0], CreateOutcome::Created(c) if c.id == plain.id), "{outcomes:?}");
    assert_eq!(outcomes[1], CreateOutcome::Existing(plain.id));
    assert_eq!(count(b).await, 2);
}

pub async fn create_sees_conflicts_within_the_batch(b: &Bench) {
    let first = NewRun { invoke_id: Some("order-1".into()), ..new_run() };
    let other = with_input(NewRun { id: RunId::generate(), ..first.clone() }, json("2"));
    let same_id = with_input(first.clone(), json("3"));
    let outcomes = b.store().create(&[first.clone(), other, same_id], false).await.expect("runs can be created");
    assert_eq!(outcomes[1..], [CreateOutcome::Conflict(first.id), CreateOutcome::Conflict(first.id)]);
    assert_eq!(count(b).await, 1);
}

pub async fn create_goes_on_past_a_conflict_unless_atomic(b: &Bench) {
    let existing = new_run();
    b.created(existing.clone()).await;
    let batch = [new_run(), with_input(existing.clone(), json("2")), new_run()];
    let outcomes = b.store().create(&batch, false).await.expect("a conflict is an answer");
    assert_eq!(outcomes[1], CreateOutcome::Conflict(existing.id));
    for run in [&batch[0], &batch[2]] {
        assert_eq!(b.record(run.id).await.status, Status::Ready);
    }
}

pub async fn create_atomic_creates_nothing_on_conflict(b: &Bench) {
    let taken = new_run();
    b.created(taken.clone()).await;
    let batch = [new_run(), new_run(), with_input(taken.clone(), json("2")), new_run()];
    match b.store().create(&batch, true).await.expect_err("one is in conflict") {
        StoreError::Conflict { index, id, existing } => {
            assert_eq!((index, id, existing), (2, taken.id.to_string(), taken.id));
        }
        other => panic!("a conflict, not {other:?}"),
    }
    assert_eq!(count(b).await, 1);
    assert_eq!(b.store().create(&batch[..2], true).await.expect("no conflict").len(), 2);
}

pub async fn create_atomic_names_the_invoke_id_in_conflict(b: &Bench) {
    let taken = NewRun { invoke_id: Some("order-1".into()), ..new_run() };
    b.created(taken.clone()).await;
    let other = NewRun { id: RunId::generate(), workflow: "refund".into(), ..taken.clone() };
    match b.store().create(&[new_run(), other], true).await.expect_err("one is in conflict") {
        StoreError::Conflict { index, id, existing } => {
            assert_eq!((index, id.as_str(), existing), (1, "order-1", taken.id));
        }
        other => panic!("a conflict, not {other:?}"),
    }
    assert_eq!(count(b).await, 1);
}

pub async fn create_with_a_delay_waits(b: &Bench) {
    let created = b.created(NewRun { delay: Some(LONG), ..new_run() }).await;
    let record = b.record(created.id).await;
    assert_eq!(record.status, Status::Waiting);
    assert_eq!(record.wake_at, Some(created.created_at + LONG));
}

pub async fn create_with_the_longest_delay_is_never_due(b: &Bench) {
    let executor = b.executor().await;
    for delay in [Duration::MAX, Duration::from_secs(u64::MAX / 1_000_000), LONG * 10_000_000] {
        let id = b.created(NewRun { delay: Some(delay), retain: Duration::MAX, ..new_run() }).await.id;
        assert_eq!(b.record(id).await.status, Status::Waiting);
    }
    assert_eq!(b.claim(executor, 10).await, []);
}

pub async fn create_with_an_owner_is_running(b: &Bench) {
    let (owner, other) = (b.executor().await, b.executor().await);
    let created = b.created(NewRun { owner: Some(owner), ..new_run() }).await;
    assert!(created.owned);
    let record = b.record(created.id).await;
    assert_eq!((record.status, record.owner), (Status::Running, Some(owner)));
    assert_eq!(b.claim(other, 10).await, [], "it is taken");
}

pub async fn create_with_an_expired_owner_is_ready(b: &Bench) {
    let owner = b.expired().await;
    let created = b.created(NewRun { owner: Some(owner), ..new_run() }).await;
    assert!(!created.owned);
    let record = b.record(created.id).await;
    assert_eq!((record.status, record.owner), (Status::Ready, None));
}

pub async fn create_with_an_unknown_owner_is_ready(b: &Bench) {
    let created = b.created(NewRun { owner: Some(ExecutorId::generate()), ..new_run() }).await;
    assert!(!created.owned);
    assert_eq!(b.record(created.id).await.status, Status::Ready);
}

pub async fn create_with_owner_and_delay_waits(b: &Bench) {
    let owner = b.executor().await;
    let created = b.created(NewRun { owner: Some(owner), delay: Some(SHORT), ..new_run() }).await;
    assert!(!created.owned);
    let record = b.record(created.id).await;
    assert_eq!((record.status, record.owner), (Status::Waiting, None));
    b.outlast().await;
    b.claim_one(owner, created.id).await;
}

pub async fn create_keeps_parent_and_depth(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    let parent = ParentRef { run, key: OpKey::new("invoke", "scope/charge", 3) };
    let child = b.created(NewRun { parent: Some(parent.clone()), depth: 7, ..new_run() }).await.id;
    let record = b.record(child).await;
    assert_eq!((record.parent.as_ref(), record.depth), (Some(&parent), 7));
    let claimed = b.claim_one(executor, child).await;
    assert_eq!((claimed.parent.as_ref(), claimed.depth), (Some(&parent), 7));
}

pub async fn create_keeps_a_large_payload(b: &Bench) {
    let executor = b.executor().await;
    // Not a repetition: what is compressed or moved out of line has to come back the same.
    let bytes: Vec<u8> = (0..2 * 1024 * 1024u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let new = with_input(new_run(), Payload { codec: 1, bytes });
    b.created(new.clone()).await;
    assert!(b.record(new.id).await.input == new.input);
    assert!(b.claim_one(executor, new.id).await.input == new.input);
}

pub async fn create_keeps_every_byte_and_codec(b: &Bench) {
    let every_byte: Vec<u8> = (0..=255).collect();
    for codec in [0, 1, 77, i16::MIN, i16::MAX] {
        for bytes in [Vec::new(), vec![0], every_byte.clone()] {
            let new = with_input(new_run(), Payload { codec, bytes });
            b.created(new.clone()).await;
            assert!(b.record(new.id).await.input == new.input, "{:?}", new.input);
        }
    }
}

pub async fn create_keeps_unicode_ids_and_long_names(b: &Bench) {
    for id in ["Bestellung Nr. 5 – ß", "注文-1", "🦀", "a'b\"c\\d;--", "%_*", "İ", &"é".repeat(100)] {
        let new = NewRun { invoke_id: Some(id.to_owned()), ..new_run() };
        b.created(new.clone()).await;
        let record = b.find(RunRef::InvokeId(id.to_owned())).await.expect("found by its invoke id");
        assert_eq!((record.id, record.invoke_id.as_deref()), (new.id, Some(id)));
    }
    let long = "x".repeat(200);
    for version in [i32::MIN, 0, i32::MAX] {
        let new = NewRun { workflow: long.clone(), queue: long.clone(), version, ..new_run() };
        b.created(new.clone()).await;
        let record = b.record(new.id).await;
        assert_eq!((record.workflow, record.queue, record.version), (long.clone(), long.clone(), version));
    }
}

pub(super) async fn count(b: &Bench) -> usize {
    let filter = ListFilter { limit: MANY as u32, ..ListFilter::default() };
    b.store().list(&filter).await.expect("runs can be listed").len()
}
