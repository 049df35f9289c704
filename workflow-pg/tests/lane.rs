//! What a thread commits on a connection of its own.

mod support;

use std::time::Duration;

use support::{Harness, adds, fact, new_run};
use workflow_core::store::{Store, Then, TurnOutcome};
use workflow_core::{ExecutorId, StoreError};

#[tokio::test]
async fn lone_turns_are_committed() {
    let harness = Harness::migrated().await;
    let executor = harness.executor().await;
    let run = new_run(Some(executor));
    harness.store.create(std::slice::from_ref(&run), false).await.expect("creates");
    let mut lane = harness.store.lane().expect("has one");
    let committed = lane.commit(executor, &adds(run.id, 0)).await.expect("commits").expect("is written");
    assert_eq!(committed.turns, [TurnOutcome::Done]);
    let mut end = adds(run.id, 1);
    end.then = Then::Finish { status: workflow_core::store::Status::Completed, output: fact("end").payload };
    lane.commit(executor, &end).await.expect("commits").expect("is written");
    assert_eq!(harness.store.journal(run.id, 0, 10).await.expect("reads").len(), 2);
    let error = lane.commit(executor, &adds(run.id, 1)).await.expect_err("is there");
    assert!(matches!(error, StoreError::PositionTaken { .. }), "{error}");
}

#[tokio::test]
async fn what_is_refused_is_left_to_the_store() {
    let harness = Harness::migrated().await;
    let executor = harness.executor().await;
    let run = new_run(Some(executor));
    harness.store.create(std::slice::from_ref(&run), false).await.expect("creates");
    let mut lane = harness.store.lane().expect("has one");

    let mut early = adds(run.id, 0);
    early.not_before = Some(workflow_core::Timestamp::MAX_UTC);
    let committed = lane.commit(executor, &early).await.expect("no error");
    assert!(committed.is_none(), "{committed:?}");

    let mut starts = adds(run.id, 0);
    starts.starts.push(new_run(None));
    assert!(lane.commit(executor, &starts).await.expect("no error").is_none());

    // A run of somebody else's can't be given away.
    let mut leaves = adds(run.id, 0);
    leaves.then = Then::HangUp { seen: 0, wake: workflow_core::store::Wake { at: None, after: Some(Duration::ZERO) } };
    let other = harness.executor().await;
    assert!(lane.commit(other, &leaves).await.expect("no error").is_none());

    let error = lane.commit(ExecutorId::generate(), &adds(run.id, 0)).await.expect_err("nobody has registered it");
    assert!(matches!(error, StoreError::LeaseLost(_)), "{error}");
    assert_eq!(harness.store.journal(run.id, 0, 10).await.expect("reads").len(), 0);
}

#[tokio::test]
async fn a_lost_connection_is_told_and_replaced() {
    let harness = Harness::migrated().await;
    let executor = harness.executor().await;
    let run = new_run(Some(executor));
    harness.store.create(std::slice::from_ref(&run), false).await.expect("creates");
    let mut lane = harness.store.lane().expect("has one");
    lane.commit(executor, &adds(run.id, 0)).await.expect("commits").expect("is written");
    let others = harness.database.pool(1).await.expect("connects");
    let end = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a \
         WHERE a.datname = current_database() AND a.query LIKE '%Adds one entry%' AND a.pid <> pg_backend_pid()";
    sqlx::query(end).execute(&others).await.expect("disconnects");
    let error = lane.commit(executor, &adds(run.id, 1)).await.expect_err("is cut");
    assert!(matches!(error, StoreError::Unknown(_) | StoreError::Unavailable(_)), "{error}");
    lane.commit(executor, &adds(run.id, 1)).await.expect("connects again").expect("is written");
    assert_eq!(harness.store.journal(run.id, 0, 10).await.expect("reads").len(), 2);
}
