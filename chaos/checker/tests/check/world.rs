//! Histories made by hand: what a ledger and the tables hold when nothing goes wrong, with ways to spoil it.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};
use uuid::Uuid;
use workflow_checker::check::{Options, Violation, check};
use workflow_checker::dump::{Dump, Effect, Entry, Event, Executor, Key, Message, Run, prefixes};
use workflow_checker::record::{Answer, Hit, Life, Line, Observation, Op, Record, Reply, Step, Time};

pub struct World {
    pub lines: Vec<Line>,
    pub dump: Dump,
    pub now: Time,
    pub begin: Time,
}

pub fn ms(n: i64) -> TimeDelta {
    TimeDelta::milliseconds(n)
}

/// The run of that number.
pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub fn key(kind: &str, name: &str) -> Key {
    Key { kind: kind.to_owned(), name: name.to_owned(), nth: 1 }
}

pub fn seen(status: &str, outcome: Option<&str>) -> Observation {
    Observation { status: status.to_owned(), outcome: outcome.map(str::to_owned) }
}

impl World {
    /// A campaign with two executors, and nothing done yet.
    pub fn new() -> Self {
        let begin: Time = "2026-01-01T00:00:00Z".parse().expect("an instant");
        let mut world = Self { lines: Vec::new(), dump: Dump::default(), now: begin, begin };
        world.dump.effects = Some(Vec::new());
        world.line(
            "harness",
            Record::Campaign {
                seed: 7,
                command: "chaos run --seed 7".to_owned(),
                store: "postgres".to_owned(),
                lease_ms: 1_000,
            },
        );
        for (n, name) in [(1001, "e1"), (1002, "e2")] {
            world.life(name, Life::Born);
            let lease_until = begin + ms(3_600_000);
            world.dump.executors.push(Executor { id: id(n), name: name.to_owned(), alive: true, lease_until });
        }
        world
    }

    /// Time passes.
    pub fn pass(&mut self, delta: TimeDelta) -> &mut Self {
        self.now += delta;
        self
    }

    pub fn line(&mut self, from: &str, record: Record) -> u64 {
        self.now += TimeDelta::microseconds(100);
        let seq = self.lines.len() as u64 + 1;
        let mono_us = (self.now - self.begin).num_microseconds().expect("small") as u64;
        let sent_at = self.now - TimeDelta::microseconds(50);
        self.lines.push(Line { seq, mono_us, at: self.now, from: from.to_owned(), sent_at, record });
        seq
    }

    pub fn life(&mut self, process: &str, life: Life) {
        self.line("harness", Record::Executor { process: process.to_owned(), life });
    }

    pub fn fault(&mut self, class: &str, hit: Hit, process: Option<&str>) {
        let process = process.map(str::to_owned);
        self.line("harness", Record::Fault { class: class.to_owned(), hit, process, note: String::new() });
    }

    /// A call and its answer.
    pub fn call(&mut self, op: Op, answer: Answer) {
        let call = Uuid::from_u128(self.lines.len() as u128 + 1_000_000);
        self.line("client", Record::Asked { call, op });
        self.pass(ms(1));
        self.line("client", Record::Answered { call, answer });
    }

    pub fn ok(&mut self, op: Op, reply: Reply) {
        self.call(op, Answer::Ok { reply });
    }

    pub fn failed(&mut self, op: Op, code: &str) {
        self.call(op, Answer::Failed { code: code.to_owned() });
    }

    /// A row of a run that is under way.
    pub fn run(&mut self, n: u128, workflow: &str) -> &mut Run {
        self.now += TimeDelta::microseconds(100);
        let run = Run {
            id: id(n),
            invoke_id: None,
            workflow: workflow.to_owned(),
            version: 1,
            queue: "default".to_owned(),
            status: "waiting".to_owned(),
            output: None,
            parent: None,
            owner: None,
            wake_at: None,
            mail: 0,
            crashes: 0,
            parked: None,
            created_at: self.now,
            finished_at: None,
        };
        self.dump.runs.entry(id(n)).or_insert(run)
    }

    /// An acknowledged run.
    pub fn invoke(&mut self, n: u128, workflow: &str) {
        let invoke_id = format!("{workflow}-{n}");
        self.run(n, workflow).invoke_id = Some(invoke_id.clone());
        self.ok(invocation(&invoke_id, workflow, "input"), Reply::Run { run: id(n) });
    }

    pub fn entry(&mut self, n: u128, kind: &str, name: &str, phase: &str, payload: Value) -> &mut Entry {
        let key = key(kind, name);
        self.entry_of(n, key, phase, payload)
    }

    pub fn entry_of(&mut self, n: u128, key: Key, phase: &str, payload: Value) -> &mut Entry {
        self.now += TimeDelta::microseconds(100);
        let recorded_at = self.now;
        let journal = self.dump.journals.entry(id(n)).or_default();
        journal.push(Entry {
            position: journal.len() as i64,
            key,
            phase: phase.to_owned(),
            codec: 0,
            payload: payload.to_string().into_bytes(),
            mark: None,
            recorded_at,
            committed_at: None,
        });
        journal.last_mut().expect("just added")
    }

    pub fn start(&mut self, n: u128, name: &str, attempt: u32, process: &str) -> u64 {
        self.start_of(Step::new(id(n), name), attempt, process, false)
    }

    pub fn start_of(&mut self, step: Step, attempt: u32, process: &str, cleanup: bool) -> u64 {
        let key = format!("{}/{}/{}/{}", step.run, step.kind, step.name, step.nth);
        self.line(process, Record::BodyStarted { step, attempt, key, process: process.to_owned(), cleanup })
    }

    pub fn end(&mut self, body: u64, process: &str, ok: bool) {
        self.line(process, Record::BodyEnded { body, ok });
    }

    /// A step that goes well at once.
    pub fn step(&mut self, n: u128, name: &str, process: &str) -> u64 {
        let body = self.start(n, name, 1, process);
        self.line(process, Record::BodyEffect { body, what: "did it".to_owned() });
        self.pass(ms(5));
        self.end(body, process, true);
        self.entry(n, "step", name, "ok", json!({ "body": body }));
        body
    }

    /// A transaction that moves money.
    pub fn transaction(&mut self, n: u128, name: &str, process: &str, rows: &[(i64, i64)]) -> u64 {
        let body = self.start_of(Step::transaction(id(n), name), 1, process, false);
        self.line(process, Record::TxWrote { body, rows: rows.to_vec() });
        self.write(n, name, body, rows);
        self.end(body, process, true);
        self.entry(n, "transaction", name, "ok", json!({ "body": body }));
        body
    }

    /// Rows that a transaction commits.
    pub fn write(&mut self, n: u128, name: &str, body: u64, rows: &[(i64, i64)]) {
        for &(account, amount) in rows {
            let effect = Effect { run: id(n), step: name.to_owned(), nth: 1, token: body as i64, account, amount };
            self.effects().push(effect);
            for (_, balance) in self.dump.accounts.iter_mut().filter(|(id, _)| *id == account) {
                *balance += amount;
            }
        }
    }

    pub fn effects(&mut self) -> &mut Vec<Effect> {
        self.dump.effects.get_or_insert_default()
    }

    pub fn event(&mut self, name: &str, key: &str, token: &str) -> Event {
        self.now += TimeDelta::microseconds(100);
        let seq = self.dump.events.iter().filter(|event| event.name == name && event.key == key).count() as i64 + 1;
        let event = Event {
            name: name.to_owned(),
            key: key.to_owned(),
            seq,
            id: Uuid::from_u128(self.dump.events.len() as u128 + 5_000),
            payload: json!({ "token": token }).to_string().into_bytes(),
            emitted_at: self.now,
            expires_at: self.now + TimeDelta::days(7),
        };
        self.dump.events.push(event.clone());
        event
    }

    /// An event from outside.
    pub fn emit(&mut self, name: &str, key: &str, token: &str) -> Event {
        let event = self.event(name, key, token);
        self.ok(emission(name, key, token), Reply::Done);
        event
    }

    /// A run begins to wait.
    pub fn wait(&mut self, n: u128, name: &str, key: &str, after: i64) {
        self.entry(n, "event", name, "asked", json!({ "key": key, "after": after }));
    }

    /// It gets an event.
    pub fn receive(&mut self, n: u128, name: &str, event: &Event) {
        let payload: Value = serde_json::from_slice(&event.payload).expect("JSON");
        self.entry(n, "event", name, "ok", payload).mark = Some(event.seq);
    }

    pub fn finish(&mut self, n: u128, status: &str) {
        self.now += TimeDelta::microseconds(100);
        let (now, output) = (self.now, json!({ "run": n, "ended": status }));
        let run = self.dump.runs.get_mut(&id(n)).expect("a run");
        (run.status, run.finished_at) = (status.to_owned(), Some(now));
        run.output = Some((0, output.to_string().into_bytes()));
        self.dump.inboxes.remove(&id(n));
        self.dump.subscriptions.retain(|subscription| subscription.run != id(n));
    }

    /// A reader looks at the journal as it is now.
    pub fn snapshot(&mut self, n: u128) {
        let prefixes = prefixes(self.dump.journal(id(n)));
        self.line("reader", Record::Journal { run: id(n), prefixes });
    }

    pub fn message(&mut self, n: u128, key: Key, phase: &str) {
        let inbox = self.dump.inboxes.entry(id(n)).or_default();
        inbox.push(Message { seq: inbox.len() as i64 + 1, key, phase: phase.to_owned(), mark: None });
    }

    /// Faults stop, and the tables are read.
    pub fn settle(&mut self) {
        self.pass(ms(10));
        self.line("harness", Record::FaultsStopped);
        self.pass(ms(60_000));
        self.dump.taken_at = self.now;
    }

    pub fn check(&self) -> Vec<Violation> {
        check(&self.lines, &self.dump, &Options::default())
    }

    // What spoils it.

    pub fn row(&mut self, n: u128) -> &mut Run {
        self.dump.runs.get_mut(&id(n)).expect("a run")
    }

    pub fn journal(&mut self, n: u128) -> &mut Vec<Entry> {
        self.dump.journals.get_mut(&id(n)).expect("a journal")
    }

    /// The entry of that name and phase.
    pub fn entry_mut(&mut self, n: u128, name: &str, phase: &str) -> &mut Entry {
        let found = self.journal(n).iter_mut().find(|entry| entry.key.name == name && entry.phase == phase);
        found.expect("an entry")
    }

    /// Takes an entry away, and closes the gap.
    pub fn forget(&mut self, n: u128, name: &str, phase: &str) {
        let journal = self.journal(n);
        journal.retain(|entry| entry.key.name != name || entry.phase != phase);
        for (position, entry) in journal.iter_mut().enumerate() {
            entry.position = position as i64;
        }
    }

    /// The first record that is like this.
    pub fn record(&mut self, wanted: impl Fn(&Record) -> bool) -> &mut Line {
        self.lines.iter_mut().find(|line| wanted(&line.record)).expect("such a record")
    }

    /// The last record that is like this.
    pub fn last(&mut self, wanted: impl Fn(&Record) -> bool) -> &mut Line {
        self.lines.iter_mut().rev().find(|line| wanted(&line.record)).expect("such a record")
    }

    pub fn drop_records(&mut self, unwanted: impl Fn(&Record) -> bool) {
        self.lines.retain(|line| !unwanted(&line.record));
    }

    /// The record of the last body of this step.
    pub fn body(&mut self, n: u128, name: &str) -> &mut Line {
        self.last(|record| matches!(record, Record::BodyStarted { step, .. } if step.run == id(n) && step.name == name))
    }
}

pub fn invocation(invoke_id: &str, workflow: &str, input: &str) -> Op {
    Op::Invoke { id: Some(invoke_id.to_owned()), workflow: workflow.to_owned(), input: input.to_owned() }
}

pub fn emission(name: &str, key: &str, token: &str) -> Op {
    Op::Emit { name: name.to_owned(), key: key.to_owned(), token: token.to_owned() }
}

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

/// How often each invariant is violated.
pub fn counts(violations: &[Violation]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for violation in violations {
        *counts.entry(violation.invariant).or_default() += 1;
    }
    counts
}
