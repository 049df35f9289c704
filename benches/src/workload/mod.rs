//! The workloads: what each is, with what it is compared, and one file each that measures it.

mod replay;
mod w1;
mod w10;
mod w11;
mod w12;
mod w13;
mod w14;
mod w15;
mod w16;
mod w2;
mod w3;
mod w3b;
mod w4;
mod w5;
mod w6;
mod w7;
mod w8;
mod w9;

use crate::AnyError;
use crate::process::Role;
use crate::stage::{Measured, Setup, Stage};

/// Which floor a workload is set beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// None: it is bound by something else.
    Nothing,
    /// The best of the inserts of many rows a commit, in rows a second.
    Batches,
    /// The median single-row commit of one connection, in milliseconds.
    Commit,
}

/// Where a workload means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stores {
    All,
    Postgres,
    /// It needs none, and is measured once whatever the store.
    None,
}

/// A workload with its parameters.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub in_flight: u64,
    pub size: u64,
    pub executors: u64,
    pub queues: u64,
    pub variant: &'static str,
    /// Whether rivals run it, too.
    pub rivals: bool,
}

impl Case {
    const PLAIN: Case = Case { in_flight: 0, size: 0, executors: 0, queues: 0, variant: "", rivals: true };

    const fn in_flight(in_flight: u64) -> Self {
        Self { in_flight, ..Self::PLAIN }
    }

    const fn size(size: u64) -> Self {
        Self { size, ..Self::PLAIN }
    }

    /// For people and for the JSON: `64 in flight`.
    pub fn name(&self) -> String {
        let counts = [
            (self.in_flight, "in flight"),
            (self.size, "in size"),
            (self.queues, "queues"),
            (self.executors, "executors"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let parts: Vec<String> =
            counts.chain([self.variant.to_owned()].into_iter().filter(|v| !v.is_empty())).collect();
        if parts.is_empty() { "alone".to_owned() } else { parts.join(", ") }
    }

    pub fn scaled(self, scale: f64) -> Self {
        let size = (self.size as f64 * scale).round() as u64;
        Self { size: if self.size == 0 { 0 } else { size.max(10) }, ..self }
    }

    pub fn setup(&self, workload: &Spec, url: &str, seconds: f64, smoke: bool) -> Setup {
        Setup {
            workload: workload.id.to_owned(),
            url: url.to_owned(),
            seconds,
            in_flight: self.in_flight,
            size: self.size,
            executors: self.executors,
            queues: self.queues,
            variant: self.variant.to_owned(),
            smoke,
        }
    }
}

/// A workload.
#[derive(Debug)]
pub struct Spec {
    pub id: &'static str,
    pub what: &'static str,
    /// What its costs are divided by.
    pub operation: &'static str,
    /// The figure that stands for it.
    pub figure: &'static str,
    pub cases: &'static [Case],
    /// In a smoke: small, and over in seconds.
    pub smoke: &'static [Case],
    /// How long a measurement takes where nobody says it, and where it isn't given by the size.
    pub seconds: f64,
    pub repeats: usize,
    pub stores: Stores,
    pub against: Against,
}

/// All, in the order in which they are measured.
pub const ALL: [&Spec; 18] = [
    &w1::SPEC,
    &w2::SPEC,
    &w3::SPEC,
    &w3b::SPEC,
    &w4::SPEC,
    &w5::SPEC,
    &w6::SPEC,
    &w7::SPEC,
    &w8::SPEC,
    &w9::SPEC,
    &w10::SPEC,
    &w11::SPEC,
    &w12::SPEC,
    &w13::SPEC,
    &w14::SPEC,
    &w15::SPEC,
    &w16::SPEC,
    &replay::SPEC,
];

/// The workload of this name.
pub fn find(id: &str) -> Option<&'static Spec> {
    ALL.into_iter().find(|spec| spec.id.eq_ignore_ascii_case(id))
}

/// Measures once, in the process that is there for it.
pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    match stage.setup.workload.as_str() {
        "W1" => w1::measure(stage).await,
        "W2" => w2::measure(stage).await,
        "W3" => w3::measure(stage).await,
        "W3b" => w3b::measure(stage).await,
        "W4" => w4::measure(stage).await,
        "W5" => w5::measure(stage).await,
        "W6" => w6::measure(stage).await,
        "W7" => w7::measure(stage).await,
        "W8" => w8::measure(stage).await,
        "W9" => w9::measure(stage).await,
        "W10" => w10::measure(stage).await,
        "W11" => w11::measure(stage).await,
        "W12" => w12::measure(stage).await,
        "W13" => w13::measure(stage).await,
        "W14" => w14::measure(stage).await,
        "W15" => w15::measure(stage).await,
        "W16" => w16::measure(stage).await,
        "replay" => replay::measure(stage).await,
        other => Err(format!("no workload {other}").into()),
    }
}

/// Does what a process of the program is for, and prints its answer.
pub async fn take_part(role: Role, stage: &Stage) -> Result<(), AnyError> {
    let answer = match (role, stage.setup.workload.as_str()) {
        (Role::Measure, _) => serde_json::to_value(measure(stage).await?)?,
        (Role::Prepare, "W8") => serde_json::to_value(w8::prepare(stage).await?)?,
        (Role::Prepare, "W10") => serde_json::to_value(w10::prepare(stage).await?)?,
        (Role::Execute, "W4") => serde_json::to_value(w4::execute(stage).await?)?,
        (Role::Execute, "W10") => serde_json::to_value(w10::execute(stage).await?)?,
        (Role::Execute, "W11") => serde_json::to_value(w11::execute(stage).await?)?,
        (Role::Execute, "W14") => serde_json::to_value(w14::execute(stage).await?)?,
        (role, other) => return Err(format!("{other} has no process for {role:?}").into()),
    };
    println!("{answer}");
    Ok(())
}
