//! Cases of two things at once, on two handles where there are: they agree on what happened, and nobody deadlocks.

use futures::future::{join, join_all};
use uuid::Uuid;

use super::bench::{Bench, LONG, MANY, event, fact, finish, hang_up, json, names, new_run, turn, wait_for};
use super::create::count;
use super::event::{heard, said, waiter};
use super::inbox::message;
use crate::ids::RunId;
use crate::store::{
    CreateOutcome, NewEvent, NewMessage, NewRun, SendOutcome, Status, StoreError, Then, Turn, TurnOutcome,
};

pub async fn create_of_one_id_by_many_creates_one(b: &Bench) {
    let stores = b.two().await;
    let new = new_run();
    let outcomes = join_all((0..16).map(|i| {
        let (store, run) = (stores[i % 2].clone(), new.clone());
        async move { store.create(&[run], false).await.expect("runs can be created").remove(0) }
    }))
    .await;
    let created = outcomes.iter().filter(|o| matches!(o, CreateOutcome::Created(_))).count();
    let existing = outcomes.iter().filter(|o| **o == CreateOutcome::Existing(new.id)).count();
    assert_eq!((created, existing), (1, 15));
}

pub async fn create_of_one_invoke_id_by_many_creates_one(b: &Bench) {
    let stores = b.two().await;
    // Every batch names the same ids, in another order: what locks in the order given deadlocks here.
    let outcomes = join_all((0..16).map(|i| {
        let store = stores[i % 2].clone();
        let mut batch: Vec<_> = (0..8).map(|n| NewRun { invoke_id: Some(format!("order-{n}")), ..new_run() }).collect();
        batch.rotate_left(i % 8);
        async move { store.create(&batch, i % 3 == 0).await.expect("runs can be created") }
    }))
    .await;
    let created = outcomes.iter().flatten().filter(|o| matches!(o, CreateOutcome::Created(_))).count();
    assert_eq!((created, count(b).await), (8, 8));
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

/// Runs hang up by the turns that `each` gives, while what wakes them is delivered, in both orders. None misses it.
async fn hang_ups_meet_what_wakes_them(b: &Bench, each: impl Fn(RunId) -> (Turn, Vec<NewMessage>, Vec<NewEvent>)) {
    let stores = b.two().await;
    let executor = b.executor().await;
    for round in 0..12 {
        let mut runs = Vec::new();
        for _ in 0..6 {
            runs.push(b.owned(executor).await);
        }
        let races = runs.iter().enumerate().map(|(i, run)| {
            let ([first, second], (turn, sends, emits)) = (stores.clone(), each(*run));
            async move {
                let turns = [turn];
                let (hang, wake) = (first.commit(executor, &turns), second.deliver(&sends, &emits, 10));
                if (i + round) % 2 == 0 {
                    let (hung, woken) = join(hang, wake).await;
                    hung.and(woken).expect("both go through");
                } else {
                    let (woken, hung) = join(wake, hang).await;
                    hung.and(woken).expect("both go through");
                }
            }
        });
        join_all(races).await;
        let claimed = b.claim(executor, 100).await;
        assert_eq!(claimed.len(), 6, "each hung up and was woken");
        assert!(claimed.iter().all(|run| run.mail == 1 && run.inbox.len() == 1));
    }
}

pub async fn a_hang_up_and_a_message_at_once_never_miss_each_other(b: &Bench) {
    let each = |run| (Turn { then: hang_up(0), ..Turn::new(run, 0) }, vec![message(run, "a")], Vec::new());
    hang_ups_meet_what_wakes_them(b, each).await;
}

pub async fn an_end_and_a_message_at_once_agree(b: &Bench) {
    let [first, second] = b.two().await;
    let executor = b.executor().await;
    for round in 0..20 {
        let run = b.owned(executor).await;
        let (turns, sends) = ([Turn { then: finish(), ..Turn::new(run, 0) }], [message(run, "a")]);
        let (end, send) = (first.commit(executor, &turns), second.deliver(&sends, &[], 0));
        let sent = if round % 2 == 0 { join(end, send).await.1 } else { join(send, end).await.0 };
        let outcome = sent.expect("a message is delivered or dropped")[0];
        assert!(matches!(outcome, SendOutcome::Delivered | SendOutcome::Ended(Status::Completed)), "{outcome:?}");
        assert_eq!(b.record(run).await.status, Status::Completed);
    }
    assert_eq!(b.store().mail(executor, MANY).await.expect("mail can be read"), []);
}

pub async fn many_senders_to_one_run_leave_no_gap(b: &Bench) {
    let stores = b.two().await;
    let executor = b.executor().await;
    let (run, mut senders) = (b.owned(executor).await, Vec::new());
    for _ in 0..8 {
        senders.push(b.owned(executor).await);
    }
    let sends = senders.iter().enumerate().map(|(i, sender)| {
        let store = stores[i % 2].clone();
        async move {
            for n in 0..5 {
                let batch: Vec<_> = (0..3).map(|m| message(run, &format!("{i}.{n}.{m}"))).collect();
                if n % 2 == 0 {
                    store.deliver(&batch, &[], 0).await.expect("messages can be sent");
                } else {
                    let turn = Turn { sends: batch, ..turn(*sender, n, &["a"]) };
                    store.commit(executor, &[turn]).await.expect("an executor with a lease can commit");
                }
            }
        }
    });
    join_all(sends).await;
    let inbox = b.inbox(executor, run).await;
    assert_eq!(inbox.iter().map(|m| m.seq).collect::<Vec<_>>(), (1..=120).collect::<Vec<_>>());
    // Those of one sender are in the order in which it sent them.
    for i in 0..8 {
        let prefix = format!("{i}.");
        let of: Vec<_> = names(inbox.iter().map(|m| &m.fact)).into_iter().filter(|n| n.starts_with(&prefix)).collect();
        assert!(of.len() == 15 && of.is_sorted(), "{of:?}");
    }
}

pub async fn batches_that_cross_do_not_deadlock(b: &Bench) {
    let stores = b.two().await;
    let mut sides = Vec::new();
    for _ in 0..4 {
        let executor = b.executor().await;
        sides.push((executor, b.owned(executor).await));
    }
    let everyone: Vec<RunId> = sides.iter().map(|(_, run)| *run).collect();
    let commits = sides.iter().enumerate().map(|(i, (executor, run))| {
        let (store, mut to) = (stores[i % 2].clone(), everyone.clone());
        // Everyone sends to all others, each in another order.
        to.rotate_left(i);
        to.retain(|other| other != run);
        async move {
            for position in 0..10 {
                let sends = to.iter().map(|to| message(*to, "a")).collect();
                let turns = [Turn { sends, ..turn(*run, position, &["a"]) }];
                store.commit(*executor, &turns).await.expect("an executor with a lease can commit");
            }
        }
    });
    join_all(commits).await;
    for (executor, run) in sides {
        let inbox = b.inbox(executor, run).await;
        assert_eq!(inbox.iter().map(|m| m.seq).collect::<Vec<_>>(), (1..=30).collect::<Vec<_>>());
    }
}

pub async fn a_wait_and_an_emit_at_once_never_miss_each_other(b: &Bench) {
    let each = |run| {
        let key = Uuid::now_v7().to_string();
        let turn = Turn { subscribe: vec![wait_for(&key, 0)], then: hang_up(0), ..Turn::new(run, 0) };
        (turn, Vec::new(), vec![event(&key, "1")])
    };
    hang_ups_meet_what_wakes_them(b, each).await;
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
