//! Messages that come twice, late, in any order, or to nobody.

use super::*;

fn waits() -> Run {
    Run::new(|ctx| async move {
        let first = ctx.wait_for_event::<i64>("go").await?;
        let second = ctx.wait_for_event::<i64>("go").timeout(Duration::from_secs(5)).await;
        Ok(json!([first, second.map_err(|f| f.is_timeout()).ok()]))
    })
}

#[test]
fn twice_the_same_is_once() {
    let mut run = waits();
    run.go();
    let message = workflow_core::store::Message { seq: 1, fact: event("go", 1, 3) };
    run.machine.deliver(message.clone());
    run.machine.deliver(message.clone());
    run.go();
    run.machine.deliver(message);
    run.mail = 1;
    assert!(matches!(run.go(), State::Blocked(_)));
    run.send(event("go", 2, 4));
    assert_eq!(run.finish().expect("ends well"), json!([3, 4]));
    assert_eq!(run.journal.len(), 4);
}

#[test]
fn one_that_overtakes_others_waits_for_them() {
    let mut run = waits();
    run.go();
    let message = |seq, mark, value| workflow_core::store::Message { seq, fact: event("go", mark, value) };
    run.machine.deliver(message(3, 1, 3));
    run.machine.deliver(message(2, 1, 9));
    run.mail = 3;
    assert!(matches!(run.go(), State::Blocked(_)));
    assert_eq!((run.turns.iter().map(|turn| turn.consumed).max(), run.machine.seen()), (Some(0), 0));
    run.machine.deliver(message(1, 1, 2));
    run.go();
    assert_eq!((run.turns.iter().map(|turn| turn.consumed).max(), run.machine.seen()), (Some(3), 3));
    assert_eq!(run.finish().expect("ends well"), json!([2, null]));
}

#[test]
fn those_that_nobody_waits_for_are_consumed_and_ignored() {
    let mut run = waits();
    run.go();
    run.send(event("go", 1, 3));
    run.send(event("go", 1, 4));
    run.send(event("other", 1, 5));
    run.send(Fact { key: OpKey::new("invoke", "gone", 7), ..event("x", 1, 6) });
    run.send(Fact { key: OpKey::new("no such kind", "", 1), ..event("x", 1, 7) });
    assert!(matches!(run.go(), State::Blocked(_)));
    assert_eq!(run.turns.iter().map(|turn| turn.consumed).max(), Some(5));
    assert_eq!(run.entries(), ["event go asked", "event go ok", "event go #2 asked"]);
    assert_eq!(run.finish().expect("ends well"), json!([3, null]));
}

#[test]
fn an_event_that_comes_with_its_timeout_wins() {
    let mut run = waits();
    run.go();
    run.send(event("go", 1, 3));
    let State::Blocked(Some(due)) = run.go() else { panic!("waits") };
    run.now = due + Duration::from_secs(1);
    run.send(event("go", 2, 4));
    assert_eq!(run.finish().expect("ends well"), json!([3, 4]));
    assert_eq!(run.entries()[2..], ["event go #2 asked", "event go #2 ok"]);
}

#[test]
fn an_event_after_its_timeout_is_left_to_the_next_wait() {
    let mut run = waits();
    run.go();
    run.send(event("go", 1, 3));
    let State::Blocked(Some(due)) = run.go() else { panic!("waits") };
    run.now = due;
    let Next::Commit { turn, .. } = run.machine.drive(run.now) else { panic!("the timeout") };
    run.send(event("go", 2, 4));
    assert!(matches!(run.machine.drive(run.now), Next::Running));
    run.commit(&turn);
    assert_eq!(run.finish().expect("ends well"), json!([3, null]));
}

#[test]
fn a_payload_of_another_type_parks_the_run() {
    let mut run = waits();
    run.go();
    run.send(Fact { payload: Payload::json(&"text").expect("JSON"), ..event("go", 1, 3) });
    let message = parked(run.go(), "PAYLOAD");
    assert!(
        message.contains("the recorded outcome of event go (workflow-core/tests/adversary/messages.rs:"),
        "{message}"
    );
    assert!(message.contains("expected i64"), "{message}");
}
