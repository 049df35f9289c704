//! A journal of serial steps, and the replay machine over it: no store, no runtime, no clock.

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::time::Duration;

use workflow_core::ctx::RunInfo;
use workflow_core::env::{Env, MachineOptions, SendFuture};
use workflow_core::journal::{ENTRY_VERSION, Entry, Fact, OpKey, Phase};
use workflow_core::registry::{AnyWorkflow, Erased};
use workflow_core::replay::{Load, Machine, Next};
use workflow_core::store::Then;
use workflow_core::{ExecutorId, MemoryStore, Payload, RunId, Store, Timestamp};

use crate::{AnyError, code};

/// A process around a machine that only replays.
struct Quiet(MachineOptions);

impl Env for Quiet {
    fn options(&self) -> &MachineOptions {
        &self.0
    }

    fn state(&self, _: TypeId) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    fn enter(&self, f: &mut dyn FnMut()) {
        f();
    }

    fn timer(&self, _: Duration) -> SendFuture {
        Box::pin(std::future::pending())
    }

    fn spawn(&self, _: SendFuture) {}

    fn random(&self) -> f64 {
        0.5
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::default())
    }

    fn executor(&self) -> ExecutorId {
        ExecutorId::generate()
    }
}

/// A run with a journal to replay.
pub struct Replay {
    entries: Vec<Entry>,
    count: u64,
    env: Arc<dyn Env>,
    workflow: Arc<dyn AnyWorkflow>,
}

impl Replay {
    /// So many serial steps.
    pub fn of(count: u64) -> Result<Self, AnyError> {
        let entry = |i: u64| {
            let key = OpKey::new("step", "one", u32::try_from(i + 1)?);
            let fact = Fact { key, phase: Phase::Ok, payload: Payload::json(&i)?, mark: None };
            let position = u32::try_from(i)?;
            Ok(Entry { position, fact, version: ENTRY_VERSION, recorded_at: Timestamp::UNIX_EPOCH })
        };
        let entries = (0..count).map(entry).collect::<Result<Vec<_>, AnyError>>()?;
        let options = MachineOptions { verify: false, max_entries: u32::MAX, ..MachineOptions::default() };
        Ok(Self { entries, count, env: Arc::new(Quiet(options)), workflow: Arc::new(Erased(code::replayed)) })
    }

    /// The journal as a store would give it.
    pub fn journal(&self) -> Vec<Entry> {
        self.entries.clone()
    }

    /// Replays it to the end: what is counted and timed.
    #[inline(never)]
    pub fn run(&self, journal: Vec<Entry>) -> Result<(), AnyError> {
        let info = RunInfo {
            id: RunId(uuid::Uuid::from_u128(7)),
            workflow: self.workflow.name().to_owned(),
            version: self.workflow.version(),
            queue: "default".to_owned(),
            depth: 0,
            created_at: Timestamp::UNIX_EPOCH,
            place: self.workflow.place(),
        };
        let load = Load { info, input: Payload::json(&self.count)?, parent: None, journal, inbox: Vec::new(), mail: 0 };
        let machine = Machine::new(self.workflow.clone(), self.env.clone(), Arc::new(|_| {}), load);
        let mut machine = machine.map_err(|reason| reason.message)?;
        let Next::Commit { turn, .. } = machine.drive(Timestamp::UNIX_EPOCH) else {
            return Err("the replay didn't come to the end of the run".into());
        };
        let Then::Finish { output, .. } = turn.then else { return Err("the replay parked the run".into()) };
        let sum: u64 = output.decode()?;
        if !turn.entries.is_empty() || sum != self.count * (self.count - 1) / 2 {
            return Err(format!("the replay gave {sum}, and {} new entries", turn.entries.len()).into());
        }
        Ok(())
    }
}
