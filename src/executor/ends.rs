//! How runs end that were begun here, told to those who wait for them: nobody has to ask the store for what this process
//! has just written there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use workflow_core::store::{Status, Then, Turn};
use workflow_core::{Payload, RunId};

type Awaited = Mutex<HashMap<RunId, Weak<End>>>;

/// Whose end somebody may wait for.
#[derive(Default)]
pub(crate) struct Ends {
    awaited: Arc<Awaited>,
}

/// The end of one run, if it comes in this process. Forgotten when nobody has it any more.
pub(crate) struct End {
    run: RunId,
    outcome: OnceLock<(Status, Payload)>,
    told: Notify,
    awaited: Arc<Awaited>,
}

impl Ends {
    /// A run is about to begin here, and hasn't begun yet.
    pub(crate) fn expect(&self, run: RunId) -> Arc<End> {
        let (outcome, told) = Default::default();
        let end = Arc::new(End { run, outcome, told, awaited: self.awaited.clone() });
        lock(&self.awaited).insert(run, Arc::downgrade(&end));
        end
    }

    /// A turn has been committed.
    pub(crate) fn committed(&self, turn: &Turn) {
        let Then::Finish { status, output } = &turn.then else { return };
        let end = lock(&self.awaited).remove(&turn.run).and_then(|end| end.upgrade());
        if let Some(end) = end {
            let _ = end.outcome.set((*status, output.clone()));
            end.told.notify_waiters();
        }
    }
}

impl End {
    /// The status and the output, or the failure.
    pub(crate) fn outcome(&self) -> Option<(Status, Payload)> {
        self.outcome.get().cloned()
    }

    /// Resolves when the outcome is there, if that happens after this call.
    pub(crate) fn told(&self) -> Notified<'_> {
        self.told.notified()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.outcome.get().is_none() {
            lock(&self.awaited).remove(&self.run);
        }
    }
}

fn lock(awaited: &Awaited) -> MutexGuard<'_, HashMap<RunId, Weak<End>>> {
    awaited.lock().unwrap_or_else(PoisonError::into_inner)
}
