//! How soon runs go on after a fault: from the ledger and the journals, when all is over.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;
use workflow_checker::dump::Dump;
use workflow_checker::record::{Hit, Line, Record};

/// Milliseconds, sorted.
#[derive(Debug, Default)]
pub struct Times(Vec<u64>);

impl Times {
    fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// In a hundred, so many are at most this.
    pub fn percentile(&self, percent: usize) -> Option<u64> {
        let last = self.0.len().checked_sub(1)?;
        self.0.get((last * percent).div_ceil(100)).copied()
    }
}

/// What the ledger says of the ends of processes.
#[derive(Debug, Default)]
pub struct Recoveries {
    /// From a kill to the first progress of one of the victim's runs elsewhere.
    pub kills: Times,
    /// From a SIGTERM.
    pub handovers: Times,
    /// From a SIGSTOP that outlasts the lease.
    pub takeovers: Times,
    /// How many kills met a body in flight.
    pub in_flight: u64,
}

/// A body that has begun and not ended.
struct Open {
    body: u64,
    process: String,
}

/// A process that ended or froze, and when its first run went on.
struct End {
    process: String,
    hit: Hit,
    at: DateTime<Utc>,
    progress: Option<u64>,
}

fn millis(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    u64::try_from((to - from).num_milliseconds()).unwrap_or(0)
}

pub fn recoveries(lines: &[Line]) -> Recoveries {
    let mut open: HashMap<Uuid, Open> = HashMap::new();
    let mut ends: Vec<End> = Vec::new();
    // The runs that were in the middle of a body when their process ended.
    let mut orphans: HashMap<Uuid, usize> = HashMap::new();
    let mut in_flight = 0;
    for line in lines {
        match &line.record {
            Record::BodyStarted { step, process, .. } => {
                if let Some(end) = orphans.remove(&step.run)
                    && let Some(end) = ends.get_mut(end)
                    && end.process != *process
                {
                    end.progress.get_or_insert(millis(end.at, line.at));
                }
                open.insert(step.run, Open { body: line.seq, process: process.clone() });
            }
            Record::BodyEnded { body, .. } => open.retain(|_, it| it.body != *body),
            Record::Fault { hit: hit @ (Hit::Kill | Hit::Terminate | Hit::Freeze), process: Some(process), .. } => {
                let index = ends.len();
                ends.push(End { process: process.clone(), hit: *hit, at: line.at, progress: None });
                let before = orphans.len();
                open.retain(|run, it| {
                    let orphan = it.process == *process;
                    if orphan {
                        orphans.insert(*run, index);
                    }
                    !orphan
                });
                in_flight += u64::from(*hit == Hit::Kill && orphans.len() > before);
            }
            _ => {}
        }
    }
    let times = |hit| Times::of(ends.iter().filter(|end| end.hit == hit).filter_map(|end| end.progress).collect());
    let (kills, handovers, takeovers) = (times(Hit::Kill), times(Hit::Terminate), times(Hit::Freeze));
    Recoveries { kills, handovers, takeovers, in_flight }
}

/// From the moment when the server took connections to the first step that was recorded.
pub fn restarts(restarts: &[DateTime<Utc>], dump: &Dump) -> Times {
    let bodies = |kind: &str| kind == "step" || kind == "transaction";
    let entries = dump.journals.values().flatten();
    let mut recorded: Vec<_> = entries.filter(|entry| bodies(&entry.key.kind)).map(|entry| entry.recorded_at).collect();
    recorded.sort_unstable();
    let first = |up: &DateTime<Utc>| recorded.get(recorded.partition_point(|at| at < up)).map(|at| millis(*up, *at));
    Times::of(restarts.iter().filter_map(first).collect())
}
