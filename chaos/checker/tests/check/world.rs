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

/// How often each invariant is violated.
pub fn counts(violations: &[Violation]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for violation in violations {
        *counts.entry(violation.invariant).or_default() += 1;
    }
    counts
}
