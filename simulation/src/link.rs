//! The way of a call to the store and back, and of a wake-up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use workflow::store::{WakeSink, Wakeup};
use workflow::{RunId, StoreError};

use crate::fault::{Faults, Verdict};
use crate::ledger::Ledger;
use crate::random::Random;
use crate::store::Life;

/// What every link of one simulation shares.
#[derive(Clone)]
pub struct Network {
    /// What goes wrong. Nothing any more, once it is calm.
    pub faults: Arc<Faults>,
    /// Whether nothing goes wrong any more.
    pub calm: Arc<AtomicBool>,
}

/// One executor's or client's way to the store.
pub struct Link {
    pub(crate) name: String,
    pub(crate) ledger: Ledger,
    pub(crate) life: Life,
    network: Network,
    random: Mutex<Random>,
    /// Its process is gone: what it asks isn't heard, and answers reach nobody.
    dead: AtomicBool,
    frozen: Mutex<Option<Instant>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// A link of its own chance.
    pub fn new(name: String, seed: u64, ledger: Ledger, network: Network) -> Arc<Self> {
        let random = Mutex::new(Random::new(seed, &name));
        let (life, frozen) = (Life::default(), Mutex::default());
        Arc::new(Self { name, ledger, life, network, random, dead: AtomicBool::new(false), frozen })
    }

    /// From now on nothing comes through.
    pub fn cut(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Until then nothing comes through.
    pub fn freeze(&self, until: Instant) {
        *locked(&self.frozen) = Some(until);
    }

    fn frozen_until(&self) -> Option<Instant> {
        locked(&self.frozen).filter(|until| Instant::now() < *until)
    }

    fn calm(&self) -> bool {
        self.network.calm.load(Ordering::SeqCst)
    }

    /// The way in one direction.
    #[expect(clippy::disallowed_methods, reason = "virtual time")]
    async fn travel(&self) {
        let delay = if self.calm() { Duration::ZERO } else { self.network.faults.delay(&mut locked(&self.random)) };
        if delay.is_zero() {
            // Others go first, or don't.
            let others = locked(&self.random).below(4);
            for _ in 0..others {
                tokio::task::yield_now().await;
            }
        } else {
            tokio::time::sleep(delay).await;
        }
        while let Some(until) = self.frozen_until() {
            tokio::time::sleep_until(until).await;
        }
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    fn verdict(&self) -> Verdict {
        let number = {
            let mut book = self.ledger.book();
            book.counts.calls += 1;
            book.counts.calls
        };
        let verdict = match self.calm() {
            true => Verdict::Pass,
            false => self.network.faults.verdict(number, &mut locked(&self.random)),
        };
        let mut book = self.ledger.book();
        match verdict {
            Verdict::Pass => {}
            Verdict::UnknownAfter | Verdict::UnknownLate => book.counts.injected_after += 1,
            _ => book.counts.injected_before += 1,
        }
        verdict
    }

    /// A call that writes no entries.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        detail: impl FnOnce() -> String,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writing(Vec::new(), what, detail, work).await
    }

    /// A call that writes entries of these runs.
    pub(crate) async fn writing<T: Send + 'static>(
        &self,
        runs: Vec<RunId>,
        what: &'static str,
        detail: impl FnOnce() -> String,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let verdict = self.verdict();
        self.ledger.log(&self.name, || format!("asks {what} {}", detail()));
        if verdict != Verdict::UnknownLate {
            self.travel().await;
        }
        let unknown = matches!(verdict, Verdict::UnknownBefore | Verdict::UnknownAfter | Verdict::UnknownLate);
        if what == "commit" && unknown {
            self.ledger.book().counts.unknown_commits += 1;
        }
        let answer = match verdict {
            Verdict::Pass => work.await,
            // What the store refuses by itself isn't applied, and is no lost answer.
            Verdict::UnknownAfter => work.await.and_then(|_| Err(verdict.error())),
            Verdict::UnknownLate => {
                self.later(runs, what, work);
                Err(verdict.error())
            }
            _ => Err(verdict.error()),
        };
        let short = |answer: &Result<T, StoreError>| match answer {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{} ({verdict:?})", error.code()),
        };
        self.ledger.log(&self.name, || format!("did {what}: {}", short(&answer)));
        self.travel().await;
        answer
    }

    /// Applies a call by and by: its connection is lost, but the store is still at it.
    #[expect(clippy::disallowed_methods, reason = "virtual time")]
    fn later<T: Send + 'static>(
        &self,
        runs: Vec<RunId>,
        what: &'static str,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) {
        let delay = Duration::from_millis(locked(&self.random).between(1, 60));
        let writing = self.ledger.write_under_way(runs);
        let (ledger, name) = (self.ledger.clone(), self.name.clone());
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let answer = work.await;
            ledger.log(&name, || format!("late {what}: {}", if answer.is_ok() { "ok" } else { "refused" }));
            drop(writing);
        });
    }

    /// The way of a wake-up: it may get lost, and nobody says so.
    #[expect(clippy::disallowed_methods, reason = "virtual time")]
    pub(crate) fn wake(&self, sink: &WakeSink, wakeup: Wakeup) {
        if self.dead.load(Ordering::SeqCst) {
            return;
        }
        let faults = &self.network.faults;
        let roll = if self.calm() { 1_000 } else { locked(&self.random).below(1_000) };
        if roll < faults.lost {
            return;
        }
        if roll < faults.lost + faults.late {
            let (sink, delay) = (sink.clone(), Duration::from_millis(locked(&self.random).between(1, 400)));
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                sink(wakeup);
            });
            return;
        }
        if roll < faults.lost + faults.late + faults.doubled {
            // Others may be dead, for all that anybody knows.
            sink(Wakeup::Died);
            sink(wakeup.clone());
        }
        sink(wakeup);
    }
}
