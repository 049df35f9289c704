//! What a rival has to do, and where.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Runs without steps, so many in flight.
    W1,
    /// Runs of ten serial steps, so many in flight.
    W2,
    /// One run of many serial steps.
    W3,
    /// Runs of one step, one at a time, in an idle process.
    W3b,
    /// Runs that one process enqueues and another one executes, one at a time.
    W4,
    /// One run with many children, all joined.
    W6,
    /// Runs that wait for an event each.
    W7,
    /// A run with a history, resumed by a new process.
    W10,
    /// Runs enqueued and not executed.
    W15,
    /// A step that writes to the database in the transaction that records it.
    W16,
}

impl Workload {
    const ALL: [(Self, &str); 10] = [
        (Self::W1, "W1"),
        (Self::W2, "W2"),
        (Self::W3, "W3"),
        (Self::W3b, "W3b"),
        (Self::W4, "W4"),
        (Self::W6, "W6"),
        (Self::W7, "W7"),
        (Self::W10, "W10"),
        (Self::W15, "W15"),
        (Self::W16, "W16"),
    ];

    /// The workload of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(workload, _)| *workload)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(workload, _)| *workload == self).map_or("", |(_, name)| name)
    }
}

/// What a process of a measurement is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything: most workloads have one process.
    Whole,
    /// Enqueues what another process executes.
    Enqueue,
    /// Executes what another process enqueues.
    Execute,
    /// Begins a run with a history, and is killed.
    Begin,
    /// Goes on with it.
    Resume,
}

impl Role {
    const ALL: [(Self, &str); 5] = [
        (Self::Whole, "whole"),
        (Self::Enqueue, "enqueue"),
        (Self::Execute, "execute"),
        (Self::Begin, "begin"),
        (Self::Resume, "resume"),
    ];

    /// The role of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(role, _)| *role)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(role, _)| *role == self).map_or("", |(_, name)| name)
    }
}

/// What is measured, where and for how long.
#[derive(Clone, Debug)]
pub struct Site {
    /// What is measured.
    pub workload: Workload,
    /// Where the runs are kept: a fresh database, or what the rival's [`Stand`] says.
    pub url: String,
    /// What this process is there for.
    pub role: Role,
    /// How long rates are measured.
    pub time: Duration,
    /// How many runs are in flight, when it isn't the rival's best number.
    pub in_flight: Option<usize>,
    /// Steps, children, waiters, history or bulk, when it isn't the workload's usual number.
    pub size: Option<u32>,
    /// Settings that are tried out.
    pub set: BTreeMap<String, String>,
}

impl Site {
    /// A setting: what is tried out, or else the value that was found best.
    pub fn setting<T: std::str::FromStr>(&self, name: &str, best: T) -> T {
        self.set.get(name).and_then(|text| text.parse().ok()).unwrap_or(best)
    }
}

/// What has to stand before the processes of a measurement start, for as long as it takes.
pub struct Stand {
    /// What takes the place of the database's URL.
    pub url: String,
    /// Taken down when dropped.
    pub _guard: Option<Box<dyn Send + Sync>>,
}

/// What the store says has happened.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// Runs that have ended well.
    pub runs: u64,
    /// Steps that are recorded, where they outlive their run.
    pub steps: Option<u64>,
}

/// A rival, opened in one process.
pub trait Rival: Send + Sync + Sized + 'static {
    /// What the crate is called.
    const NAME: &'static str;
    /// The crates whose releases are its version.
    const CRATES: &'static [&'static str];
    /// What it can do.
    const WORKLOADS: &'static [Workload];

    /// How many processes one run can be resumed by, each after the last was killed.
    const RESUMES: usize = 3;

    /// How many runs in flight it does the most with.
    fn best_in_flight(workload: Workload) -> usize;

    /// What it is tuned to.
    fn settings(site: &Site) -> Value;

    /// What has to stand before.
    fn stand(site: &Site) -> impl Future<Output = Result<Stand>> + Send {
        let url = site.url.clone();
        async { Ok(Stand { url, _guard: None }) }
    }

    /// Starts whatever the process's role asks for.
    fn open(site: &Site) -> impl Future<Output = Result<Self>> + Send;

    /// Starts a run of so many serial steps and waits for its result, which is their number.
    fn run(&self, steps: u32) -> impl Future<Output = Result<u32>> + Send;

    /// Starts a run with so many children and waits for its result, which is their number.
    fn fan_out(&self, _children: u32) -> impl Future<Output = Result<u32>> + Send {
        unsupported::<Self, _>()
    }

    /// Starts a run that waits for an event of that number, and waits for its result, which is the number.
    fn wait(&self, _event: u32) -> impl Future<Output = Result<u32>> + Send {
        unsupported::<Self, _>()
    }

    /// Emits the events of the numbers below that one.
    fn emit(&self, _events: u32) -> impl Future<Output = Result<()>> + Send {
        unsupported::<Self, _>()
    }

    /// Enqueues a run for another process, and waits for its result: what the [clock](crate::gauge::clock) said there.
    fn remote(&self) -> impl Future<Output = Result<u64>> + Send {
        unsupported::<Self, _>()
    }

    /// Enqueues so many runs that nobody executes.
    fn enqueue(&self, _runs: u32) -> impl Future<Output = Result<()>> + Send {
        unsupported::<Self, _>()
    }

    /// Starts a run of so many serial steps with the [gate](crate::gauge::gate) behind them; doesn't wait.
    fn begin(&self, _steps: u32) -> impl Future<Output = Result<()>> + Send {
        unsupported::<Self, _>()
    }

    /// A run of so many serial steps, each of which inserts a row into `public.entries` in the transaction that records
    /// it.
    fn run_transactions(&self, _steps: u32) -> impl Future<Output = Result<u32>> + Send {
        unsupported::<Self, _>()
    }

    /// What the store says has happened; `None` when it can't be asked.
    fn recorded(&self) -> impl Future<Output = Result<Option<Recorded>>> + Send {
        async { Ok(None) }
    }
}

async fn unsupported<R: Rival, T>() -> Result<T> {
    Err(format!("{} can't do that", R::NAME).into())
}

/// What `list` tells of a rival.
pub fn describe<R: Rival>(site: &Site) -> Value {
    let workloads: Vec<&str> = R::WORKLOADS.iter().map(|workload| workload.name()).collect();
    json!({ "rival": R::NAME, "version": version::<R>(), "workloads": workloads, "settings": R::settings(site) })
}

/// The releases in the lock file, which is what was built.
pub fn version<R: Rival>() -> String {
    let release = |name: &&str| {
        let package = include_str!("../Cargo.lock").split(&format!("name = \"{name}\"\nversion = \"")).nth(1);
        package.and_then(|rest| rest.split('"').next()).unwrap_or("?").to_owned()
    };
    R::CRATES.iter().map(release).collect::<Vec<_>>().join(" with ")
}
