//! Cases of messages: numbers, who is woken, what is consumed, and races with hanging up and ending.

use super::bench::{Bench, MANY, fact, hang_up, names, park, turn};
use crate::ids::{ExecutorId, RunId};
use crate::store::{NewMessage, SendOutcome, Status, Turn, TurnOutcome};

pub(super) fn message(to: RunId, name: &str) -> NewMessage {
    NewMessage { to, fact: fact(name) }
}

pub async fn messages_are_numbered_from_one_without_gaps(b: &Bench) {
    let executor = b.executor().await;
    let runs = [b.owned(executor).await, b.owned(executor).await];
    for (run, name) in [(0, "a"), (1, "b"), (0, "c"), (0, "d"), (1, "e")] {
        assert_eq!(b.send(runs[run], fact(name)).await, SendOutcome::Delivered);
    }
    let first = b.inbox(executor, runs[0]).await;
    assert_eq!(first.iter().map(|m| m.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(names(first.iter().map(|m| &m.fact)), ["a", "c", "d"]);
    let second = b.inbox(executor, runs[1]).await;
    assert_eq!(second.iter().map(|m| m.seq).collect::<Vec<_>>(), [1, 2]);
}

pub async fn messages_of_a_batch_are_numbered_in_its_order(b: &Bench) {
    let executor = b.executor().await;
    let runs = [b.owned(executor).await, b.owned(executor).await, b.owned(executor).await];
    let names: Vec<_> = (0..60).map(|i| i.to_string()).collect();
    let batch: Vec<_> = names.iter().enumerate().map(|(i, name)| message(runs[(i * 7) % 3], name)).collect();
    let outcomes = b.store().deliver(&batch, &[], 0).await.expect("messages can be sent");
    assert_eq!(outcomes, vec![SendOutcome::Delivered; 60]);
    for run in runs {
        let inbox = b.inbox(executor, run).await;
        let sent: Vec<_> = batch.iter().filter(|m| m.to == run).map(|m| m.fact.clone()).collect();
        assert_eq!(inbox.iter().map(|m| m.fact.clone()).collect::<Vec<_>>(), sent);
        assert!(inbox.iter().zip(1..).all(|(m, seq)| m.seq == seq));
    }
}

pub async fn a_message_makes_a_waiting_run_ready(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    b.hang_up(executor, run).await;
    assert_eq!(b.send(run, fact("x")).await, SendOutcome::Delivered);
    assert_eq!(b.record(run).await.status, Status::Ready);
    let claimed = b.claim_one(executor, run).await;
    assert_eq!((claimed.mail, names(claimed.inbox.iter().map(|m| &m.fact))), (1, vec!["x"]));
}

pub async fn a_message_to_a_running_run_leaves_it_running(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    b.send(run, fact("x")).await;
    let record = b.record(run).await;
    assert_eq!((record.status, record.owner), (Status::Running, Some(executor)));
    assert_eq!(names(b.inbox(executor, run).await.iter().map(|m| &m.fact)), ["x"]);
}

pub async fn a_message_to_a_ready_run_is_there_when_it_is_claimed(b: &Bench) {
    let executor = b.executor().await;
    let run = b.ready().await;
    b.send(run, fact("x")).await;
    assert_eq!(b.record(run).await.status, Status::Ready);
    assert_eq!(names(b.claim_one(executor, run).await.inbox.iter().map(|m| &m.fact)), ["x"]);
}

pub async fn messages_to_nobody_and_to_the_ended_are_told(b: &Bench) {
    let executor = b.executor().await;
    let [running, ended, parked] = [b.owned(executor).await, b.owned(executor).await, b.owned(executor).await];
    b.finish(executor, ended).await;
    b.done(executor, Turn { then: park("DIVERGED"), ..Turn::new(parked, 0) }).await;
    let batch = [
        message(RunId::generate(), "x"),
        message(running, "x"),
        message(ended, "x"),
        message(parked, "x"),
        message(running, "y"),
    ];
    let outcomes = b.store().deliver(&batch, &[], 0).await.expect("messages can be sent");
    assert_eq!(
        outcomes,
        [
            SendOutcome::NoSuchRun,
            SendOutcome::Delivered,
            SendOutcome::Ended(Status::Completed),
            SendOutcome::Delivered,
            SendOutcome::Delivered,
        ]
    );
    assert_eq!(b.inbox(executor, running).await.len(), 2);
    assert_eq!(b.store().deliver(&[], &[], 0).await.expect("nothing to do"), []);
}

pub async fn mail_is_of_own_runs_ordered_and_bounded(b: &Bench) {
    let (executor, other) = (b.executor().await, b.executor().await);
    let mut runs = [b.owned(executor).await, b.owned(executor).await];
    let theirs = b.owned(other).await;
    runs.sort();
    for (to, name) in [(runs[1], "c"), (theirs, "x"), (runs[0], "a"), (runs[1], "d"), (runs[0], "b")] {
        b.send(to, fact(name)).await;
    }
    let mail = b.store().mail(executor, MANY).await.expect("mail can be read");
    let found: Vec<_> = mail.iter().map(|m| (m.run, m.message.seq, m.message.fact.key.name.as_str())).collect();
    assert_eq!(found, [(runs[0], 1, "a"), (runs[0], 2, "b"), (runs[1], 1, "c"), (runs[1], 2, "d")]);
    assert_eq!(b.store().mail(executor, 3).await.expect("mail can be read"), mail[..3]);
    assert_eq!(b.store().mail(ExecutorId::generate(), 3).await.expect("there is none"), []);
    b.hang_up(executor, runs[0]).await;
    assert_eq!(b.store().mail(executor, MANY).await.expect("mail can be read"), mail[2..]);
}

pub async fn consumed_messages_go(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    for name in ["a", "b", "c"] {
        b.send(run, fact(name)).await;
    }
    b.done(executor, Turn { consumed: 2, ..turn(run, 0, &["a", "b"]) }).await;
    assert_eq!(b.inbox(executor, run).await.iter().map(|m| m.seq).collect::<Vec<_>>(), [3]);
    b.done(executor, Turn { consumed: 0, ..turn(run, 2, &["x"]) }).await;
    assert_eq!(b.inbox(executor, run).await.len(), 1);
    b.done(executor, Turn { consumed: 3, ..turn(run, 3, &["c"]) }).await;
    assert_eq!(b.inbox(executor, run).await, []);
    b.send(run, fact("d")).await;
    assert_eq!(b.inbox(executor, run).await[0].seq, 4, "numbers go on");
}

pub async fn a_refused_turn_consumes_nothing(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    b.send(run, fact("a")).await;
    let early = Turn { consumed: 1, not_before: Some(b.now().await + super::bench::LONG), ..Turn::new(run, 0) };
    assert_eq!(b.commit(executor, &[early]).await.turns, [TurnOutcome::TooEarly]);
    assert_eq!(b.inbox(executor, run).await.len(), 1);
}

pub async fn unconsumed_messages_are_there_at_the_next_claim(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    for name in ["a", "b", "c"] {
        b.send(run, fact(name)).await;
    }
    b.done(executor, Turn { consumed: 1, then: hang_up(1), ..turn(run, 0, &["a"]) }).await;
    let claimed = b.claim_one(executor, run).await;
    let inbox: Vec<_> = claimed.inbox.iter().map(|m| (m.seq, m.fact.key.name.as_str())).collect();
    assert_eq!((claimed.mail, inbox), (3, vec![(2, "b"), (3, "c")]));
}

pub async fn a_turn_sends_messages(b: &Bench) {
    let (executor, other) = (b.executor().await, b.executor().await);
    let [sender, waiting, ended] = [b.owned(executor).await, b.owned(executor).await, b.owned(executor).await];
    let theirs = b.owned(other).await;
    b.hang_up(executor, waiting).await;
    b.finish(executor, ended).await;
    let sends = vec![
        message(theirs, "a"),
        message(waiting, "b"),
        message(ended, "c"),
        message(RunId::generate(), "d"),
        message(theirs, "e"),
    ];
    b.done(executor, Turn { sends, ..turn(sender, 0, &["x"]) }).await;
    assert_eq!(names(b.inbox(other, theirs).await.iter().map(|m| &m.fact)), ["a", "e"]);
    assert_eq!(names(b.claim_one(executor, waiting).await.inbox.iter().map(|m| &m.fact)), ["b"]);
}

pub async fn mail_within_an_executor_is_in_the_answer_or_in_the_inbox(b: &Bench) {
    let executor = b.executor().await;
    let [one, two] = [b.owned(executor).await, b.owned(executor).await];
    let sends = vec![message(two, "a"), message(two, "b")];
    let committed = b.done(executor, Turn { sends, ..Turn::new(one, 0) }).await;
    let inbox = b.store().mail(executor, MANY).await.expect("mail can be read");
    assert_eq!(inbox.len(), 2);
    assert!(committed.mail.iter().all(|mail| inbox.contains(mail)), "{:?}", committed.mail);
}

pub async fn a_message_and_a_hang_up_in_one_batch_leave_a_ready_run(b: &Bench) {
    let executor = b.executor().await;
    for order in [[0, 1], [1, 0]] {
        let [sender, hanging] = [b.owned(executor).await, b.owned(executor).await];
        let turns = [
            Turn { sends: vec![message(hanging, "a")], ..Turn::new(sender, 0) },
            Turn { then: hang_up(0), ..Turn::new(hanging, 0) },
        ];
        b.commit(executor, &order.map(|i| turns[i].clone())).await;
        assert_eq!(b.record(hanging).await.status, Status::Ready);
        assert_eq!(b.claim_one(executor, hanging).await.inbox.len(), 1);
    }
}
