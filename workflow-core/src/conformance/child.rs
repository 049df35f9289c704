//! Cases of children: they start with a turn of their parent, and their outcome reaches it.

use futures::future::join_all;

use super::bench::{Bench, LONG, WORKFLOW, fact, finish, hang_up, json, new_run, turn, with_input};
use crate::ids::{ExecutorId, RunId};
use crate::journal::{Fact, OpKey};
use crate::store::{NewMessage, NewRun, ParentRef, SendOutcome, Status, Turn, TurnOutcome};

fn key(nth: u32) -> OpKey {
    OpKey::new("invoke", "charge", nth)
}

fn child_of(parent: RunId, nth: u32) -> NewRun {
    NewRun { parent: Some(ParentRef { run: parent, key: key(nth) }), depth: 1, ..new_run() }
}

/// The turn that ends a child and tells its parent.
fn ending(child: &NewRun) -> Turn {
    let parent = child.parent.clone().expect("a child has a parent");
    let outcome = Fact { key: parent.key, ..fact("outcome") };
    Turn { sends: vec![NewMessage { to: parent.run, fact: outcome }], then: finish(), ..Turn::new(child.id, 0) }
}

/// Starts `count` children of a new parent, which waits for them, and claims them for the executors in turn.
async fn family(b: &Bench, executors: &[ExecutorId], count: u32) -> (RunId, Vec<NewRun>) {
    let parent = b.owned(executors[0]).await;
    let starts: Vec<_> = (1..=count)
        .zip(executors.iter().cycle())
        .map(|(nth, owner)| NewRun { owner: Some(*owner), ..child_of(parent, nth) })
        .collect();
    b.done(executors[0], Turn { starts: starts.clone(), then: hang_up(0), ..turn(parent, 0, &["asked"]) }).await;
    (parent, starts)
}

pub async fn children_start_with_the_turn(b: &Bench) {
    let executor = b.executor().await;
    let parent = b.owned(executor).await;
    let starts = vec![
        child_of(parent, 1),
        NewRun { delay: Some(LONG), ..child_of(parent, 2) },
        NewRun { owner: Some(executor), ..child_of(parent, 3) },
        NewRun { parent: None, queue: "detached".into(), ..child_of(parent, 4) },
    ];
    let committed = b.done(executor, Turn { starts: starts.clone(), ..turn(parent, 0, &["asked"]) }).await;
    for (new, status) in starts.iter().zip([Status::Ready, Status::Waiting, Status::Running, Status::Ready]) {
        let record = b.record(new.id).await;
        assert_eq!((record.status, record.depth, &record.input), (status, 1, &new.input));
        assert_eq!((record.parent, record.created_at), (new.parent.clone(), committed.now));
        assert_eq!(
            (record.workflow.as_str(), record.version, record.queue),
            (WORKFLOW.0, WORKFLOW.1, new.queue.clone())
        );
    }
    assert_eq!(b.record(starts[2].id).await.owner, Some(executor));
    assert_eq!(b.record(starts[1].id).await.wake_at, Some(committed.now + LONG));
    let claimed = b.claim_one(executor, starts[0].id).await;
    assert_eq!((claimed.parent, claimed.depth), (starts[0].parent.clone(), 1));
}

pub async fn starting_a_child_again_leaves_it_alone(b: &Bench) {
    let executor = b.executor().await;
    let parent = b.owned(executor).await;
    let child = NewRun { owner: Some(executor), ..child_of(parent, 1) };
    b.done(executor, Turn { starts: vec![child.clone(), child.clone()], ..turn(parent, 0, &["a"]) }).await;
    let before = b.record(child.id).await;
    // Also with another input: who starts a child has made its id, and there is nobody to tell of a conflict.
    for again in [child.clone(), with_input(child.clone(), json("2"))] {
        let position = b.journal(parent).await.len() as u32;
        b.done(executor, Turn { starts: vec![again], ..turn(parent, position, &["b"]) }).await;
        assert_eq!(b.record(child.id).await, before);
    }
    b.finish(executor, child.id).await;
    b.done(executor, Turn { starts: vec![child.clone()], ..turn(parent, 3, &["c"]) }).await;
    assert_eq!(b.record(child.id).await.status, Status::Completed);
}

pub async fn a_thousand_children_start_in_one_turn(b: &Bench) {
    let executor = b.executor().await;
    let parent = b.owned(executor).await;
    let starts: Vec<_> = (1..=1_000).map(|nth| child_of(parent, nth)).collect();
    b.done(executor, Turn { starts: starts.clone(), ..turn(parent, 0, &["asked"]) }).await;
    let mut claimed: Vec<_> = b.claim(executor, 2_000).await;
    claimed.sort_by_key(|run| run.parent.as_ref().expect("a child has a parent").key.nth);
    assert_eq!(claimed.iter().map(|r| r.id).collect::<Vec<_>>(), starts.iter().map(|s| s.id).collect::<Vec<_>>());
}

pub async fn the_outcome_of_a_child_wakes_its_parent(b: &Bench) {
    let executor = b.executor().await;
    let (parent, children) = family(b, &[executor], 1).await;
    assert_eq!(b.record(parent).await.status, Status::Waiting);
    b.done(executor, ending(&children[0])).await;
    let claimed = b.claim_one(executor, parent).await;
    assert_eq!(claimed.inbox.len(), 1);
    assert_eq!((claimed.inbox[0].seq, &claimed.inbox[0].fact.key), (1, &key(1)));
}

pub async fn many_children_of_one_parent_end_in_one_batch(b: &Bench) {
    let executor = b.executor().await;
    let (parent, children) = family(b, &[executor], 200).await;
    let outcomes = b.commit(executor, &children.iter().map(ending).collect::<Vec<_>>()).await.turns;
    assert!(outcomes.iter().all(|o| *o == TurnOutcome::Done));
    let claimed = b.claim_one(executor, parent).await;
    assert_eq!(claimed.mail, 200);
    assert_eq!(claimed.inbox.iter().map(|m| m.seq).collect::<Vec<_>>(), (1..=200).collect::<Vec<_>>());
    let nths: Vec<_> = claimed.inbox.iter().map(|m| m.fact.key.nth).collect();
    assert_eq!(nths, (1..=200).collect::<Vec<_>>(), "in the order of the batch");
}

pub async fn children_that_end_at_once_all_reach_their_parent(b: &Bench) {
    let stores = b.two().await;
    let mut executors = Vec::new();
    for _ in 0..4 {
        executors.push(b.executor().await);
    }
    for _ in 0..3 {
        let (parent, children) = family(b, &executors, 16).await;
        let ends = children.iter().enumerate().map(|(i, child)| {
            let (store, turn) = (stores[i % 2].clone(), ending(child));
            let owner = child.owner.expect("it was started as owned");
            async move { store.commit(owner, &[turn]).await.expect("an executor with a lease can commit") }
        });
        for committed in join_all(ends).await {
            assert_eq!(committed.turns, [TurnOutcome::Done]);
        }
        let mut nths: Vec<_> = b.claim_one(executors[0], parent).await.inbox.iter().map(|m| m.fact.key.nth).collect();
        nths.sort_unstable();
        assert_eq!(nths, (1..=16).collect::<Vec<_>>());
        b.finish(executors[0], parent).await;
    }
}

pub async fn parent_and_child_may_end_in_one_batch(b: &Bench) {
    let executor = b.executor().await;
    for order in [[0, 1], [1, 0]] {
        let parent = b.owned(executor).await;
        let child = NewRun { owner: Some(executor), ..child_of(parent, 1) };
        b.done(executor, Turn { starts: vec![child.clone()], ..turn(parent, 0, &["asked"]) }).await;
        let turns = [ending(&child), Turn { then: finish(), ..turn(parent, 1, &["b"]) }];
        let outcomes = b.commit(executor, &order.map(|i| turns[i].clone())).await.turns;
        assert_eq!(outcomes, [TurnOutcome::Done, TurnOutcome::Done]);
        for run in [parent, child.id] {
            assert_eq!(b.record(run).await.status, Status::Completed);
        }
        assert_eq!(b.send(parent, fact("late")).await, SendOutcome::Ended(Status::Completed));
    }
}
