//! An executor that lost its lease writes nothing, and batches that meet don't block each other for good.

#![expect(clippy::disallowed_methods, reason = "time limits of the server run out in real time")]

mod support;

use std::time::Duration;

use support::{Harness, LONG, adds, fact, new_run};
use workflow_core::store::{Claim, NewMessage, Status, Store, Then, Turn, TurnOutcome, Wake};
use workflow_core::{ExecutorId, Payload, RunId, StoreError};

async fn owned(harness: &Harness, executor: ExecutorId) -> RunId {
    let run = new_run(Some(executor));
    harness.store.create(std::slice::from_ref(&run), true).await.expect("creates");
    run.id
}

#[tokio::test]
async fn a_writer_frozen_in_an_open_transaction_commits_nothing_after_a_takeover() {
    let harness = Harness::migrated().await;
    let store = &harness.store;
    let executor = ExecutorId::generate();
    store.register(executor, "frozen", Duration::from_millis(500)).await.expect("registers");
    let run = owned(&harness, executor).await;
    // The writer holds the fence and has written, but not committed, when it freezes.
    let mut frozen =
        store.pool().begin_with("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 3000").await.expect("begins");
    let fence = "SELECT slot FROM workflow.executor_writers WHERE executor_id = $1 AND slot = 3 FOR KEY SHARE";
    sqlx::query(fence).bind(executor.0).fetch_all(&mut *frozen).await.expect("locks");
    let insert =
        "INSERT INTO workflow.journal VALUES ($1, 0, 'step', 'a', 1, 'ok', 0, '1', NULL, 1, clock_timestamp())";
    sqlx::query(insert).bind(run.0).execute(&mut *frozen).await.expect("writes");
    tokio::time::sleep(Duration::from_millis(600)).await;
    // Nobody takes over while the transaction is open; the server ends it, and then somebody does.
    let mut rescued = store.rescue(3, 100).await.expect("rescues");
    for _ in 0..10 {
        if !rescued.executors.is_empty() {
            break;
        }
        assert!(rescued.runs == 0);
        rescued = store.rescue(3, 100).await.expect("rescues");
    }
    assert_eq!((rescued.executors, rescued.runs), (vec![executor], 1));
    assert!(frozen.commit().await.is_err());
    assert_eq!(store.journal(run, 0, 10).await.expect("reads"), []);
    let refused = store.commit(executor, &[adds(run, 0)]).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost(id)) if id == executor), "{refused:?}");
}

#[tokio::test]
async fn heartbeats_do_not_wait_for_commits() {
    let harness = Harness::migrated().await;
    let executor = harness.executor().await;
    let mut open = harness.store.pool().begin().await.expect("begins");
    let fence = "SELECT slot FROM workflow.executor_writers WHERE executor_id = $1 FOR KEY SHARE";
    sqlx::query(fence).bind(executor.0).fetch_all(&mut *open).await.expect("locks");
    harness.store.heartbeat(executor, LONG).await.expect("renews at once");
    open.rollback().await.expect("rolls back");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_send_to_each_other_do_not_deadlock() {
    const RUNS: usize = 8;
    let harness = Harness::migrated().await;
    let executor = harness.executor().await;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(owned(&harness, executor).await);
    }
    let tasks: Vec<_> = (0..RUNS)
        .map(|me| {
            let (store, runs) = (harness.store.clone(), runs.clone());
            tokio::spawn(async move {
                for position in 0..30 {
                    let message = |to: &RunId| NewMessage { to: *to, fact: fact("hello") };
                    let sends: Vec<_> = runs.iter().rev().map(message).collect();
                    if (me + position) % 3 == 0 {
                        store.deliver(&sends, &[], 100).await.expect("delivers");
                    } else {
                        let at = u32::try_from(position).expect("is small");
                        let turn = Turn { sends, ..adds(runs[me], at) };
                        store.commit(executor, &[turn]).await.expect("commits");
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("ends well");
    }
    let mail = harness.store.mail(executor, 10_000).await.expect("reads");
    for run in runs {
        let seqs: Vec<_> = mail.iter().filter(|m| m.run == run).map(|m| m.message.seq).collect();
        assert_eq!(seqs, (1..=30 * RUNS as u64).collect::<Vec<_>>());
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let count: i64 = sqlx::query_scalar(deadlocks).fetch_one(harness.store.pool()).await.expect("counts");
    assert_eq!(count, 0);
}

#[tokio::test]
async fn a_large_batch_of_all_kinds_goes_through_in_one_statement() {
    let harness = Harness::migrated().await;
    let executor = harness.executor().await;
    let new: Vec<_> = (0..1_000).map(|_| new_run(Some(executor))).collect();
    harness.store.create(&new, true).await.expect("creates");
    let finish = || Then::Finish { status: Status::Completed, output: Payload::json(&1).expect("encodes") };
    let turns: Vec<_> = new
        .iter()
        .enumerate()
        .map(|(n, run)| {
            let wake = Wake { at: None, after: Some(LONG) };
            let then = if n % 2 == 0 { finish() } else { Then::HangUp { seen: 0, wake } };
            let to = new[(n + 1) % 1_000].id;
            let sends = if n % 4 == 0 { vec![NewMessage { to, fact: fact("done") }] } else { Vec::new() };
            Turn { sends, then, ..adds(run.id, 0) }
        })
        .collect();
    let committed = harness.store.commit(executor, &turns).await.expect("commits");
    assert!(committed.turns.iter().all(|t| *t == TurnOutcome::Done));
    let claim =
        Claim { executor, queues: vec![("default".to_owned(), 1_000)], workflows: vec![("order".to_owned(), 1)] };
    let claimed = harness.store.claim(&claim).await.expect("claims");
    // The receivers of a message didn't fall asleep.
    assert_eq!(claimed.runs.len(), 250);
    assert!(claimed.runs.iter().all(|run| run.inbox.len() == 1 && run.journal.as_ref().is_ok_and(|j| j.len() == 1)));
}

#[tokio::test]
async fn a_corrupt_journal_concerns_one_run() {
    let harness = Harness::migrated().await;
    let executor = harness.executor().await;
    let breaks = [
        "DELETE FROM workflow.journal WHERE run_id = $1 AND position = 0",
        "UPDATE workflow.journal SET phase = 'odd' WHERE run_id = $1 AND position = 1",
        "UPDATE workflow.journal SET version = 99 WHERE run_id = $1 AND position = 1",
        "UPDATE workflow.journal SET nth = -1 WHERE run_id = $1 AND position = 0",
        "SELECT $1::uuid",
    ];
    let mut runs = Vec::new();
    for sql in breaks {
        let run = owned(&harness, executor).await;
        let turn = Turn { entries: vec![fact("a"), fact("b")], ..Turn::new(run, 0) };
        harness.store.commit(executor, &[turn]).await.expect("commits");
        sqlx::query(sql).bind(run.0).execute(harness.store.pool()).await.expect("breaks");
        runs.push(run);
    }
    harness.store.close(executor).await.expect("closes");
    let executor = harness.executor().await;
    let claim = Claim { executor, queues: vec![("default".to_owned(), 10)], workflows: vec![("order".to_owned(), 1)] };
    let claimed = harness.store.claim(&claim).await.expect("claims");
    assert_eq!(claimed.runs.len(), 5);
    for run in claimed.runs {
        assert_eq!(run.journal.is_ok(), run.id == runs[4], "{:?}", run.journal);
    }
}
