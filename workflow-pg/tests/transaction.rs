//! The user's transactions commit with the journal, or not at all; and wake-ups cross processes.

#![expect(clippy::disallowed_methods, reason = "time limits of the server run out in real time")]

mod support;

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use support::{Harness, LONG, adds, fact, new_run};
use uuid::Uuid;
use workflow_core::Payload;
use workflow_core::StoreError;
use workflow_core::store::{CreateOutcome, NewEvent, RunRef, Store, Wakeup};
use workflow_pg::{PgOptions, PgStore, create_in, emit_in};

#[tokio::test]
async fn rows_and_entry_commit_together() {
    let harness = Harness::migrated().await;
    let store = &harness.store;
    let executor = harness.executor().await;
    let run = new_run(Some(executor));
    store.create(std::slice::from_ref(&run), true).await.expect("creates");
    sqlx::query("CREATE TABLE effects (n integer)").execute(store.pool()).await.expect("creates");
    let add = "INSERT INTO effects VALUES (1)";
    let mut tx = store.begin_user(LONG).await.expect("begins");
    sqlx::query(add).execute(&mut *tx).await.expect("adds");
    store.commit_user(tx, executor, run.id, 0, &fact("pay")).await.expect("commits");
    // The same position again, and a run that isn't the executor's: rolled back.
    let mut tx = store.begin_user(LONG).await.expect("begins");
    sqlx::query(add).execute(&mut *tx).await.expect("adds");
    let taken = store.commit_user(tx, executor, run.id, 0, &fact("pay")).await;
    assert!(matches!(taken, Err(StoreError::PositionTaken { position: 0, run: r }) if r == run.id), "{taken:?}");
    let other = harness.executor().await;
    let mut tx = store.begin_user(LONG).await.expect("begins");
    sqlx::query(add).execute(&mut *tx).await.expect("adds");
    let lost = store.commit_user(tx, other, run.id, 1, &fact("pay")).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost(id)) if id == other), "{lost:?}");
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM effects").fetch_one(store.pool()).await.expect("counts");
    assert_eq!((count, store.journal(run.id, 0, 9).await.expect("reads").len()), (1, 1));
}

#[tokio::test]
async fn a_user_transaction_that_takes_too_long_is_ended() {
    let harness = Harness::migrated().await;
    let executor = harness.executor().await;
    let run = new_run(Some(executor));
    harness.store.create(std::slice::from_ref(&run), true).await.expect("creates");
    let tx = harness.store.begin_user(Duration::from_millis(100)).await.expect("begins");
    tokio::time::sleep(Duration::from_millis(400)).await;
    let ended = harness.store.commit_user(tx, executor, run.id, 0, &fact("pay")).await;
    assert!(matches!(ended, Err(StoreError::Contention(_) | StoreError::Unavailable(_))), "{ended:?}");
    harness.store.commit(executor, &[adds(run.id, 0)]).await.expect("the position is free");
}

#[tokio::test]
async fn runs_and_events_exist_when_the_users_transaction_is_committed() {
    let harness = Harness::migrated().await;
    let store = &harness.store;
    let run = new_run(None);
    let payload = Payload::json(&1).expect("encodes");
    let event = NewEvent { id: Uuid::now_v7(), name: "paid".to_owned(), key: "7".to_owned(), payload, retain: LONG };
    for commit in [false, true] {
        let mut tx = store.pool().begin().await.expect("begins");
        let runs = [run.clone(), run.clone()];
        let made = create_in(&mut tx, &runs).await.expect("creates");
        assert!(
            matches!(made[..], [CreateOutcome::Created(_), CreateOutcome::Existing(id)] if id == run.id),
            "{made:?}"
        );
        emit_in(&mut tx, std::slice::from_ref(&event), 1).await.expect("emits");
        let another = NewEvent { id: Uuid::now_v7(), ..event.clone() };
        assert!(matches!(emit_in(&mut tx, &[another], 1).await, Err(StoreError::BufferFull { limit: 1, .. })));
        if commit { tx.commit().await } else { tx.rollback().await }.expect("ends");
        let found = store.find(&[RunRef::Id(run.id)]).await.expect("finds");
        assert_eq!(found[0].is_some(), commit);
    }
}

#[tokio::test]
async fn wake_ups_reach_another_process() {
    let harness = Harness::migrated().await;
    let another = harness.another().await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (sink, bell) = (Arc::clone(&heard), Arc::new(tokio::sync::Notify::new()));
    let ring = Arc::clone(&bell);
    let _guard = another.watch(Arc::new(move |wakeup| {
        sink.lock().expect("isn't poisoned").push(wakeup);
        ring.notify_one();
    }));
    let ready = Wakeup::Ready("default".to_owned());
    // The listener may still be connecting: whatever comes before is reported as lost.
    let heard_of_it = async {
        loop {
            harness.store.create(&[new_run(None)], false).await.expect("creates");
            let _ = tokio::time::timeout(Duration::from_millis(200), bell.notified()).await;
            if heard.lock().expect("isn't poisoned").contains(&ready) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), heard_of_it).await.expect("hears of it");
    assert!(heard.lock().expect("isn't poisoned").contains(&Wakeup::Lost));
}

/// Whoever takes a run over drops its transactions wherever they are.
#[tokio::test]
async fn a_begin_that_is_given_up_leaves_no_transaction_behind() {
    let harness = Harness::migrated().await;
    let options = PgOptions::new(harness.database.url()).pool_size(1);
    let store = PgStore::connect_with(options).await.expect("connects");
    sqlx::query("CREATE TABLE effects (n integer)").execute(store.pool()).await.expect("creates");
    for polls in 1..=4_i32 {
        let mut begin = Box::pin(store.begin_user(LONG));
        for _ in 0..polls {
            // As far as it comes without waiting, and given up there.
            if poll_fn(|cx| Poll::Ready(begin.as_mut().poll(cx).is_ready())).await {
                break;
            }
        }
        drop(begin);
        sqlx::query("INSERT INTO effects VALUES ($1)").bind(polls).execute(store.pool()).await.expect("adds");
        let seen: i64 =
            sqlx::query_scalar("SELECT count(*) FROM effects").fetch_one(harness.store.pool()).await.expect("counts");
        assert_eq!(seen, i64::from(polls), "what was acknowledged isn't there");
    }
}
