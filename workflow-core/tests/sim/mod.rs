//! A seeded world around one machine: it commits outcomes in random order and in batches of any size, hangs up,
//! cancels and refuses when it pleases, and keeps what the code observed, to compare it with replays.

#![allow(dead_code, reason = "every test uses a part of it")]

pub mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use workflow_core::ctx::RunInfo;
use workflow_core::env::{MachineOptions, Notice};
use workflow_core::journal::{ENTRY_VERSION, Entry, Fact, OpKey, Phase};
use workflow_core::registry::AnyWorkflow;
use workflow_core::replay::{Load, Machine, Next};
use workflow_core::store::{Message, ParentRef, Status, Subscription, Then, Turn};
use workflow_core::{Failure, Payload, RunId, Timestamp};

use world::{Rng, SimEnv, WORLD, value};

pub use world::{chaos, gate, trace};

/// What the world may do, besides bringing outcomes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// At most so many outcomes at once.
    pub burst: usize,
    /// Drops the machine and loads it from its journal, now and then.
    pub hangs_up: bool,
    /// Cancels the run, perhaps.
    pub cancels: bool,
    /// Refuses turns that a timer is in, now and then.
    pub refuses: bool,
    /// Replays after each commit.
    pub verifies: bool,
}

/// What was seen with a journal of a certain length.
#[derive(Debug, Clone, Default)]
struct Mark {
    trace: usize,
    asked: Option<Vec<String>>,
}

/// One run and everything around it.
pub struct Sim {
    workflow: Arc<dyn AnyWorkflow>,
    habits: Habits,
    rng: Rng,
    machine: Option<Machine>,
    notices: Arc<Mutex<Vec<Notice>>>,
    pub journal: Vec<Entry>,
    now: Timestamp,
    mail: u64,
    inbox: Vec<Message>,
    subscriptions: Vec<Subscription>,
    events: Vec<(u64, String, Payload)>,
    children: BTreeMap<RunId, ParentRef>,
    cancelled: bool,
    outcomes: BTreeSet<String>,
    cancel_recorded: bool,
    marks: BTreeMap<usize, Mark>,
    trace: Vec<String>,
    next: Option<Next>,
    pub output: Option<(Status, Payload)>,
    pub hang_ups: u32,
}

pub type Verdict = Result<(), String>;

fn created() -> Timestamp {
    Timestamp::from_timestamp_millis(1_700_000_000_000).expect("a valid instant")
}

fn asked(turn: &Turn) -> Vec<String> {
    let immediate =
        |fact: &Fact| fact.key.kind == "emit" || (fact.key.kind == "invoke" && fact.payload.bytes == b"null");
    let facts = turn.entries.iter().filter(|fact| fact.phase == Phase::Asked || immediate(fact));
    facts.map(|fact| format!("{} {}", fact.key, fact.payload.display())).collect()
}

impl Sim {
    pub fn new(workflow: Arc<dyn AnyWorkflow>, habits: Habits, seed: u64) -> Self {
        WORLD.with_borrow_mut(|world| {
            world.gates.clear();
            world.trace.clear();
            world.started.clear();
            // A verification runs the code in between, as a machine of its own.
            world.mute = habits.verifies;
        });
        let mut sim = Self {
            workflow,
            habits,
            rng: Rng::new(seed),
            machine: None,
            notices: Arc::default(),
            journal: Vec::new(),
            now: created(),
            mail: 0,
            inbox: Vec::new(),
            subscriptions: Vec::new(),
            events: Vec::new(),
            children: BTreeMap::new(),
            cancelled: false,
            outcomes: BTreeSet::new(),
            cancel_recorded: false,
            marks: BTreeMap::new(),
            trace: Vec::new(),
            next: None,
            output: None,
            hang_ups: 0,
        };
        sim.machine = Some(sim.load(sim.journal.len(), sim.notices.clone()));
        sim
    }

    fn load(&self, length: usize, notices: Arc<Mutex<Vec<Notice>>>) -> Machine {
        let info = RunInfo {
            id: RunId(uuid::Uuid::from_u128(7)),
            workflow: "test".into(),
            version: 1,
            queue: "default".into(),
            depth: 0,
            created_at: created(),
            place: "test.rs:1",
        };
        let env = Arc::new(SimEnv(MachineOptions { verify: self.habits.verifies, ..MachineOptions::default() }));
        let notify = Arc::new(move |notice| notices.lock().expect("no panic holds it").push(notice));
        let load = Load {
            info,
            input: Payload::json(&()).expect("JSON"),
            parent: None,
            journal: self.journal[..length].to_vec(),
            inbox: self.inbox.clone(),
            mail: self.mail,
        };
        Machine::new(self.workflow.clone(), env, notify, load).expect("a good journal")
    }

    /// Lives the run to its end.
    pub fn live(&mut self) -> Verdict {
        for _ in 0..100_000 {
            match self.turn() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(reason) => return Err(format!("{reason}\n  live trace: {:?}", self.trace)),
            }
        }
        Err("the run doesn't come to an end".to_owned())
    }

    /// Drives once. Returns whether the run has ended.
    fn turn(&mut self) -> Result<bool, String> {
        let next = match self.next.take() {
            Some(next) => next,
            None => self.drive()?,
        };
        match next {
            Next::Commit { turn, idle } => {
                self.note_asked(&turn)?;
                while self.rng.chance(25) && self.act() {
                    let next = self.drive()?;
                    if !matches!(next, Next::Running) {
                        return Err(format!("two turns at once: {next:?}"));
                    }
                }
                let early = turn.not_before.is_some() && self.habits.refuses && self.rng.chance(25);
                if early {
                    self.machine().refused();
                    return Ok(false);
                }
                if let Then::Park(reason) = &turn.then {
                    return Err(format!("parked: {} {}", reason.code, reason.message));
                }
                let ended = self.commit(&turn)?;
                if let (Some(wake), false) = (idle, ended)
                    && self.habits.hangs_up
                    && self.rng.chance(30)
                    && self.inbox.is_empty()
                {
                    let after = wake.after.map(|after| self.now + after);
                    let due = wake.at.into_iter().chain(after).min();
                    self.hang_up();
                    self.next = Some(self.drive()?);
                    let found = self.machine().next_due();
                    if found != due && due.is_some_and(|due| due > self.now) {
                        return Err(format!("was to wake at {due:?}, but is due at {found:?}"));
                    }
                }
                Ok(ended)
            }
            Next::Running | Next::Blocked(_) => {
                if self.has_notices() {
                    return Ok(false);
                }
                if self.habits.hangs_up && self.rng.chance(15) && !self.machine().is_committing() {
                    self.hang_up();
                    return Ok(false);
                }
                let mut acted = false;
                for _ in 0..=self.rng.below(self.habits.burst) {
                    acted |= self.act();
                }
                if acted { Ok(false) } else { Err(format!("hangs: {next:?}, and nothing is outstanding")) }
            }
        }
    }

    fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("loaded")
    }

    fn has_notices(&self) -> bool {
        !self.notices.lock().expect("no panic holds it").is_empty()
    }

    fn drive(&mut self) -> Result<Next, String> {
        let mut notices = std::mem::take(&mut *self.notices.lock().expect("no panic holds it"));
        while !notices.is_empty() {
            match notices.swap_remove(self.rng.below(notices.len())) {
                Notice::Body(op) => self.machine().wake_body(op),
                Notice::Foreign => return Err("a foreign wake-up".to_owned()),
            }
        }
        let now = self.now;
        let next = self.machine().drive(now);
        self.check_bodies()?;
        let (length, trace) = (self.journal.len(), WORLD.with_borrow(|world| world.trace.clone()));
        let mark = self.marks.entry(length).or_insert_with(|| Mark { trace: trace.len(), asked: None });
        if mark.trace != trace.len() || !trace.starts_with(&self.trace) {
            return Err(format!("with the same {length} entries the code saw\n   {:?}\nand now {trace:?}", self.trace));
        }
        self.trace = trace;
        Ok(next)
    }

    fn check_bodies(&mut self) -> Verdict {
        for (key, attempt) in WORLD.with_borrow_mut(|world| std::mem::take(&mut world.started)) {
            if self.outcomes.contains(&key) {
                return Err(format!("the body of {key} began although its outcome is recorded"));
            }
            if self.cancel_recorded && !key.contains("shielded") {
                return Err(format!("the body of {key} began after the cancellation"));
            }
            let failed = |e: &&Entry| e.fact.phase == Phase::Retry && e.fact.key.to_string() == key;
            let retries = self.journal.iter().filter(failed).count();
            if attempt as usize != retries + 1 {
                return Err(format!("attempt {attempt} of {key} after {retries} recorded failures"));
            }
        }
        Ok(())
    }

    fn note_asked(&mut self, turn: &Turn) -> Verdict {
        let asked = asked(turn);
        let mark = self.marks.get_mut(&self.journal.len()).expect("noted by the drive");
        match &mark.asked {
            Some(before) if *before != asked && !asked.is_empty() => {
                Err(format!("at {}: asked {before:?}, and now {asked:?}", self.journal.len()))
            }
            Some(_) => Ok(()),
            None => {
                mark.asked = Some(asked);
                Ok(())
            }
        }
    }

    fn commit(&mut self, turn: &Turn) -> Result<bool, String> {
        self.now += Duration::from_micros(1 + self.rng.below(1_000) as u64);
        if turn.not_before.is_some_and(|at| at > self.now) {
            return Err("a turn before its time".to_owned());
        }
        if turn.position as usize != self.journal.len() {
            return Err(format!("position {} after {} entries", turn.position, self.journal.len()));
        }
        for fact in &turn.entries {
            let position = u32::try_from(self.journal.len()).expect("few entries");
            if fact.phase.is_outcome() {
                if fact.key.kind == "cancel" {
                    self.cancel_recorded = true;
                } else if !self.outcomes.insert(fact.key.to_string()) {
                    return Err(format!("two outcomes of {}", fact.key));
                }
            }
            let entry = Entry { position, fact: fact.clone(), version: ENTRY_VERSION, recorded_at: self.now };
            self.journal.push(entry);
        }
        self.inbox.retain(|message| message.seq > turn.consumed);
        for subscription in &turn.subscribe {
            let buffered =
                self.events.iter().find(|(seq, name, _)| *seq > subscription.after && *name == subscription.name);
            match buffered.cloned() {
                Some((seq, _, payload)) => self.send(event(subscription.op.clone(), seq, payload)),
                None => self.subscriptions.push(subscription.clone()),
            }
        }
        self.subscriptions.retain(|subscription| !turn.unsubscribe.contains(&subscription.op));
        for start in &turn.starts {
            if let Some(parent) = start.parent.clone() {
                self.children.insert(start.id, parent);
            }
        }
        for event in &turn.emits {
            self.emit(&event.name, event.payload.clone());
        }
        for message in &turn.sends {
            // A cancelled child ends, and tells its parent.
            if let Some(parent) = self.children.remove(&message.to) {
                let payload = Failure::cancelled("by its parent").to_payload();
                self.send(Fact { key: parent.key, phase: Phase::Failed, payload, mark: None });
            }
        }
        if let Then::Finish { status, output } = &turn.then {
            self.output = Some((*status, output.clone()));
            let mark = Mark { trace: self.trace.len(), asked: None };
            self.marks.insert(self.journal.len(), mark);
            return Ok(true);
        }
        let now = self.now;
        self.machine().committed(now);
        Ok(false)
    }

    fn emit(&mut self, name: &str, payload: Payload) {
        let seq = self.events.len() as u64 + 1;
        self.events.push((seq, name.to_owned(), payload.clone()));
        let (waiting, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.subscriptions).into_iter().partition(|s| s.name == name && s.after < seq);
        self.subscriptions = others;
        for subscription in waiting {
            self.send(event(subscription.op, seq, payload.clone()));
        }
    }

    fn send(&mut self, fact: Fact) {
        self.mail += 1;
        let message = Message { seq: self.mail, fact };
        self.inbox.push(message.clone());
        self.machine().deliver(message.clone());
        if self.rng.chance(10) {
            // Mail comes twice, now and then.
            self.machine().deliver(message);
        }
    }

    /// Brings one outcome. Returns whether there was one to bring.
    fn act(&mut self) -> bool {
        let gates: Vec<usize> = WORLD.with_borrow(|world| {
            world.gates.iter().filter(|(_, g)| g.value.is_none() && g.waker.is_some()).map(|(id, _)| *id).collect()
        });
        let due = self.machine().next_due();
        let (topics, children) = (self.subscriptions.len(), self.children.len());
        let timers = usize::from(due.is_some());
        let choices = gates.len() + topics + children + timers;
        if self.habits.cancels && !self.cancelled && self.rng.chance(4) {
            self.cancelled = true;
            self.send(workflow_core::replay::cancel("enough"));
            return true;
        }
        if choices == 0 {
            return !self.inbox.is_empty() && self.machine().is_committing();
        }
        let mut choice = self.rng.below(choices);
        if choice < gates.len() {
            let value = value();
            let waker = WORLD.with_borrow_mut(|world| {
                let state = world.gates.get_mut(&gates[choice]).expect("listed");
                state.value = Some(value);
                state.waker.take()
            });
            waker.into_iter().for_each(Waker::wake);
            return true;
        }
        choice -= gates.len();
        if choice < topics {
            let name = self.subscriptions[choice].name.clone();
            self.emit(&name, Payload::json(&value()).expect("JSON"));
            return true;
        }
        choice -= topics;
        if choice < children {
            let id = *self.children.keys().nth(choice).expect("counted");
            let parent = self.children.remove(&id).expect("listed");
            let fact = if self.rng.chance(20) {
                let payload = Failure::new(format!("child {}", value())).to_payload();
                Fact { key: parent.key, phase: Phase::Failed, payload, mark: None }
            } else {
                let payload = Payload::json(&value()).expect("JSON");
                Fact { key: parent.key, phase: Phase::Ok, payload, mark: None }
            };
            self.send(fact);
            return true;
        }
        let extra = Duration::from_millis(self.rng.below(20) as u64);
        self.now = self.now.max(due.expect("counted")) + extra;
        true
    }

    /// Drops the machine and everything that runs, and takes the run up from its journal.
    pub fn hang_up(&mut self) {
        self.hang_ups += 1;
        self.machine = None;
        WORLD.with_borrow_mut(|world| {
            assert!(world.gates.is_empty(), "bodies outlive their machine");
            world.trace.clear();
        });
        self.notices.lock().expect("no panic holds it").clear();
        self.machine = Some(self.load(self.journal.len(), self.notices.clone()));
    }

    /// How many entries the journal has.
    pub fn length(&self) -> usize {
        self.journal.len()
    }

    /// Replays the first `length` entries and compares everything the code saw and asked with the life of the run.
    pub fn replay(&mut self, length: usize) -> Verdict {
        self.machine = None;
        WORLD.with_borrow_mut(|world| world.trace.clear());
        self.inbox.clear();
        let notices: Arc<Mutex<Vec<Notice>>> = Arc::default();
        let mut machine = self.load(length, notices.clone());
        let next = machine.drive(created());
        let trace = WORLD.with_borrow_mut(|world| std::mem::take(&mut world.trace));
        WORLD.with_borrow_mut(|world| world.started.clear());
        let asked = match &next {
            Next::Commit { turn, .. } => match &turn.then {
                Then::Park(reason) => return Err(format!("replay of {length}: {} {}", reason.code, reason.message)),
                Then::Finish { status, output } if length == self.journal.len() => {
                    if self.output != Some((*status, output.clone())) {
                        return Err(format!("replay of {length} ended {status:?} with {}", output.display()));
                    }
                    asked(turn)
                }
                _ => asked(turn),
            },
            _ => Vec::new(),
        };
        if length == self.journal.len()
            && !matches!(&next, Next::Commit { turn, .. } if matches!(turn.then, Then::Finish { .. }))
        {
            return Err(format!("replay of the whole journal doesn't end: {next:?}"));
        }
        let Some(mark) = self.marks.get(&length) else {
            if self.trace.starts_with(&trace) {
                return Ok(());
            }
            return Err(format!("replay of {length} saw\n  {trace:?}\ninstead of a part of\n  {:?}", self.trace));
        };
        if trace != self.trace[..mark.trace] {
            let live = &self.trace[..mark.trace];
            return Err(format!("replay of {length} saw\n  {trace:?}\ninstead of\n  {live:?}"));
        }
        if let Some(live) = &mark.asked
            && asked != *live
        {
            return Err(format!("replay of {length} asks for {asked:?} instead of {live:?}"));
        }
        Ok(())
    }

    /// Replays `count` times: the whole journal, the prefixes that were commits, and any others.
    pub fn replays(&mut self, count: usize) -> Verdict {
        self.replay(self.journal.len())?;
        for _ in 1..count {
            let length = if self.rng.chance(70) {
                let marks: Vec<usize> = self.marks.keys().copied().collect();
                marks[self.rng.below(marks.len())]
            } else {
                self.rng.below(self.journal.len() + 1)
            };
            self.replay(length)?;
        }
        Ok(())
    }
}

fn event(key: OpKey, seq: u64, payload: Payload) -> Fact {
    Fact { key, phase: Phase::Ok, payload, mark: i64::try_from(seq).ok() }
}
