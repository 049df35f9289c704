//! Cases of hanging up: when a run wakes, by itself and by messages.

use std::time::Duration;

use super::bench::{Bench, LONG, SHORT, fact, finish, hang_up, hang_up_for, names, turn};
use crate::ids::Timestamp;
use crate::store::{RunRecord, Status, Then, Turn, TurnOutcome, Wake};

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
