//! Told by every body of a step that it begins: the ledger's eye in the executors.

use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use workflow::memory::Clock;
use workflow::{ExecutorId, RunId, StepCtx};
use workflow_core::journal::{Entry, OpKey, Phase};
use workflow_core::ops::CANCEL;

use crate::interpret::CLEANUP;
use crate::ledger::Ledger;

/// An executor's state.
#[derive(Clone)]
pub struct Probe {
    pub(crate) ledger: Ledger,
    /// The number of the executor, never used again.
    pub(crate) executor: usize,
    pub(crate) name: String,
    /// The present life of the executor.
    pub(crate) life: Arc<Mutex<Option<ExecutorId>>>,
    /// How many runs of a queue may be active at once.
    pub(crate) concurrency: usize,
}

/// A body is running until this is dropped.
pub struct Running {
    probe: Probe,
    queue: String,
    run: RunId,
}

impl Probe {
    /// The body of a step begins.
    pub fn begin(&self, step: &StepCtx) -> Running {
        let (run, attempt, ledger) = (step.run_id(), step.attempt(), &self.ledger);
        let key = key_of(step);
        ledger.log(&self.name, || format!("body {run} {key} attempt {attempt}"));
        let journal = ledger.journal(run);
        let of_step: Vec<&Entry> = journal.iter().filter(|entry| entry.fact.key == key).collect();
        if of_step.iter().any(|entry| entry.fact.phase.is_outcome()) {
            ledger.violation("I4", Some(run), format!("{key} began after its outcome was recorded"));
        }
        let cancelled = journal.iter().any(|entry| entry.fact.key.kind == CANCEL);
        if cancelled && step.step_name() != CLEANUP {
            ledger.violation("I16", Some(run), format!("{key} began after a recorded cancel"));
        }
        self.check_attempt(run, &key, attempt, &of_step);
        let life = *self.life.lock().unwrap_or_else(PoisonError::into_inner);
        let record = ledger.record(run);
        let owner = record.as_ref().and_then(|record| record.owner);
        if owner != life {
            let what = format!("{key} began in {life:?}, but the run belongs to {owner:?}");
            ledger.violation("I9", Some(run), what);
        }
        self.enter(run, key, attempt, life, record.map(|record| record.queue).unwrap_or_default())
    }

    /// Attempts follow failures that are recorded, and not before it is time.
    fn check_attempt(&self, run: RunId, key: &OpKey, attempt: u32, of_step: &[&Entry]) {
        let retries: Vec<_> = of_step.iter().filter(|entry| entry.fact.phase == Phase::Retry).collect();
        if retries.len() as u32 + 1 != attempt {
            let what = format!("attempt {attempt} of {key} began with {} failures recorded", retries.len());
            self.ledger.violation("I6", Some(run), what);
        }
        if let Some(last) = retries.last() {
            let delay = chrono::TimeDelta::microseconds(last.fact.mark.unwrap_or(0));
            let now = self.ledger.clock.now();
            // No transaction looks at this time: it is kept as well as executors know the store's clock.
            let slack = chrono::TimeDelta::milliseconds(1);
            if now + slack < last.recorded_at + delay && self.ledger.book().true_clock {
                let what = format!("attempt {attempt} of {key} began {} early", last.recorded_at + delay - now);
                self.ledger.violation("I10", Some(run), what);
            }
        }
    }

    fn enter(&self, run: RunId, key: OpKey, attempt: u32, life: Option<ExecutorId>, queue: String) -> Running {
        let mut crowd = 0;
        let mut again = false;
        self.ledger.begins(run);
        {
            let mut book = self.ledger.book();
            if let Some(life) = life {
                again = !book.begun.insert((run, key.clone(), attempt, life));
            }
            let runs = book.running.entry((self.executor, queue.clone())).or_default();
            *runs.entry(run).or_default() += 1;
            crowd = crowd.max(runs.len());
        }
        if again {
            self.ledger.violation("I6", Some(run), format!("attempt {attempt} of {key} began twice in one life"));
        }
        if crowd > self.concurrency {
            let what = format!("{crowd} runs of queue {queue} are active in {}, not {}", self.name, self.concurrency);
            self.ledger.violation("I14", Some(run), what);
        }
        Running { probe: self.clone(), queue, run }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut book = self.probe.ledger.book();
        let Some(runs) = book.running.get_mut(&(self.probe.executor, self.queue.clone())) else { return };
        if let Some(bodies) = runs.get_mut(&self.run) {
            *bodies -= 1;
            if *bodies == 0 {
                runs.remove(&self.run);
            }
        }
    }
}

/// Which step it is: a body isn't told the how-manieth of its name, but a key that is made of it.
fn key_of(step: &StepCtx) -> OpKey {
    let key = |nth| OpKey::new("step", step.step_name(), nth);
    let sought = step.idempotency_key();
    (1..100).map(key).find(|key| idempotency_key(step.run_id(), key) == sought).unwrap_or_else(|| key(0))
}

/// As [`StepCtx::idempotency_key`] says it: SHA-256 of the run's id and the step's identity.
fn idempotency_key(run: RunId, key: &OpKey) -> String {
    let mut hash = Sha256::new();
    hash.update(run.0.as_bytes());
    for part in [&key.kind, &key.name] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(key.nth.to_le_bytes());
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
