//! Cases of what becomes of a run after a turn: it ends, or is parked and goes on.

use super::bench::{Bench, LONG, WORKFLOW, fact, finish, hang_up, hang_up_for, json, names, new_run, park, turn};
use crate::ids::{ExecutorId, RunId};
use crate::payload::Payload;
use crate::store::{NewRun, ParkReason, Resume, SendOutcome, Status, Then, Turn, TurnOutcome};

pub async fn finish_records_status_and_output(b: &Bench) {
    let executor = b.executor().await;
    let outputs = [json("{\"paid\":true}"), Payload { codec: 1, bytes: (0..=255).collect() }, Payload::default()];
    for (status, output) in [Status::Completed, Status::Failed, Status::Cancelled].into_iter().zip(outputs) {
        let run = b.owned(executor).await;
        let then = Then::Finish { status, output: output.clone() };
        let committed = b.done(executor, Turn { then, ..turn(run, 0, &["a"]) }).await;
        let record = b.record(run).await;
        assert_eq!((record.status, record.output), (status, Some(output)));
        assert_eq!((record.finished_at, record.owner, record.wake_at), (Some(committed.now), None, None));
        assert_eq!(names(b.journal(run).await.iter().map(|e| &e.fact)), ["a"]);
    }
}

pub async fn an_ended_run_is_final(b: &Bench) {
    let (executor, other) = (b.executor().await, b.executor().await);
    let run = b.owned(executor).await;
    b.finish(executor, run).await;
    let before = b.record(run).await;
    b.tick().await;
    for executor in [executor, other] {
        let failed = Then::Finish { status: Status::Failed, output: json("1") };
        for then in [failed, finish(), hang_up(0), park("DIVERGED")] {
            let outcomes = b.commit(executor, &[Turn { then, ..turn(run, 0, &["late"]) }]).await.turns;
            assert_eq!(outcomes, [TurnOutcome::NotOwned]);
        }
    }
    assert_eq!(b.store().resume(&Resume::Runs(vec![run])).await.expect("nothing to do"), 0);
    assert_eq!(b.send(run, fact("late")).await, SendOutcome::Ended(Status::Completed));
    assert_eq!(b.claim(other, 10).await, []);
    assert_eq!(b.record(run).await, before);
    assert_eq!(b.journal(run).await, []);
}

pub async fn park_keeps_reason_journal_and_inbox(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    b.send(run, fact("x")).await;
    let message = "recorded: step \"charge\"\nasked: ß 🦀 'quoted' \\ %s\tsrc/main.rs:7".to_owned();
    let reason = ParkReason { code: "DIVERGED".to_owned(), message };
    b.done(executor, Turn { then: Then::Park(reason.clone()), ..turn(run, 0, &["a"]) }).await;
    let record = b.record(run).await;
    assert_eq!((record.status, record.owner, record.parked), (Status::Parked, None, Some(reason)));
    assert_eq!((record.output, record.finished_at), (None, None));
    assert_eq!(b.send(run, fact("y")).await, SendOutcome::Delivered);
    assert_eq!(b.record(run).await.status, Status::Parked, "a message doesn't mend it");
    assert_eq!(b.store().resume(&Resume::Runs(vec![run])).await.expect("it can be resumed"), 1);
    let claimed = b.claim_one(executor, run).await;
    assert_eq!(names(claimed.journal.expect("it can be read").iter().map(|e| &e.fact)), ["a"]);
    assert_eq!(names(claimed.inbox.iter().map(|m| &m.fact)), ["x", "y"]);
    assert_eq!(b.record(run).await.parked, None);
}

/// A parked run of this workflow.
async fn parked(b: &Bench, executor: ExecutorId, workflow: (&str, i32), code: &str) -> RunId {
    let new = NewRun { workflow: workflow.0.to_owned(), version: workflow.1, owner: Some(executor), ..new_run() };
    let run = b.created(new).await.id;
    b.done(executor, Turn { then: park(code), ..Turn::new(run, 0) }).await;
    run
}

pub async fn resume_makes_only_parked_runs_ready(b: &Bench) {
    let executor = b.executor().await;
    let [one, two] = [parked(b, executor, WORKFLOW, "DIVERGED").await, parked(b, executor, WORKFLOW, "DIVERGED").await];
    let [running, waiting, ended] = [b.owned(executor).await, b.owned(executor).await, b.owned(executor).await];
    b.hang_up(executor, waiting).await;
    b.finish(executor, ended).await;
    let which = Resume::Runs(vec![one, running, waiting, ended, RunId::generate()]);
    assert_eq!(b.store().resume(&which).await.expect("runs can be resumed"), 1);
    for (run, status) in [
        (one, Status::Ready),
        (two, Status::Parked),
        (running, Status::Running),
        (waiting, Status::Waiting),
        (ended, Status::Completed),
    ] {
        assert_eq!(b.record(run).await.status, status);
    }
    assert_eq!(b.store().resume(&which).await.expect("nothing to do"), 0);
}

pub async fn resume_chooses_by_code_and_workflow(b: &Bench) {
    let executor = b.executor().await;
    let fits = [
        parked(b, executor, ("a", 1), "DIVERGED").await,
        parked(b, executor, ("a", 1), "UNREADABLE").await,
        parked(b, executor, ("b", 2), "DIVERGED").await,
    ];
    let others = [
        parked(b, executor, ("a", 1), "POISONED").await,
        parked(b, executor, ("a", 2), "DIVERGED").await,
        parked(b, executor, ("b", 1), "DIVERGED").await,
    ];
    let which = |codes: &[&str], workflows: &[(&str, i32)]| Resume::Codes {
        codes: codes.iter().map(|c| (*c).to_owned()).collect(),
        workflows: workflows.iter().map(|(w, v)| ((*w).to_owned(), *v)).collect(),
    };
    let resume = async |which| b.store().resume(&which).await.expect("runs can be resumed");
    assert_eq!(resume(which(&[], &[("a", 1)])).await, 0);
    assert_eq!(resume(which(&["DIVERGED"], &[])).await, 0);
    assert_eq!(resume(which(&["DIVERGED", "UNREADABLE"], &[("a", 1), ("b", 2)])).await, 3);
    for run in fits {
        assert_eq!(b.record(run).await.status, Status::Ready);
    }
    for run in others {
        assert_eq!(b.record(run).await.status, Status::Parked);
    }
}

pub async fn a_large_batch_is_one_commit(b: &Bench) {
    let executor = b.executor().await;
    let new: Vec<_> = (0..2_000).map(|_| NewRun { owner: Some(executor), ..new_run() }).collect();
    assert_eq!(b.store().create(&new, true).await.expect("runs can be created").len(), 2_000);
    let turns: Vec<_> = new
        .iter()
        .enumerate()
        .map(|(i, run)| {
            let then = match i % 4 {
                0 => Then::Keep,
                1 => finish(),
                2 => hang_up_for(LONG),
                _ => park("DIVERGED"),
            };
            Turn { then, ..turn(run.id, 0, &["a", "b"]) }
        })
        .collect();
    let committed = b.commit(executor, &turns).await;
    assert!(committed.turns.iter().all(|o| *o == TurnOutcome::Done));
    for (i, status) in [Status::Running, Status::Completed, Status::Waiting, Status::Parked].into_iter().enumerate() {
        for run in [&new[i], &new[1_996 + i]] {
            assert_eq!(b.record(run.id).await.status, status);
            assert_eq!(b.journal(run.id).await.len(), 2);
        }
    }
}
