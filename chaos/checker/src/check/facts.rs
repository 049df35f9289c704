//! The ledger and the tables, put in order for the invariants.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use uuid::Uuid;

use super::evidence::Evidence;
use super::{Options, Violation};
use crate::dump::{Dump, Entry, Key};
use crate::record::{Answer, Hit, Life, Line, Observation, Op, Record, Reply, Step, Time};

/// A body that began.
#[derive(Debug)]
pub(super) struct Body<'a> {
    pub line: &'a Line,
    pub step: &'a Step,
    pub attempt: u32,
    pub key: &'a str,
    pub process: &'a str,
    pub cleanup: bool,
    /// When it began, or the earliest that it can have, where its clock is off.
    pub began: Time,
    /// When it began, or the latest that it can have.
    pub began_by: Time,
    pub effects: Vec<&'a Line>,
    pub wrote: Vec<&'a Line>,
    pub ended: Option<(&'a Line, bool)>,
}

impl Body<'_> {
    pub fn id(&self) -> u64 {
        self.line.seq
    }

    /// The key of its operation in the journal.
    pub fn op(&self) -> Key {
        Key { kind: self.step.kind.clone(), name: self.step.name.clone(), nth: i64::from(self.step.nth) }
    }
}

/// A call of a client.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub asked: &'a Line,
    pub op: &'a Op,
    /// `None` when nobody knows.
    pub answer: Option<(&'a Line, Known<'a>)>,
}

/// An answer that isn't "unknown".
#[derive(Debug, Clone, Copy)]
pub(super) enum Known<'a> {
    Ok(&'a Reply),
    Failed(&'a str),
}

impl<'a> Call<'a> {
    /// The answer's line and what came of it, if it was done.
    pub fn done(&self) -> Option<(&'a Line, &'a Reply)> {
        match self.answer {
            Some((line, Known::Ok(reply))) => Some((line, reply)),
            _ => None,
        }
    }

    pub fn failed(&self) -> Option<(&'a Line, &'a str)> {
        match self.answer {
            Some((line, Known::Failed(code))) => Some((line, code)),
            _ => None,
        }
    }

    pub fn slice(&self) -> Evidence {
        Evidence::default().line(self.asked).lines(self.answer.iter().map(|(line, _)| *line))
    }
}

/// What happened to the process of an executor.
#[derive(Debug, Default)]
pub(super) struct Process<'a> {
    /// Its clock is off: by no less than this, as the quickest of its records shows. (By how much a clock is wrong may
    /// change, and a record may wait for others to be synced.)
    pub skew: Option<TimeDelta>,
    /// What may have ended its bodies: kills, freezes, requests to end, lost leases, exits.
    pub hits: Vec<&'a Line>,
    /// When it was frozen, and until when.
    pub frozen: Vec<(&'a Line, Option<&'a Line>)>,
    /// When it was gone.
    pub gone: Option<&'a Line>,
}

/// What a reader saw of a run, with when it asked and when it was told.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub asked: &'a Line,
    pub told: &'a Line,
    pub status: &'a Observation,
}

/// Everything an invariant may want to look at.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub lines: &'a [Line],
    pub dump: &'a Dump,
    pub options: &'a Options,
    pub bodies: Vec<Body<'a>>,
    pub bodies_of: BTreeMap<Uuid, Vec<usize>>,
    pub by_seq: BTreeMap<u64, usize>,
    pub calls: Vec<Call<'a>>,
    pub processes: BTreeMap<&'a str, Process<'a>>,
    pub seen: BTreeMap<Uuid, Vec<Seen<'a>>>,
    pub faults_stopped: Option<&'a Line>,
    pub lease_us: i64,
    seed: u64,
    command: String,
}

impl<'a> Facts<'a> {
    pub fn new(lines: &'a [Line], dump: &'a Dump, options: &'a Options) -> Self {
        let mut facts = Self {
            lines,
            dump,
            options,
            bodies: Vec::new(),
            bodies_of: BTreeMap::new(),
            by_seq: BTreeMap::new(),
            calls: Vec::new(),
            processes: BTreeMap::new(),
            seen: BTreeMap::new(),
            faults_stopped: None,
            lease_us: 5_000_000,
            seed: options.seed.unwrap_or(0),
            command: options.command.clone().unwrap_or_default(),
        };
        facts.take_processes();
        facts.measure_skew();
        facts.take_bodies();
        facts.take_calls();
        facts
    }

    /// A violation of this campaign.
    pub fn violation(&self, invariant: &'static str, run: Option<Uuid>, what: String, slice: Evidence) -> Violation {
        Violation { invariant, run, what, slice: slice.told(), seed: self.seed, repeat: self.command.clone() }
    }

    fn take_processes(&mut self) {
        for line in self.lines {
            match &line.record {
                Record::Campaign { seed, command, lease_ms, .. } => {
                    self.seed = self.options.seed.unwrap_or(*seed);
                    if self.options.command.is_none() {
                        self.command.clone_from(command);
                    }
                    self.lease_us = i64::try_from(*lease_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
                }
                Record::Fault { hit, process: Some(name), .. } => {
                    let process = self.processes.entry(name).or_default();
                    match hit {
                        Hit::Clock => process.skew = Some(TimeDelta::MAX),
                        Hit::Thaw => {
                            if let Some((_, until @ None)) = process.frozen.last_mut() {
                                *until = Some(line);
                            }
                            process.hits.push(line);
                        }
                        Hit::Freeze => {
                            process.frozen.push((line, None));
                            process.hits.push(line);
                        }
                        Hit::Kill | Hit::Terminate => process.hits.push(line),
                        _ => {}
                    }
                }
                Record::Executor { process: name, life } => {
                    let process = self.processes.entry(name).or_default();
                    match life {
                        Life::Born => {}
                        Life::LeaseLost => process.hits.push(line),
                        Life::Exited { .. } => {
                            process.hits.push(line);
                            process.gone = Some(line);
                        }
                    }
                }
                Record::FaultsStopped => self.faults_stopped = Some(line),
                _ => {}
            }
        }
    }

    fn measure_skew(&mut self) {
        for line in self.lines {
            let process = self.processes.get_mut(line.from.as_str());
            if let Some(skew) = process.and_then(|process| process.skew.as_mut()) {
                *skew = (line.at - line.sent_at).min(*skew);
            }
        }
    }

    fn take_bodies(&mut self) {
        for line in self.lines {
            match &line.record {
                Record::BodyStarted { step, attempt, key, process, cleanup } => {
                    let skew = self.processes.get(process.as_str()).and_then(|process| process.skew);
                    let began = line.sent_at.checked_add_signed(skew.unwrap_or_default()).unwrap_or(line.at);
                    let began_by = if skew.is_some() { line.at } else { began };
                    self.by_seq.insert(line.seq, self.bodies.len());
                    self.bodies_of.entry(step.run).or_default().push(self.bodies.len());
                    self.bodies.push(Body {
                        line,
                        step,
                        attempt: *attempt,
                        key,
                        process,
                        cleanup: *cleanup,
                        began,
                        began_by,
                        effects: Vec::new(),
                        wrote: Vec::new(),
                        ended: None,
                    });
                }
                Record::BodyEffect { body, .. } => {
                    if let Some(&index) = self.by_seq.get(body) {
                        self.bodies[index].effects.push(line);
                    }
                }
                Record::TxWrote { body, .. } => {
                    if let Some(&index) = self.by_seq.get(body) {
                        self.bodies[index].wrote.push(line);
                    }
                }
                Record::BodyEnded { body, ok } => {
                    if let Some(&index) = self.by_seq.get(body) {
                        self.bodies[index].ended = Some((line, *ok));
                    }
                }
                _ => {}
            }
        }
    }

    fn take_calls(&mut self) {
        let mut asked = BTreeMap::new();
        for line in self.lines {
            match &line.record {
                Record::Asked { call, op } => {
                    asked.insert(*call, self.calls.len());
                    self.calls.push(Call { asked: line, op, answer: None });
                }
                Record::Answered { call, answer } => {
                    let Some(call) = asked.get(call).map(|&index| &mut self.calls[index]) else { continue };
                    match answer {
                        Answer::Ok { reply } => call.answer = Some((line, Known::Ok(reply))),
                        Answer::Failed { code } => call.answer = Some((line, Known::Failed(code))),
                        Answer::Unknown { .. } => {}
                    }
                    if let (Op::Result { run } | Op::Status { run }, Some((told, Reply::Seen { status }))) =
                        (call.op, call.done())
                    {
                        self.seen.entry(*run).or_default().push(Seen { asked: call.asked, told, status });
                    }
                }
                Record::Observed { run, status } => {
                    self.seen.entry(*run).or_default().push(Seen { asked: line, told: line, status });
                }
                _ => {}
            }
        }
    }

    /// The bodies of a run, in the order of the ledger.
    pub fn bodies_of(&self, run: Uuid) -> impl Iterator<Item = &Body<'a>> {
        self.bodies_of.get(&run).into_iter().flatten().map(|&index| &self.bodies[index])
    }

    /// The bodies of each operation, in the order of the ledger.
    pub fn bodies_by_step(&self) -> BTreeMap<&'a Step, Vec<&Body<'a>>> {
        let mut found = BTreeMap::<_, Vec<_>>::new();
        for body in &self.bodies {
            found.entry(body.step).or_default().push(body);
        }
        found
    }

    /// Whether something that may have ended the bodies of a process happened to it, from `from` to `until`, give or
    /// take what it takes to write it down. That its lease is lost a process may learn much later.
    pub fn was_ended(&self, process: &str, from: Time, until: Time) -> bool {
        let slack = self.options.notice;
        let hits = self.processes.get(process).map_or(&[][..], |process| &process.hits);
        hits.iter().any(|line| {
            let late = match line.record {
                Record::Executor { life: Life::LeaseLost, .. } => self.options.learn,
                _ => slack,
            };
            line.at >= from - slack && line.at <= until + late
        })
    }

    /// The freeze of a body's process that may have kept the body between being let go and its first record: it was
    /// frozen before `before`, and goes on just before the body begins. Such a body did begin in time.
    pub fn thawed_into(&self, body: &Body<'a>, before: Time) -> Option<u64> {
        let process = self.processes.get(body.process)?;
        let just = self.options.thaw;
        let late = |frozen: &&(&'a Line, Option<&'a Line>)| {
            let (from, until) = **frozen;
            from.at <= before && until.is_some_and(|until| until.at <= body.line.at && body.began <= until.at + just)
        };
        process.frozen.iter().find(late).map(|(from, _)| from.seq)
    }

    /// Keeps, of bodies that began too late, those that no freeze excuses: of each freeze it is one at most, since a
    /// thread is at one place when it is frozen.
    pub fn without_thawed(&self, late: Vec<(&Body<'a>, Time, Violation)>) -> Vec<Violation> {
        let mut excused = BTreeMap::<u64, usize>::new();
        let mut kept = Vec::new();
        for (body, before, violation) in late {
            match self.thawed_into(body, before) {
                Some(freeze) if excused.get(&freeze).copied().unwrap_or(0) < self.options.threads => {
                    *excused.entry(freeze).or_default() += 1;
                }
                _ => kept.push(violation),
            }
        }
        kept
    }

    /// The entries of one operation.
    pub fn entries<'f>(&'f self, run: Uuid, key: &'f Key) -> impl Iterator<Item = &'a Entry> + 'f {
        let dump: &'a Dump = self.dump;
        dump.journal(run).iter().filter(move |entry| entry.key == *key)
    }

    /// The outcome of an operation.
    pub fn outcome(&self, run: Uuid, key: &Key) -> Option<&'a Entry> {
        self.entries(run, key).find(|entry| entry.is_outcome())
    }

    /// The entry that records a run's cancellation.
    pub fn cancellation(&self, run: Uuid) -> Option<&'a Entry> {
        self.dump.journal(run).iter().find(|entry| entry.key.kind == "cancel")
    }

    /// Whether the run's rows may be gone, since its time is over.
    pub fn may_be_swept(&self) -> bool {
        self.options
            .retained
            .is_some_and(|retained| self.lines.first().is_some_and(|first| first.at + retained < self.dump.taken_at))
    }
}
