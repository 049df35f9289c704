//! Who is woken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::{WakeSink, Wakeup, WatchGuard};

/// The sinks, in the order in which they came.
#[derive(Default, Clone)]
pub(super) struct Watchers {
    sinks: Arc<Mutex<Sinks>>,
}

#[derive(Default)]
struct Sinks {
    next: u64,
    sinks: BTreeMap<u64, WakeSink>,
}

impl Watchers {
    pub(super) fn add(&self, sink: WakeSink) -> WatchGuard {
        let mut sinks = self.lock();
        let number = sinks.next;
        sinks.next += 1;
        sinks.sinks.insert(number, sink);
        let watchers = self.clone();
        WatchGuard::new(move || {
            watchers.lock().sinks.remove(&number);
        })
    }

    /// Calls every sink with every wake-up. No lock is held meanwhile: a sink may watch, end a watch or use the store.
    pub(super) fn wake(&self, wakeups: Vec<Wakeup>) {
        if wakeups.is_empty() {
            return;
        }
        let sinks: Vec<_> = self.lock().sinks.values().cloned().collect();
        for wakeup in wakeups {
            for sink in &sinks {
                sink(wakeup.clone());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sinks> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
