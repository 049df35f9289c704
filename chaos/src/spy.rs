//! What an executor does to its store, told to the harness; and wake-ups that are lost, doubled and late.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use workflow::store::{Call, Layer, Method, WakeSink};
use workflow::{ExecutorId, StoreError};

use crate::rng::Rng;

/// What is told whenever a lease is lost.
pub type OnLost = Arc<dyn Fn() + Send + Sync>;

/// A layer around a store, which changes only the wake-ups.
pub struct Spy {
    rng: Arc<Mutex<Rng>>,
    /// How many wake-ups in a hundred are disturbed.
    disturbed: u64,
    wakeups: Arc<AtomicU64>,
    on_lost: OnLost,
    /// Lives that ended themselves. Answers to what they had asked before come late, and are no loss: one would excuse a
    /// crash that was counted for it.
    closed: Mutex<HashSet<ExecutorId>>,
    /// Whether an executor lived here before.
    lived: AtomicBool,
}

impl std::fmt::Debug for Spy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spy")
    }
}

impl Spy {
    pub fn new(rng: Rng, disturbed: u64, on_lost: OnLost) -> Self {
        Self {
            rng: Arc::new(Mutex::new(rng)),
            disturbed,
            wakeups: Arc::default(),
            on_lost,
            closed: Mutex::default(),
            lived: AtomicBool::new(false),
        }
    }

    /// How many wake-ups were disturbed so far.
    pub fn wakeups(&self) -> Arc<AtomicU64> {
        self.wakeups.clone()
    }

    fn close(&self, executor: ExecutorId) {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).insert(executor);
    }

    fn lost(&self) {
        println!("lease-lost");
        (self.on_lost)();
    }

    fn see<T>(&self, writes: bool, result: &Result<T, StoreError>) {
        if let Err(StoreError::LeaseLost(executor)) = result {
            println!("{}", if writes { "refused-write" } else { "lease-lost" });
            if !self.closed.lock().unwrap_or_else(PoisonError::into_inner).contains(executor) {
                (self.on_lost)();
            }
        }
        match result {
            Err(StoreError::Unknown(_)) if writes => println!("unknown-commit"),
            Err(StoreError::Unusable(reason)) if reason.contains("read-only") => println!("read-only"),
            Err(StoreError::Unavailable(reason)) if reason.contains("(53100)") => println!("disk-full"),
            _ => {}
        }
    }
}

impl Layer for Spy {
    async fn call<T: Send>(
        &self,
        Call { method, executor, turns, .. }: Call<'_>,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if let (Method::Close, Some(executor)) = (method, executor) {
            self.close(executor);
        }
        let result = work.await;
        match method {
            Method::Commit => self.see(!turns.is_empty(), &result),
            Method::Register
            | Method::Heartbeat
            | Method::HandOver
            | Method::Rescue
            | Method::Create
            | Method::Claim => {
                self.see(false, &result);
            }
            _ => {}
        }
        if method == Method::Register && result.is_ok() && self.lived.swap(true, Ordering::SeqCst) {
            // A new life: nobody may have told it that the old one is over, but it couldn't know better.
            self.lost();
        }
        result
    }

    fn sink(&self, sink: WakeSink) -> WakeSink {
        if self.disturbed == 0 {
            return sink;
        }
        let (rng, disturbed, count) = (self.rng.clone(), self.disturbed, self.wakeups.clone());
        let runtime = tokio::runtime::Handle::current();
        Arc::new(move |wakeup| {
            let (hit, how, late) = {
                let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
                (rng.chance(disturbed), rng.below(3), rng.millis(100, 1_500))
            };
            if !hit {
                return sink(wakeup);
            }
            count.fetch_add(1, Ordering::Relaxed);
            match how {
                0 => {}
                1 => {
                    sink(wakeup.clone());
                    sink(wakeup);
                }
                _ => {
                    let sink = sink.clone();
                    runtime.spawn(async move {
                        tokio::time::sleep(late).await;
                        sink(wakeup);
                    });
                }
            }
        })
    }
}
