//! Who waits for which run to end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::OptionFuture;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use workflow_core::store::{Wakeup, WatchGuard};
use workflow_core::{RunId, Store};

/// How much later a run's end is told in this process than by the store.
const MOMENT: Duration = Duration::from_millis(2);

type Waiting = Arc<Mutex<BTreeMap<RunId, (usize, Arc<Notify>)>>>;

/// Hands the store's wake-ups to those who wait for a run.
pub(crate) struct Watch {
    waiting: Waiting,
    _guard: WatchGuard,
}

impl Watch {
    pub(crate) fn new(store: &dyn Store) -> Self {
        let waiting = Waiting::default();
        let shared = waiting.clone();
        let guard = store.watch(Arc::new(move |wakeup| {
            let waiting = shared.lock().unwrap_or_else(PoisonError::into_inner);
            match wakeup {
                Wakeup::Ended(run) => {
                    if let Some((_, notify)) = waiting.get(&run) {
                        notify.notify_waiters();
                    }
                }
                Wakeup::Lost => waiting.values().for_each(|(_, notify)| notify.notify_waiters()),
                Wakeup::Ready(_) | Wakeup::Mail(_) | Wakeup::Died => {}
            }
        }));
        Self { waiting, _guard: guard }
    }

    /// Begins to listen for the end of `run`.
    pub(crate) fn waiter(&self, run: RunId) -> Waiter {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, notify) = waiting.entry(run).or_default();
        *count += 1;
        Waiter { run, notify: notify.clone(), waiting: self.waiting.clone() }
    }
}

/// Listens for the end of one run.
pub(crate) struct Waiter {
    run: RunId,
    notify: Arc<Notify>,
    waiting: Waiting,
}

impl Waiter {
    /// Registered from this call on: what happens between it and [`Waiter::wait`] isn't missed.
    pub(crate) fn notified(&self) -> Notified<'_> {
        self.notify.notified()
    }

    /// Until one of the wake-ups, or `at_most`: they may be lost.
    #[expect(clippy::disallowed_methods, reason = "the poll that is the truth when every wake-up is lost")]
    pub(crate) async fn wait(&self, woken: Notified<'_>, told: Option<Notified<'_>>, at_most: Duration) {
        let mut told = std::pin::pin!(OptionFuture::from(told));
        tokio::select! {
            biased;
            Some(()) = &mut told => return,
            () = woken => {}
            () = tokio::time::sleep(at_most) => return,
        }
        // What the store tells of a run of this process is told here as well, a moment later.
        let _ = tokio::time::timeout(MOMENT, told).await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, _)) = waiting.get_mut(&self.run) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.run);
            }
        }
    }
}
