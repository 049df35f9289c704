//! What a thread commits on a connection of its own.

mod support;

use std::time::Duration;

use support::{Harness, adds, fact, new_run};
use workflow_core::store::{
    CreateOutcome, NewMessage, NewRun, RunRecord, RunRef, Status, Store, Then, Turn, TurnOutcome,
};
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
async fn lone_runs_are_created() {
    let harness = Harness::migrated().await;
    let executor = harness.executor().await;
    let mut lane = harness.store.lane().expect("has one");
    let run = NewRun { invoke_id: Some("order 1".to_owned()), ..new_run(Some(executor)) };
    let since = lane.create(&run).await.expect("creates").expect("is written");
    let record = harness.store.find(&[RunRef::Id(run.id)]).await.expect("reads").remove(0).expect("is there");
    assert_eq!((record.status, record.owner, record.created_at), (Status::Running, Some(executor), since));
    let others = NewRun { invoke_id: None, ..new_run(Some(executor)) };
    let outcomes = harness.store.create(std::slice::from_ref(&others), false).await.expect("creates");
    assert!(matches!(&outcomes[..], [CreateOutcome::Created(created)] if created.owned), "{outcomes:?}");
    let mut other = harness.store.find(&[RunRef::Id(others.id)]).await.expect("reads").remove(0).expect("is there");
    (other.id, other.invoke_id, other.created_at) = (record.id, record.invoke_id.clone(), record.created_at);
    assert_eq!(record, other, "a lone run is like any other");

    assert_eq!(lane.create(&run).await.expect("no error"), None, "it is there");
    let same = NewRun { invoke_id: run.invoke_id.clone(), ..new_run(Some(executor)) };
    assert_eq!(lane.create(&same).await.expect("no error"), None, "its id is taken");
    let strangers = new_run(Some(ExecutorId::generate()));
    let delayed = NewRun { delay: Some(Duration::ZERO), ..new_run(Some(executor)) };
    for refused in [strangers, delayed, new_run(None)] {
        assert_eq!(lane.create(&refused).await.expect("no error"), None);
        assert_eq!(harness.store.find(&[RunRef::Id(refused.id)]).await.expect("reads"), [None]);
    }
}

#[tokio::test]
async fn a_lone_end_leaves_nothing_behind() {
    let harness = Harness::migrated().await;
    let executor = harness.executor().await;
    let runs = [new_run(Some(executor)), new_run(Some(executor)), new_run(Some(executor))];
    harness.store.create(&runs, false).await.expect("creates");
    let ids = runs.each_ref().map(|run| run.id);
    let ends = ids.map(|run| {
        let mut end = Turn::new(run, 0);
        end.then = Then::Finish { status: Status::Failed, output: fact("end").payload };
        end
    });
    let sends = ids.map(|to| NewMessage { to, fact: fact("told") });
    harness.store.deliver(&sends, &[], 10).await.expect("sends");
    let mut lane = harness.store.lane().expect("has one");
    let other = harness.executor().await;
    assert_eq!(lane.commit(other, &ends[0]).await.expect("no error"), None, "it is somebody else's");
    let committed = lane.commit(executor, &ends[0]).await.expect("commits").expect("is written");
    assert_eq!(committed.turns, [TurnOutcome::Done]);
    assert!(committed.lease_left.is_some());
    assert_eq!(lane.commit(executor, &ends[0]).await.expect("no error"), None, "once is enough");
    harness.store.commit(executor, &ends[1..]).await.expect("commits");
    let [alone, together, _] = ids.map(RunRef::Id);
    let found = harness.store.find(&[alone, together]).await.expect("reads");
    let [Some(alone), Some(together)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(alone.finished_at, Some(committed.now));
    let like =
        RunRecord { id: alone.id, created_at: alone.created_at, finished_at: alone.finished_at, ..together.clone() };
    assert_eq!(*alone, like, "a lone end is like any other");
    assert_eq!(harness.store.mail(executor, 10).await.expect("reads"), []);
    let left = "SELECT count(*) FROM workflow.inbox";
    let left: i64 = sqlx::query_scalar(left).fetch_one(harness.store.pool()).await.expect("counts");
    assert_eq!(left, 0);
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
