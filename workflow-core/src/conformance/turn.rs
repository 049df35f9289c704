//! Cases of what becomes of a run after a turn: it ends, hangs up, is parked, and goes on.

use std::time::Duration;

use futures::future::{join, join_all};

use super::bench::{
    Bench, LONG, SHORT, WORKFLOW, fact, finish, hang_up, hang_up_for, json, names, new_run, park, turn,
};
use crate::ids::{ExecutorId, RunId, Timestamp};
use crate::payload::Payload;
use crate::store::{
    NewRun, ParkReason, Resume, RunRecord, SendOutcome, Status, StoreError, Then, Turn, TurnOutcome, Wake,
};

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

pub async fn an_ended_run_ends_once_of_many(b: &Bench) {
    let stores = b.two().await;
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    let ends = (0..8u32).map(|i| {
        let (store, output) = (stores[i as usize % 2].clone(), json(&i.to_string()));
        let then = Then::Finish { status: Status::Completed, output };
        let turn = Turn { then, ..Turn::new(run, 0) };
        async move { store.commit(executor, &[turn]).await.expect("it has a lease").turns[0] }
    });
    let outcomes = join_all(ends).await;
    let done: Vec<_> = (0..).zip(&outcomes).filter(|(_, o)| **o == TurnOutcome::Done).map(|(i, _)| i).collect();
    let [winner] = done.as_slice() else { panic!("one ends it: {outcomes:?}") };
    assert_eq!(b.record(run).await.output, Some(json(&i32::to_string(winner))));
}

async fn hang(b: &Bench, at: Option<Timestamp>, after: Option<Duration>) -> (RunRecord, Timestamp) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    let then = Then::HangUp { seen: 0, wake: Wake { at, after } };
    let now = b.done(executor, Turn { then, ..turn(run, 0, &["a"]) }).await.now;
    (b.record(run).await, now)
}

pub async fn hang_up_gives_the_run_away(b: &Bench) {
    let executor = b.executor().await;
    let (record, _) = hang(b, None, None).await;
    assert_eq!((record.status, record.owner, record.wake_at), (Status::Waiting, None, None));
    assert_eq!(names(b.journal(record.id).await.iter().map(|e| &e.fact)), ["a"]);
    let late = Turn { then: finish(), ..turn(record.id, 1, &["late"]) };
    assert_eq!(b.commit(executor, &[late]).await.turns, [TurnOutcome::NotOwned]);
}

pub async fn hang_up_wakes_at_an_instant(b: &Bench) {
    let at = b.now().await + LONG;
    let (record, _) = hang(b, Some(at), None).await;
    assert_eq!((record.status, record.wake_at), (Status::Waiting, Some(at)));
}

pub async fn hang_up_wakes_after_a_while(b: &Bench) {
    let (record, now) = hang(b, None, Some(LONG)).await;
    assert_eq!((record.status, record.wake_at), (Status::Waiting, Some(now + LONG)));
}

pub async fn hang_up_wakes_at_the_earlier_of_both(b: &Bench) {
    let at = b.now().await + LONG * 10;
    let (record, now) = hang(b, Some(at), Some(LONG)).await;
    assert_eq!(record.wake_at, Some(now + LONG));
    let (record, _) = hang(b, Some(at), Some(LONG * 20)).await;
    assert_eq!(record.wake_at, Some(at));
}

pub async fn hang_up_until_the_past_is_due_at_once(b: &Bench) {
    let executor = b.executor().await;
    for (at, after) in [(Some(b.now().await - LONG), None), (None, Some(Duration::ZERO))] {
        let (record, _) = hang(b, at, after).await;
        b.claim_one(executor, record.id).await;
    }
}

pub async fn hang_up_for_the_longest_time_is_never_due(b: &Bench) {
    let executor = b.executor().await;
    for after in [Duration::MAX, Duration::from_secs(u64::MAX / 1_000_000), LONG * 10_000_000] {
        let (record, _) = hang(b, None, Some(after)).await;
        assert_eq!(record.status, Status::Waiting);
    }
    assert_eq!(b.claim(executor, 10).await, []);
    // The farthest of them is farther than an instant that is far.
    let at = b.now().await + LONG * 24 * 365 * 500;
    let (record, _) = hang(b, Some(at), Some(Duration::MAX)).await;
    assert_eq!(record.wake_at, Some(at));
}

pub async fn hang_up_with_unseen_mail_is_ready(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    b.send(run, fact("x")).await;
    b.send(run, fact("y")).await;
    let wake = Wake { at: None, after: Some(LONG) };
    b.done(executor, Turn { then: Then::HangUp { seen: 1, wake }, ..Turn::new(run, 0) }).await;
    let record = b.record(run).await;
    assert_eq!((record.status, record.owner, record.wake_at), (Status::Ready, None, None));
    let claimed = b.claim_one(executor, run).await;
    assert_eq!(names(claimed.inbox.iter().map(|m| &m.fact)), ["x", "y"]);
}

pub async fn hang_up_with_seen_mail_waits(b: &Bench) {
    let executor = b.executor().await;
    // What was seen need not be consumed, and what was consumed still counts as seen.
    for consumed in [0, 1, 2] {
        let run = b.owned(executor).await;
        b.send(run, fact("x")).await;
        b.send(run, fact("y")).await;
        b.done(executor, Turn { consumed, then: hang_up(2), ..Turn::new(run, 0) }).await;
        assert_eq!(b.record(run).await.status, Status::Waiting);
        b.send(run, fact("z")).await;
        let claimed = b.claim_one(executor, run).await;
        assert_eq!((claimed.mail, claimed.inbox.len() as u64), (3, 3 - consumed));
    }
}

pub async fn a_woken_run_can_hang_up_again(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    for round in 0..5u32 {
        b.done(executor, Turn { then: hang_up(u64::from(round)), ..turn(run, round, &["a"]) }).await;
        assert_eq!(b.record(run).await.status, Status::Waiting);
        b.send(run, fact("wake")).await;
        let claimed = b.claim_one(executor, run).await;
        assert_eq!((claimed.mail, claimed.inbox.len() as u32), (u64::from(round) + 1, round + 1));
    }
}

pub async fn a_message_takes_the_wake_time_away(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    b.done(executor, Turn { then: hang_up_for(LONG), ..Turn::new(run, 0) }).await;
    b.send(run, fact("wake")).await;
    let record = b.record(run).await;
    assert_eq!((record.status, record.wake_at), (Status::Ready, None));
    assert_eq!(b.store().heartbeat(executor, LONG).await.expect("alive").next_due, None);
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

pub async fn a_due_run_is_taken_over_by_another_executor(b: &Bench) {
    let (first, second) = (b.executor().await, b.executor().await);
    let run = b.owned(first).await;
    b.done(first, Turn { then: hang_up_for(SHORT), ..turn(run, 0, &["a"]) }).await;
    b.outlast().await;
    b.claim_one(second, run).await;
    let late = Turn { then: finish(), ..turn(run, 1, &["late"]) };
    assert_eq!(b.commit(first, &[late]).await.turns, [TurnOutcome::NotOwned]);
    b.done(second, Turn { then: finish(), ..turn(run, 1, &["b"]) }).await;
    assert_eq!(names(b.journal(run).await.iter().map(|e| &e.fact)), ["a", "b"]);
}

pub async fn batches_of_one_executor_are_committed_side_by_side(b: &Bench) {
    let stores = b.two().await;
    let executor = b.executor().await;
    let mut runs = Vec::new();
    for _ in 0..8 {
        runs.push([b.owned(executor).await, b.owned(executor).await]);
    }
    let commits = runs.iter().enumerate().map(|(i, runs)| {
        let store = stores[i % 2].clone();
        async move {
            for position in 0..10 {
                let turns = runs.map(|run| turn(run, position, &["a"]));
                store.commit(executor, &turns).await.expect("an executor with a lease can commit");
                store.heartbeat(executor, LONG).await.expect("a heartbeat goes on meanwhile");
            }
        }
    });
    join_all(commits).await;
    for run in runs.into_iter().flatten() {
        assert_eq!(b.journal(run).await.len(), 10);
    }
}

pub async fn close_and_commit_at_once_agree(b: &Bench) {
    let [first, second] = b.two().await;
    for round in 0..20 {
        let executor = b.executor().await;
        let run = b.owned(executor).await;
        let batch = [Turn { then: if round % 2 == 0 { Then::Keep } else { finish() }, ..turn(run, 0, &["a"]) }];
        let (commit, close) = (first.commit(executor, &batch), second.close(executor));
        let (committed, closed) = match round % 4 {
            0 | 1 => join(commit, close).await,
            _ => {
                let (closed, committed) = join(close, commit).await;
                (committed, closed)
            }
        };
        closed.expect("an executor can be closed");
        match committed {
            Ok(committed) => {
                assert_eq!(committed.turns, [TurnOutcome::Done]);
                assert_eq!(b.journal(run).await.len(), 1);
            }
            Err(StoreError::LeaseLost(_)) => assert_eq!(b.journal(run).await, []),
            Err(other) => panic!("committed or refused, not {other:?}"),
        }
        assert_eq!(b.record(run).await.owner, None);
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
