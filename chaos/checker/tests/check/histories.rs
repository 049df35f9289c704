//! A campaign made by hand.

use serde_json::{Value, json};
use workflow_checker::dump::Key;
use workflow_checker::record::*;

use crate::world::*;

/// The runs of [`good`].
pub const ORDER: u128 = 1;
pub const TRANSFER: u128 = 2;
pub const SLEEPER: u128 = 3;
pub const WAITER: u128 = 4;
pub const PARENT: u128 = 5;
pub const CHILD: u128 = 6;
pub const CANCELLED: u128 = 7;
pub const STUCK: u128 = 8;

/// A campaign with a bit of everything, in which all went well.
pub fn good() -> World {
    let mut world = World::new();
    order(&mut world);
    transfer(&mut world);
    sleeper(&mut world);
    waiter(&mut world);
    family(&mut world);
    cancelled(&mut world);
    stuck(&mut world);
    measures(&mut world);
    world.settle();
    world
}

/// Steps with a failure, a kill in the middle, a zombie's body, readers, and a second caller with the same id.
fn order(world: &mut World) {
    world.invoke(ORDER, "order");
    world.ok(Op::Status { run: id(ORDER) }, Reply::Seen { status: seen("running", None) });
    world.step(ORDER, "reserve", "e1");
    let body = world.start(ORDER, "charge", 1, "e1");
    world.end(body, "e1", false);
    world.entry(ORDER, "step", "charge", "retry", json!({})).mark = Some(20_000);
    world.snapshot(ORDER);
    world.pass(ms(25));
    let body = world.start(ORDER, "charge", 2, "e1");
    world.line("e1", Record::BodyEffect { body, what: "charged".to_owned() });
    world.fault("F1", Hit::Kill, Some("e1"));
    world.life("e1", Life::Exited { graceful: false });
    world.pass(ms(1_500));
    let body = world.start(ORDER, "charge", 2, "e2");
    world.line("e2", Record::BodyEffect { body, what: "charged".to_owned() });
    world.end(body, "e2", true);
    world.entry(ORDER, "step", "charge", "ok", json!({ "body": body }));
    world.snapshot(ORDER);
    world.life("e3", Life::Born);
    world.step(ORDER, "ship", "e2");
    world.finish(ORDER, "completed");
    world.row(ORDER).crashes = 1;
    let over = || Reply::Seen { status: seen("completed", Some("out")) };
    world.ok(Op::Result { run: id(ORDER) }, over());
    world.ok(Op::Status { run: id(ORDER) }, over());
    world.line("reader", Record::Observed { run: id(ORDER), status: seen("completed", Some("out")) });
    world.ok(invocation("order-1", "order", "input"), Reply::Run { run: id(ORDER) });
    world.failed(invocation("order-1", "order", "other input"), "ID_CONFLICT");
    world.call(invocation("lost", "order", "input"), Answer::Unknown { why: "cut off".to_owned() });
    world.failed(Op::Cancel { run: id(ORDER) }, "ENDED");
}

fn transfer(world: &mut World) {
    world.line("harness", Record::Accounts { balances: vec![(1, 100), (2, 100)] });
    world.dump.accounts = vec![(1, 100), (2, 100)];
    world.invoke(TRANSFER, "transfer");
    world.transaction(TRANSFER, "withdraw", "e2", &[(1, -30)]);
    // An attempt that was rolled back.
    let body = world.start_of(Step::transaction(id(TRANSFER), "deposit"), 1, "e2", false);
    world.line("e2", Record::TxWrote { body, rows: vec![(2, 30)] });
    world.transaction(TRANSFER, "deposit", "e2", &[(2, 30)]);
    world.finish(TRANSFER, "completed");
}

fn sleeper(world: &mut World) {
    world.invoke(SLEEPER, "sleeper");
    let ask = |world: &mut World| {
        let db_at = world.now;
        world.line("e2", Record::TimerAsked { run: id(SLEEPER), timer: "nap".to_owned(), for_us: 50_000, db_at });
    };
    ask(world);
    ask(world);
    world.entry(SLEEPER, "sleep", "", "asked", json!({ "for_us": 50_000 }));
    world.pass(ms(60));
    world.entry(SLEEPER, "sleep", "", "ok", Value::Null);
    let db_at = world.now;
    world.line("e2", Record::TimerFired { run: id(SLEEPER), timer: "nap".to_owned(), db_at });
    let until = world.now + ms(10);
    world.entry(SLEEPER, "sleep_until", "", "asked", json!({ "until": until }));
    world.pass(ms(15));
    world.entry(SLEEPER, "sleep_until", "", "ok", Value::Null);
    world.finish(SLEEPER, "completed");
}

/// Two events one after the other, and a third that doesn't come in time.
fn waiter(world: &mut World) {
    world.invoke(WAITER, "waiter");
    let first = world.emit("news", "k", "t1");
    world.wait(WAITER, "news", "k", 0);
    world.receive(WAITER, "news", &first);
    world.line(
        "e2",
        Record::Received { run: id(WAITER), name: "news".to_owned(), key: "k".to_owned(), token: "t1".to_owned() },
    );
    let nth = |nth| Key { nth, ..key("event", "news") };
    world.entry_of(WAITER, nth(2), "asked", json!({ "key": "k", "after": 1 }));
    let second = world.emit("news", "k", "t2");
    let payload = serde_json::from_slice(&second.payload).expect("JSON");
    world.entry_of(WAITER, nth(2), "ok", payload).mark = Some(2);
    world.entry_of(WAITER, nth(3), "asked", json!({ "key": "k", "after": 2, "timeout_us": 10_000 }));
    world.pass(ms(11));
    world.entry_of(WAITER, nth(3), "failed", json!({ "kind": "timed_out", "message": "" }));
    world.emit("news", "k", "t3");
    world.call(emission("news", "k", "t4"), Answer::Unknown { why: "cut off".to_owned() });
    let inside = |name: &str| Record::Emitted {
        run: id(WAITER),
        name: name.to_owned(),
        key: String::new(),
        token: "inside".to_owned(),
    };
    world.line("e2", inside("done"));
    world.event("done", "", "inside");
    world.entry(WAITER, "emit", "done", "ok", Value::Null);
    world.finish(WAITER, "completed");
}

fn family(world: &mut World) {
    world.invoke(PARENT, "parent");
    world.entry(PARENT, "invoke", "child", "asked", json!({ "input": "00" }));
    world.run(CHILD, "child").parent = Some((id(PARENT), key("invoke", "child")));
    world.step(CHILD, "work", "e3");
    world.finish(CHILD, "completed");
    let output = world.dump.runs[&id(CHILD)].output.clone().expect("an output");
    let output = serde_json::from_slice(&output.1).expect("JSON");
    world.entry(PARENT, "invoke", "child", "ok", output);
    world.line("e3", Record::ChildEnded { parent: id(PARENT), child: id(CHILD), ok: true });
    world.finish(PARENT, "completed");
}

/// A run that is cancelled in a step, and cleans up.
fn cancelled(world: &mut World) {
    world.invoke(CANCELLED, "order");
    let body = world.start(CANCELLED, "reserve", 1, "e2");
    world.ok(Op::Cancel { run: id(CANCELLED) }, Reply::Done);
    world.entry(CANCELLED, "cancel", "", "ok", json!("enough"));
    let step = Step::new(id(CANCELLED), "release");
    world.line("e2", Record::CleanupBegun { step: step.clone() });
    let cleaning = world.start_of(step, 1, "e2", true);
    world.end(cleaning, "e2", true);
    world.entry(CANCELLED, "step", "release", "ok", json!({ "body": cleaning }));
    world.finish(CANCELLED, "cancelled");
    assert_ne!(body, cleaning);
}

/// A run whose executor is frozen just before a body makes itself known, and thaws when all is over.
fn stuck(world: &mut World) {
    world.invoke(STUCK, "order");
    world.step(STUCK, "one", "e3");
    world.fault("F2", Hit::Freeze, Some("e3"));
    world.pass(ms(2_000));
    world.step(STUCK, "two", "e2");
    world.fault("F2", Hit::Thaw, Some("e3"));
    world.start(STUCK, "two", 1, "e3");
    world.life("e3", Life::LeaseLost);
    world.step(STUCK, "three", "e2");
    world.finish(STUCK, "completed");
}

/// Limits, schedules, gauges, errors.
fn measures(world: &mut World) {
    let (limit, process) = ("two".to_owned(), "e2".to_owned());
    let take = |holder: &str, process: &str| Record::PlaceTaken {
        limit: limit.clone(),
        most: 2,
        holder: holder.to_owned(),
        process: process.to_owned(),
    };
    world.line("e2", take("a", "e2"));
    world.line("e4", take("b", "e4"));
    world.fault("F1", Hit::Kill, Some("e4"));
    world.line("e2", take("c", "e2"));
    world.line("e2", Record::PlaceLeft { limit: limit.clone(), holder: "a".to_owned() });
    world.line("e2", take("d", "e2"));
    let ticks: Vec<Time> = (1..=3).map(|n| world.begin + ms(n * 1_000)).collect();
    world.line("harness", Record::Schedule { schedule: "hourly".to_owned(), ticks: ticks.clone() });
    for (n, tick) in (100..).zip(ticks) {
        world.line("e2", Record::Tick { schedule: "hourly".to_owned(), tick, run: id(n) });
    }
    for n in 0..40 {
        let value = if n < 10 { f64::from(n) } else { 10.0 + f64::from(n % 3) };
        world.line("e2", Record::Gauge { process: process.clone(), what: "files".to_owned(), value });
    }
    world.line("e2", Record::ErrorSeen { process, code: "COMMIT_UNKNOWN".to_owned() });
}
