//! What the tasks of one executor share: when to look for work, when to beat, when to end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use workflow_core::env::Env as _;
use workflow_core::store::Wakeup;
use workflow_core::{RunId, Timestamp};

use super::clock::StoreClock;
use super::gate::Gate;
use super::life::Life;
use super::shared::{Closing, Msg, Shared};

/// How long a shutdown waits at most for the runs that it hands over early.
const HAND_OVER_TIME: Duration = Duration::from_millis(500);

/// The tasks' common ground.
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) life: Arc<Life>,
    pub(crate) name: String,
    pub(crate) workflows: Vec<(String, i32)>,
    pub(crate) gates: Vec<Arc<Gate>>,
    pub(crate) lease: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) poll: Duration,
    pub(crate) max_resident: usize,
    pub(crate) max_crashes: u32,
    pub(crate) work: Notify,
    /// A heartbeat has found nothing ready: as good as a claim that finds nothing.
    pub(crate) nothing: Notify,
    /// An executor may be dead before its lease would have ended.
    pub(crate) deaths: Notify,
    /// The lease is shorter than it should be: beat now.
    pub(crate) pulse: Notify,
    pub(crate) due: Mutex<Due>,
    /// When the lease of another executor runs out, as far as is known.
    pub(crate) expiry: Mutex<Option<Timestamp>>,
    pub(crate) turn: AtomicUsize,
    /// Held while a claim is under way.
    pub(crate) claims: tokio::sync::Mutex<()>,
    pub(crate) closing: AtomicBool,
    pub(crate) closed: watch::Sender<bool>,
}

/// When the next hung-up run is due, as far as is known.
#[derive(Default)]
pub(crate) struct Due {
    at: Option<Timestamp>,
    /// When a claim was last made because one was due.
    looked: Option<Instant>,
}

impl Due {
    /// What is due within so long of each other is claimed together.
    const TOGETHER: Duration = Duration::from_millis(10);

    /// How long to wait before the next look.
    fn wait(&self, clock: &StoreClock) -> Option<Duration> {
        let since = |at: Instant| clock.local().saturating_duration_since(at);
        let rest = self.looked.map_or(Duration::ZERO, |at| Self::TOGETHER.saturating_sub(since(at)));
        self.at.map(|at| rest.max(clock.until(at) + Duration::from_millis(1)))
    }

    /// A look is about to be made, because of the time.
    fn look(&mut self, clock: &StoreClock) {
        if self.at.is_some_and(|at| at <= clock.now()) {
            *self = Self { at: None, looked: Some(clock.local()) };
        }
    }
}

impl Engine {
    /// A wake-up of the store: never blocks.
    pub(crate) fn on_wakeup(&self, wakeup: &Wakeup) {
        match wakeup {
            Wakeup::Ready(queue) => {
                if self.gates.iter().any(|gate| gate.name == *queue) {
                    self.work.notify_one();
                }
            }
            Wakeup::Mail(executor) => {
                if *executor == self.life.executor() {
                    self.shared.letters.notify_one();
                }
            }
            Wakeup::Lost => {
                self.work.notify_one();
                self.shared.letters.notify_one();
            }
            Wakeup::Died => self.deaths.notify_one(),
            Wakeup::Ended(_) => {}
        }
    }

    pub(crate) fn look_for_work(&self) {
        self.work.notify_one();
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when there may be work: a wake-up, freed room, a due time, or the slow poll.
    #[expect(clippy::disallowed_methods, reason = "the poll that is the truth when every wake-up is lost")]
    pub(crate) async fn wait_for_work(&self) {
        loop {
            let wait = self.due().wait(&self.shared.clock).map_or(self.poll, |wait| wait.min(self.poll));
            tokio::select! {
                biased;
                () = self.work.notified() => return,
                () = self.shared.room.notified() => return,
                () = self.nothing.notified() => {}
                () = tokio::time::sleep(wait) => return self.due().look(&self.shared.clock),
                () = self.closed() => return,
            }
        }
    }

    /// What a heartbeat saw.
    pub(crate) fn learn_ready(&self, ready: bool) {
        if ready { &self.work } else { &self.nothing }.notify_one();
    }

    /// A hung-up run is due then, if nobody takes it before.
    pub(crate) fn expect_due(&self, at: Option<Timestamp>) {
        let mut due = self.due();
        due.at = due.at.into_iter().chain(at).min();
    }

    /// When the next hung-up run is due.
    pub(crate) fn learn_due(&self, at: Option<Timestamp>) {
        let earlier = {
            let mut due = self.due();
            let earlier = at.is_some_and(|at| due.at.is_none_or(|known| at < known));
            due.at = at;
            earlier
        };
        if earlier {
            self.work.notify_one();
        }
    }

    /// Resolves when the next heartbeat is due: rarer while nothing is owned, and at the moment when another executor
    /// will be dead unless it gives a sign of life before.
    #[expect(clippy::disallowed_methods, reason = "the heartbeat's interval")]
    pub(crate) async fn next_beat(&self) {
        let idle = self.shared.resident.load(Ordering::Acquire) == 0;
        let expiry = *self.expiry.lock().unwrap_or_else(PoisonError::into_inner);
        let expiry = expiry.map(|at| self.shared.clock.until(at).max(self.heartbeat / 10));
        let wait = if idle { self.heartbeat.max(self.lease * 9 / 20) } else { self.heartbeat };
        let wait = expiry.map_or(wait, |expiry| wait.min(expiry));
        let step = self.heartbeat.min(wait);
        tokio::time::sleep(step).await;
        if wait > step && self.shared.resident.load(Ordering::Acquire) == 0 {
            tokio::time::sleep(wait - step).await;
        }
    }

    /// Resolves when a heartbeat that failed is tried again: long before the next one would be due, since others take whoever
    /// stays away for dead.
    #[expect(clippy::disallowed_methods, reason = "the heartbeat's interval")]
    pub(crate) async fn next_try(&self) {
        tokio::time::sleep(self.heartbeat / 8).await;
    }

    /// When the lease of another executor runs out.
    pub(crate) fn learn_expiry(&self, at: Option<Timestamp>) {
        *self.expiry.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// The queues, beginning with another one each time.
    pub(crate) fn gates_in_turn(&self) -> Vec<Arc<Gate>> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.gates.len().max(1);
        self.gates[first..].iter().chain(&self.gates[..first]).cloned().collect()
    }

    pub(crate) fn drivers(&self) -> usize {
        self.shared.drivers.get().map_or(0, Vec::len)
    }

    /// Forgets every run and every place in the queues.
    pub(crate) async fn drop_all(&self) {
        self.life.end();
        super::lease::drop_runs(self).await;
        self.gates.iter().for_each(|gate| gate.clear());
    }

    pub(crate) fn closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Resolves when the executor has closed.
    pub(crate) async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        // An error means that the sender is gone, which is closed as well.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// Tells every driver to let commits end and begin nothing new. What waits for no commit is handed over meanwhile.
    pub(crate) async fn drain(&self) {
        let drained = (0..self.drivers()).map(|driver| async move {
            let (left, runs) = tokio::sync::oneshot::channel();
            let (done, end) = tokio::sync::oneshot::channel();
            self.shared.tell(driver, Msg::Close(Closing { left: Some(left), done }));
            let handed = async { self.hand_over(runs.await.unwrap_or_default()).await };
            let _ = futures::future::join(handed, end).await;
        });
        futures::future::join_all(drained).await;
    }

    /// Gives runs away that no driver has any more. What it doesn't come to in time is handed over with the rest.
    async fn hand_over(&self, runs: Vec<RunId>) {
        if runs.is_empty() {
            return;
        }
        // A claim of ours that is under way would take them back.
        if tokio::time::timeout(HAND_OVER_TIME, self.claims.lock()).await.is_err() {
            return;
        }
        let (store, executor) = (self.shared.env.store.clone(), self.life.executor());
        let (handed, over) = tokio::sync::oneshot::channel::<()>();
        // To its end: half-way, it might do it and tell nobody.
        self.shared.env.spawn(Box::pin(async move {
            if let Err(error) = store.hand_over(executor, &runs).await {
                tracing::debug!(%error, "runs weren't handed over early");
            }
            drop(handed);
        }));
        let _ = tokio::time::timeout(HAND_OVER_TIME, over).await;
    }
}
