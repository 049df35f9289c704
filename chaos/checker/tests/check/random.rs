//! Random histories in which all goes as it should, faults and all: none may raise an alarm.

use proptest::prelude::*;
use serde_json::json;
use workflow_checker::dump::{Key, Subscription};
use workflow_checker::record::{Answer, Hit, Life, Op, Record, Reply, Step};

use crate::world::*;

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// What a run is doing.
#[derive(Default)]
struct State {
    owner: usize,
    steps: u64,
    /// A body that has begun: its step, attempt and id.
    body: Option<(Step, u32, u64)>,
    waits: u64,
    received: i64,
    waiting: Option<Key>,
    child: Option<u128>,
    over: bool,
}

struct Campaign {
    world: World,
    dice: Dice,
    /// The names of the processes that live.
    processes: Vec<String>,
    born: usize,
    runs: Vec<State>,
    emitted: i64,
}

/// Runs have these numbers, their children 1,000 more.
const FIRST: u128 = 10;

impl Campaign {
    fn new(seed: u64, runs: usize) -> Self {
        let mut world = World::new();
        world.line("harness", Record::Accounts { balances: vec![(1, 1_000), (2, 1_000)] });
        world.dump.accounts = vec![(1, 1_000), (2, 1_000)];
        let mut dice = Dice(seed);
        for n in 0..runs as u128 {
            if dice.below(4) == 0 {
                let asked = invocation(&format!("order-{}", FIRST + n), "order", "input");
                world.call(asked, Answer::Unknown { why: "cut off".to_owned() });
            }
            world.invoke(FIRST + n, "order");
        }
        let runs = (0..runs).map(|_| State { owner: dice.below(2) as usize, ..State::default() }).collect();
        let processes = vec!["e1".to_owned(), "e2".to_owned()];
        Self { world, dice, processes, born: 2, runs, emitted: 0 }
    }

    fn act(&mut self) {
        let index = self.dice.below(self.runs.len() as u64) as usize;
        self.world.pass(ms(self.dice.below(20) as i64));
        match self.dice.below(16) {
            0 => self.kill(),
            1 => self.freeze(),
            2 => self.emit(),
            3 => self.read(index),
            _ if self.runs[index].over => {}
            4 => self.sleep(index),
            5 => self.child(index),
            6 => self.transfer(index),
            7 => self.wait(index),
            8 if self.dice.below(6) == 0 => self.cancel(index),
            9 => self.hand_over(index),
            _ => self.step(index),
        }
    }

    fn process(&self, index: usize) -> String {
        self.processes[self.runs[index].owner].clone()
    }

    /// A body begins, or goes on to its end.
    fn step(&mut self, index: usize) {
        let (n, process) = (FIRST + index as u128, self.process(index));
        let Some((step, attempt, body)) = self.runs[index].body.take() else {
            let step = Step::new(id(n), format!("step-{}", self.runs[index].steps));
            self.runs[index].steps += 1;
            let body = self.world.start_of(step.clone(), 1, &process, false);
            self.runs[index].body = Some((step, 1, body));
            return;
        };
        if self.dice.below(4) == 0 {
            self.world.end(body, &process, false);
            self.world.entry(n, "step", &step.name, "retry", json!({})).mark = Some(10_000);
            self.world.pass(ms(11));
            let body = self.world.start_of(step.clone(), attempt + 1, &process, false);
            self.runs[index].body = Some((step, attempt + 1, body));
            return;
        }
        self.world.line(&process, Record::BodyEffect { body, what: "did it".to_owned() });
        self.world.end(body, &process, true);
        self.world.entry(n, "step", &step.name, "ok", json!({ "body": body }));
    }

    /// Runs of a process that is lost begin their bodies again elsewhere.
    fn take_over(&mut self, process: usize) {
        for index in 0..self.runs.len() {
            if self.runs[index].owner != process || self.runs[index].over {
                continue;
            }
            self.runs[index].owner = self.dice.below(self.processes.len() as u64) as usize;
            self.world.row(FIRST + index as u128).crashes = 1;
            if let Some((step, attempt, _)) = self.runs[index].body.take() {
                let name = self.process(index);
                let body = self.world.start_of(step.clone(), attempt, &name, false);
                self.runs[index].body = Some((step, attempt, body));
            }
        }
    }

    fn replace(&mut self, process: usize) {
        self.born += 1;
        self.processes[process] = format!("e{}", self.born);
        let name = self.processes[process].clone();
        self.world.life(&name, Life::Born);
    }

    fn kill(&mut self) {
        let process = self.dice.below(2) as usize;
        let name = self.processes[process].clone();
        self.world.fault("F1", Hit::Kill, Some(&name));
        self.world.life(&name, Life::Exited { graceful: false });
        self.world.pass(ms(self.dice.below(2_000) as i64));
        self.replace(process);
        self.take_over(process);
    }

    /// A process is frozen; others take its runs; it thaws with a body that was just let go.
    fn freeze(&mut self) {
        let process = self.dice.below(2) as usize;
        let name = self.processes[process].clone();
        let caught = self.runs.iter().position(|run| run.owner == process && !run.over && run.body.is_none());
        self.world.fault("F2", Hit::Freeze, Some(&name));
        self.world.pass(ms(2_000));
        self.replace(process);
        self.take_over(process);
        let mut zombie = None;
        if let Some(index) = caught {
            let step = format!("step-{}", self.runs[index].steps);
            self.step(index);
            if self.dice.below(2) == 0 {
                self.step(index);
            }
            zombie = Some(Step::new(id(FIRST + index as u128), step));
        }
        self.world.fault("F2", Hit::Thaw, Some(&name));
        if let Some(step) = zombie {
            self.world.start_of(step, 1, &name, false);
        }
        self.world.life(&name, Life::LeaseLost);
    }

    /// A run without a body goes to another process in good order.
    fn hand_over(&mut self, index: usize) {
        if self.runs[index].body.is_none() {
            self.runs[index].owner = 1 - self.runs[index].owner;
        }
    }

    fn sleep(&mut self, index: usize) {
        let n = FIRST + index as u128;
        if self.runs[index].body.is_some() {
            return;
        }
        let nth = self.world.dump.journal(id(n)).iter().filter(|entry| entry.key.kind == "sleep").count() as i64;
        let key = Key { kind: "sleep".to_owned(), name: String::new(), nth: nth + 1 };
        let long = self.dice.below(100) as i64;
        self.world.entry_of(n, key.clone(), "asked", json!({ "for_us": long * 1_000 }));
        self.world.pass(ms(long));
        self.world.entry_of(n, key, "ok", json!(null));
    }

    fn child(&mut self, index: usize) {
        let (n, child) = (FIRST + index as u128, FIRST + 1_000 + index as u128);
        match self.runs[index].child {
            None => {
                self.runs[index].child = Some(child);
                self.world.entry(n, "invoke", "child", "asked", json!({ "input": "00" }));
                self.world.run(child, "child").parent = Some((id(n), key("invoke", "child")));
            }
            Some(_) if !self.world.dump.runs[&id(child)].is_terminal() => {
                let process = self.process(index);
                self.world.step(child, "work", &process);
                self.world.finish(child, "completed");
                let output = self.world.dump.runs[&id(child)].output.clone().expect("an output");
                let output = serde_json::from_slice(&output.1).expect("JSON");
                self.world.entry(n, "invoke", "child", "ok", output);
            }
            Some(_) => {}
        }
    }

    fn transfer(&mut self, index: usize) {
        let (n, process) = (FIRST + index as u128, self.process(index));
        if self.runs[index].body.is_some() {
            return;
        }
        let name = format!("move-{}", self.runs[index].steps);
        self.runs[index].steps += 1;
        let rows = [(1, -5), (2, 5)];
        if self.dice.below(3) == 0 {
            let body = self.world.start_of(Step::transaction(id(n), name.as_str()), 1, &process, false);
            self.world.line(&process, Record::TxWrote { body, rows: rows.to_vec() });
        }
        self.world.transaction(n, &name, &process, &rows);
    }

    fn emit(&mut self) {
        self.emitted += 1;
        let token = format!("t{}", self.emitted);
        let event = self.world.event("news", "", &token);
        for index in 0..self.runs.len() {
            let Some(key) = self.runs[index].waiting.take() else { continue };
            self.world.dump.subscriptions.retain(|subscription| subscription.run != id(FIRST + index as u128));
            self.get(index, key, event.seq);
        }
        let op = emission("news", "", &token);
        match self.dice.below(3) {
            0 => self.world.call(op, Answer::Unknown { why: "cut off".to_owned() }),
            _ => self.world.ok(op, Reply::Done),
        }
    }

    fn wait(&mut self, index: usize) {
        if self.runs[index].waiting.is_some() || self.runs[index].body.is_some() {
            return;
        }
        self.runs[index].waits += 1;
        let (n, after) = (FIRST + index as u128, self.runs[index].received);
        let key = Key { nth: self.runs[index].waits as i64, ..key("event", "news") };
        self.world.entry_of(n, key.clone(), "asked", json!({ "after": after }));
        if after < self.emitted {
            return self.get(index, key, after + 1);
        }
        let (topic_name, topic_key) = ("news".to_owned(), String::new());
        let subscription = Subscription { run: id(n), key: key.clone(), topic_name, topic_key, after };
        self.world.dump.subscriptions.push(subscription);
        self.runs[index].waiting = Some(key);
    }

    fn get(&mut self, index: usize, key: Key, seq: i64) {
        self.runs[index].received = seq;
        let payload = json!({ "token": format!("t{seq}") });
        self.world.entry_of(FIRST + index as u128, key, "ok", payload).mark = Some(seq);
    }

    fn read(&mut self, index: usize) {
        let n = FIRST + index as u128;
        self.world.snapshot(n);
        let status = self.world.row(n).status.clone();
        let outcome = self.runs[index].over.then_some("out");
        self.world.ok(Op::Status { run: id(n) }, Reply::Seen { status: seen(&status, outcome) });
        match self.dice.below(3) {
            0 => {
                let op = invocation(&format!("order-{n}"), "order", "input");
                self.world.ok(op, Reply::Run { run: id(n) });
            }
            1 => self.world.failed(invocation(&format!("order-{n}"), "order", "else"), "ID_CONFLICT"),
            _ => {}
        }
    }

    fn cancel(&mut self, index: usize) {
        let (n, process) = (FIRST + index as u128, self.process(index));
        self.world.ok(Op::Cancel { run: id(n) }, Reply::Done);
        self.world.entry(n, "cancel", "", "ok", json!("enough"));
        self.runs[index].body = None;
        let step = Step::new(id(n), "cleanup");
        self.world.line(&process, Record::CleanupBegun { step: step.clone() });
        let body = self.world.start_of(step, 1, &process, true);
        self.world.end(body, &process, true);
        self.world.entry(n, "step", "cleanup", "ok", json!({ "body": body }));
        self.end(index, "cancelled");
    }

    fn end(&mut self, index: usize, status: &str) {
        let n = FIRST + index as u128;
        if let Some(child) = self.runs[index].child
            && !self.world.dump.runs[&id(child)].is_terminal()
        {
            self.world.entry(child, "cancel", "", "ok", json!("its parent has ended"));
            self.world.finish(child, "cancelled");
        }
        self.runs[index].over = true;
        self.runs[index].waiting = None;
        self.world.finish(n, status);
    }

    /// At any moment the tables may be read, too.
    fn finish(&mut self, settled: bool) {
        if !settled {
            self.world.pass(ms(1));
            self.world.dump.taken_at = self.world.now;
            return;
        }
        for index in 0..self.runs.len() {
            while self.runs[index].body.is_some() {
                self.step(index);
            }
            if !self.runs[index].over {
                self.end(index, "completed");
            }
        }
        self.world.settle();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn good_histories_raise_no_alarm(seed: u64, runs in 1usize..8, acts in 0usize..250, settled: bool) {
        let mut campaign = Campaign::new(seed, runs);
        for _ in 0..acts {
            campaign.act();
        }
        campaign.finish(settled);
        let violations = campaign.world.check();
        prop_assert!(violations.is_empty(), "{:#?}", violations);
    }
}
