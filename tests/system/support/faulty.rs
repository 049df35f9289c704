//! A store between executor and database that fails on demand: it loses wake-ups and refuses calls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use workflow::store::{Call, Layer, Layered, Method, WakeSink};
use workflow::{RunId, Store, StoreError};

/// A store that fails on demand. Clones are the same.
#[derive(Debug, Clone)]
pub struct Faulty(Layered<Faults>, Arc<Faults>);

/// What fails.
#[derive(Debug, Default)]
struct Faults {
    deaf: Arc<AtomicBool>,
    before: Mutex<HashMap<Method, StoreError>>,
    after: Mutex<HashMap<Method, StoreError>>,
    late: Mutex<Duration>,
    refused: Mutex<Option<RunId>>,
    calls: Mutex<HashMap<Method, usize>>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Store>) -> Self {
        let faults = Arc::<Faults>::default();
        Self(Layered::new(inner, faults.clone()), faults)
    }

    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    /// Loses all wake-ups.
    pub fn deafen(&self) {
        self.1.deaf.store(true, Ordering::SeqCst);
    }

    /// Every call of `method` fails before it does anything, until mended.
    pub fn fail(&self, method: Method, error: StoreError) {
        self.1.before.lock().expect("no panic").insert(method, error);
    }

    /// The next call of `method` fails after it has done everything.
    pub fn fail_after_once(&self, method: Method, error: StoreError) {
        self.1.after.lock().expect("no panic").insert(method, error);
    }

    /// Commits are answered so much later than they are done.
    pub fn answer_commits_after(&self, delay: Duration) {
        *self.1.late.lock().expect("no panic") = delay;
    }

    /// No entry of this run can be written, until mended.
    pub fn refuse_turns_of(&self, run: RunId) {
        *self.1.refused.lock().expect("no panic") = Some(run);
    }

    /// How often `method` was called, on this store.
    pub fn calls(&self, method: Method) -> usize {
        self.1.calls.lock().expect("no panic").get(&method).copied().unwrap_or(0)
    }

    pub fn mend(&self) {
        *self.1.refused.lock().expect("no panic") = None;
        self.1.before.lock().expect("no panic").clear();
    }
}

impl Layer for Faults {
    #[expect(clippy::disallowed_methods, reason = "plays a slow network")]
    async fn call<T: Send>(
        &self,
        Call { method, turns, .. }: Call<'_>,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        *self.calls.lock().expect("no panic").entry(method).or_default() += 1;
        self.before.lock().expect("no panic").get(&method).cloned().map_or(Ok(()), Err)?;
        let refused = *self.refused.lock().expect("no panic");
        if turns.iter().any(|turn| Some(turn.run) == refused && !turn.entries.is_empty()) {
            return Err(StoreError::Unusable("refused by hand".to_owned()));
        }
        let result = work.await;
        let late = *self.late.lock().expect("no panic");
        if method == Method::Commit && !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        let fault = result.is_ok().then(|| self.after.lock().expect("no panic").remove(&method)).flatten();
        fault.map_or(result, Err)
    }

    fn sink(&self, sink: WakeSink) -> WakeSink {
        let deaf = self.deaf.clone();
        Arc::new(move |wakeup| {
            if !deaf.load(Ordering::SeqCst) {
                sink(wakeup);
            }
        })
    }

    fn has_lanes(&self) -> bool {
        false
    }
}
