//! Cases of committing: entries, positions and the fence.

use super::bench::{Bench, LONG, MANY, fact, finish, hang_up, json, names, new_run, park, turn};
use crate::ids::{ExecutorId, RunId};
use crate::journal::ENTRY_VERSION;
use crate::store::{NewMessage, NewRun, RunRef, Status, StoreError, Turn, TurnOutcome};

pub async fn commit_writes_entries(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    let committed = b.done(executor, turn(run, 0, &["a", "b"])).await;
    let journal = b.journal(run).await;
    assert_eq!(journal.len(), 2);
    for (entry, (position, name)) in journal.iter().zip([(0, "a"), (1, "b")]) {
        assert_eq!((entry.position, &entry.fact), (position, &fact(name)));
        assert_eq!((entry.version, entry.recorded_at), (ENTRY_VERSION, committed.now));
    }
}

pub async fn commit_of_nothing_answers_now(b: &Bench) {
    let executor = b.executor().await;
    let before = b.now().await;
    let committed = b.commit(executor, &[]).await;
    assert!(committed.now >= before);
}

pub async fn commit_gives_one_time_to_all_its_entries(b: &Bench) {
    let executor = b.executor().await;
    let mut turns = Vec::new();
    for _ in 0..20 {
        turns.push(turn(b.owned(executor).await, 0, &["a", "b", "c"]));
    }
    let committed = b.commit(executor, &turns).await;
    for t in &turns {
        let journal = b.journal(t.run).await;
        assert_eq!(journal.len(), 3);
        assert!(journal.iter().all(|e| e.recorded_at == committed.now));
    }
}

pub async fn commit_times_never_go_back(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    let mut last = b.record(run).await.created_at;
    for position in 0..20 {
        let now = b.done(executor, turn(run, position, &["a"])).await.now;
        assert!(now >= last, "{last} {now}");
        last = now;
    }
    let times: Vec<_> = b.journal(run).await.into_iter().map(|e| e.recorded_at).collect();
    assert!(times.is_sorted());
}

pub async fn commit_appends_at_the_given_position(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    b.done(executor, turn(run, 0, &["a"])).await;
    b.done(executor, turn(run, 1, &["b", "c"])).await;
    b.done(executor, turn(run, 3, &[])).await;
    b.done(executor, turn(run, 3, &["d"])).await;
    let journal = b.journal(run).await;
    assert_eq!(names(journal.iter().map(|e| &e.fact)), ["a", "b", "c", "d"]);
    assert_eq!(journal.iter().map(|e| e.position).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

pub async fn commit_refuses_a_taken_position(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    b.done(executor, turn(run, 0, &["a", "b"])).await;
    // The second overlaps with its first entry, the third with its last one only.
    let again = turn(run, 0, &["a"]);
    match b.store().commit(executor, &[again]).await.expect_err("the position is taken") {
        StoreError::PositionTaken { run: of, position } => assert_eq!((of, position), (run, 0)),
        other => panic!("the position is taken, not {other:?}"),
    }
    let error = b.store().commit(executor, &[turn(run, 1, &["x", "y"])]).await.expect_err("position 1 is taken");
    assert!(matches!(error, StoreError::PositionTaken { run: of, .. } if of == run), "{error:?}");
    assert_eq!(names(b.journal(run).await.iter().map(|e| &e.fact)), ["a", "b"]);
}

pub async fn commit_with_a_taken_position_writes_nothing_of_the_batch(b: &Bench) {
    let executor = b.executor().await;
    let runs = [b.owned(executor).await, b.owned(executor).await, b.owned(executor).await];
    let other = b.owned(executor).await;
    b.done(executor, turn(runs[1], 0, &["a"])).await;
    let child = new_run();
    let batch = [
        Turn {
            starts: vec![child.clone()],
            sends: vec![NewMessage { to: other, fact: fact("hello") }],
            then: finish(),
            ..turn(runs[0], 0, &["x"])
        },
        turn(runs[1], 0, &["x"]),
        Turn { then: hang_up(0), ..turn(runs[2], 0, &["x"]) },
    ];
    let error = b.store().commit(executor, &batch).await.expect_err("a position is taken");
    assert!(matches!(error, StoreError::PositionTaken { run, position: 0 } if run == runs[1]), "{error:?}");
    for run in [runs[0], runs[2]] {
        assert_eq!(b.journal(run).await, []);
        assert_eq!(b.record(run).await.status, Status::Running);
    }
    assert_eq!(b.find(RunRef::Id(child.id)).await, None);
    assert_eq!(b.inbox(executor, other).await, []);
}

pub async fn commit_that_keeps_leaves_the_run_as_it_is(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    let before = b.record(run).await;
    b.tick().await;
    b.done(executor, turn(run, 0, &["a", "b"])).await;
    assert_eq!(b.record(run).await, before);
}

pub async fn commit_refuses_lost_lease(b: &Bench) {
    let executor = b.executor().await;
    let runs = [b.owned(executor).await, b.owned(executor).await];
    b.done(executor, turn(runs[0], 0, &["a"])).await;
    b.expire(executor).await;
    refuses_all(b, executor, runs, 1).await;
    assert_eq!(b.record(runs[0]).await.owner, Some(executor), "nobody has rescued it yet");
}

pub async fn commit_refuses_a_rescued_executor(b: &Bench) {
    let (executor, next) = (b.executor().await, b.executor().await);
    let runs = [b.owned(executor).await, b.owned(executor).await];
    b.done(executor, turn(runs[0], 0, &["a"])).await;
    b.expire(executor).await;
    b.store().rescue(3, 100).await.expect("anyone can rescue");
    refuses_all(b, executor, runs, 1).await;
    assert_eq!(b.claim(next, 10).await.len(), 2);
    refuses_all(b, executor, runs, 1).await;
    b.done(next, turn(runs[0], 1, &["b"])).await;
}

pub async fn commit_refuses_a_closed_executor(b: &Bench) {
    let executor = b.executor().await;
    let runs = [b.owned(executor).await, b.owned(executor).await];
    b.store().close(executor).await.expect("an executor can be closed");
    refuses_all(b, executor, runs, 0).await;
}

pub async fn commit_refuses_an_unknown_executor(b: &Bench) {
    let executor = b.executor().await;
    let runs = [b.owned(executor).await, b.owned(executor).await];
    refuses_all(b, ExecutorId::generate(), runs, 0).await;
}

/// Nothing of a batch is written by an executor without a lease; `length` is that of the first journal.
async fn refuses_all(b: &Bench, executor: ExecutorId, runs: [RunId; 2], length: u32) {
    let before = [b.record(runs[0]).await, b.record(runs[1]).await];
    let child = new_run();
    let batch = [
        Turn { starts: vec![child.clone()], ..turn(runs[0], length, &["late"]) },
        Turn { then: finish(), ..turn(runs[1], 0, &["late"]) },
    ];
    let error = b.store().commit(executor, &batch).await.expect_err("it has no lease");
    assert!(matches!(error, StoreError::LeaseLost(id) if id == executor), "{error:?}");
    assert_eq!(b.journal(runs[0]).await.len(), length as usize);
    assert_eq!(b.journal(runs[1]).await, []);
    assert_eq!(b.find(RunRef::Id(child.id)).await, None);
    assert_eq!([b.record(runs[0]).await, b.record(runs[1]).await], before);
}

pub async fn commit_refuses_what_another_owns_and_writes_the_rest(b: &Bench) {
    let (executor, other) = (b.executor().await, b.executor().await);
    let mine = b.owned(executor).await;
    let (target, child) = (b.owned(executor).await, new_run());
    for then in [finish(), hang_up(0), park("DIVERGED")] {
        let theirs = b.owned(other).await;
        let position = b.journal(mine).await.len() as u32;
        let batch = [
            Turn {
                starts: vec![child.clone()],
                sends: vec![NewMessage { to: target, fact: fact("hello") }],
                then,
                ..turn(theirs, 0, &["x"])
            },
            turn(mine, position, &["a"]),
        ];
        assert_eq!(b.commit(executor, &batch).await.turns, [TurnOutcome::NotOwned, TurnOutcome::Done]);
        let record = b.record(theirs).await;
        assert_eq!((record.status, record.owner), (Status::Running, Some(other)));
        assert_eq!(b.journal(theirs).await, []);
        assert_eq!(b.journal(mine).await.len() as u32, position + 1);
        assert_eq!(b.find(RunRef::Id(child.id)).await, None);
        assert_eq!(b.inbox(executor, target).await, []);
    }
}

pub async fn commit_refuses_an_unknown_run_that_ends(b: &Bench) {
    let executor = b.executor().await;
    let (unknown, mine, ready) = (RunId::generate(), b.owned(executor).await, b.ready().await);
    let batch = [
        Turn { then: finish(), ..turn(unknown, 0, &["x"]) },
        Turn { then: hang_up(0), ..turn(ready, 0, &["x"]) },
        Turn { then: finish(), ..turn(mine, 0, &["a"]) },
    ];
    let outcomes = b.commit(executor, &batch).await.turns;
    assert_eq!(outcomes, [TurnOutcome::NotOwned, TurnOutcome::NotOwned, TurnOutcome::Done]);
    assert_eq!(b.find(RunRef::Id(unknown)).await, None);
    assert_eq!((b.journal(unknown).await, b.journal(ready).await), (vec![], vec![]));
    assert_eq!(b.record(ready).await.status, Status::Ready);
    assert_eq!(b.record(mine).await.status, Status::Completed);
}

pub async fn commit_of_plain_ends_refuses_the_run_of_another_alone(b: &Bench) {
    let (executor, other) = (b.executor().await, b.executor().await);
    let (first, theirs, kept) = (b.owned(executor).await, b.owned(other).await, b.owned(executor).await);
    let batch = [
        Turn { then: finish(), ..turn(first, 0, &["a"]) },
        Turn { then: finish(), ..turn(theirs, 0, &["x"]) },
        turn(kept, 0, &["b"]),
    ];
    let outcomes = b.commit(executor, &batch).await.turns;
    assert_eq!(outcomes, [TurnOutcome::Done, TurnOutcome::NotOwned, TurnOutcome::Done]);
    assert_eq!((b.record(first).await.status, b.journal(first).await.len()), (Status::Completed, 1));
    let record = b.record(theirs).await;
    assert_eq!((record.status, record.owner, b.journal(theirs).await), (Status::Running, Some(other), vec![]));
    assert_eq!((b.record(kept).await.status, b.journal(kept).await.len()), (Status::Running, 1));
}

pub async fn commit_refuses_what_is_too_early_and_writes_the_rest(b: &Bench) {
    let executor = b.executor().await;
    let runs = [b.owned(executor).await, b.owned(executor).await, b.owned(executor).await];
    let later = b.now().await + LONG;
    let child = NewRun { input: json("2"), ..new_run() };
    let batch = [
        Turn { not_before: Some(later), starts: vec![child.clone()], ..turn(runs[0], 0, &["x"]) },
        turn(runs[1], 0, &["a"]),
        Turn { not_before: Some(later), then: finish(), ..turn(runs[2], 0, &["x"]) },
    ];
    let outcomes = b.commit(executor, &batch).await.turns;
    assert_eq!(outcomes, [TurnOutcome::TooEarly, TurnOutcome::Done, TurnOutcome::TooEarly]);
    for run in [runs[0], runs[2]] {
        assert_eq!(b.journal(run).await, []);
        assert_eq!(b.record(run).await.status, Status::Running);
    }
    assert_eq!(b.journal(runs[1]).await.len(), 1);
    assert_eq!(b.find(RunRef::Id(child.id)).await, None);
}

pub async fn commit_at_the_very_instant_is_not_too_early(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    let due = b.now().await + LONG / 3_600 / 50;
    let early = Turn { not_before: Some(due + LONG), ..turn(run, 0, &["x"]) };
    assert_eq!(b.commit(executor, &[early]).await.turns, [TurnOutcome::TooEarly]);
    b.advance(LONG / 3_600 / 50).await;
    let committed = b.done(executor, Turn { not_before: Some(due), ..turn(run, 0, &["a"]) }).await;
    assert!(committed.now >= due);
    assert_eq!(b.journal(run).await.len(), 1);
}

pub async fn landed_tells_which_positions_exist(b: &Bench) {
    let executor = b.executor().await;
    let (run, other) = (b.owned(executor).await, b.owned(executor).await);
    b.done(executor, turn(run, 0, &["a", "b"])).await;
    let landed = async |run, position| b.store().landed(run, position).await.expect("journals can be read");
    assert!(landed(run, 0).await && landed(run, 1).await);
    assert!(!landed(run, 2).await);
    assert!(!landed(other, 0).await);
    assert!(!landed(RunId::generate(), 0).await);
    assert_eq!(b.store().journal(run, 0, MANY).await.expect("journals can be read").len(), 2);
}
