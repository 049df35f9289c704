//! A store that fails where it is told to: before a call is applied, or after it, when only the answer is lost.

#![allow(dead_code, reason = "each crate uses a part of it")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use workflow::store::{Call, Layer, Layered, Then};
use workflow::{Store, StoreError};

pub use workflow::store::Method;

/// Those that every store has.
pub const ALL: [Method; 16] = [
    Method::Register,
    Method::Heartbeat,
    Method::HandOver,
    Method::Close,
    Method::Rescue,
    Method::Create,
    Method::Claim,
    Method::Commit,
    Method::Landed,
    Method::Deliver,
    Method::Mail,
    Method::Find,
    Method::List,
    Method::Journal,
    Method::Resume,
    Method::Sweep,
];

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    Unavailable,
    Contention,
    Unknown,
    /// The server refuses the statement: not worth a retry, says its code.
    Unusable,
}

impl Error {
    fn make(self) -> StoreError {
        let reason = "injected".to_owned();
        match self {
            Error::Unavailable => StoreError::Unavailable(reason),
            Error::Contention => StoreError::Contention(reason),
            Error::Unknown => StoreError::Unknown(reason),
            Error::Unusable => StoreError::Unusable(reason),
        }
    }
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    pub method: Method,
    /// The how-manieth of its kind, from 1.
    pub nth: u64,
    /// Whether it is a commit that gives a run away to wait.
    pub hangs_up: bool,
    /// Whether it is made on a lane.
    pub on_lane: bool,
}

/// What becomes of a call.
#[derive(Debug, Clone)]
pub enum Verdict {
    Pass,
    /// Not applied.
    Before(Error),
    /// Applied, and the answer is lost.
    After(Error),
    /// Applied, and the answer comes when there is a permit.
    Hold(Arc<Semaphore>),
}

type Judge = Box<dyn Fn(Site) -> Verdict + Send + Sync>;

/// What becomes of calls.
pub struct Faults {
    judge: Judge,
    notice: Option<Duration>,
    counts: Mutex<HashMap<Method, u64>>,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faults")
    }
}

impl Faults {
    /// A store over another one.
    pub fn around(
        inner: Arc<dyn Store>,
        judge: impl Fn(Site) -> Verdict + Send + Sync + 'static,
    ) -> Arc<Layered<Self>> {
        let notice = inner.notice();
        Self::with_notice(inner, notice, judge)
    }

    /// With another notice than that of `inner`.
    pub fn with_notice(
        inner: Arc<dyn Store>,
        notice: Option<Duration>,
        judge: impl Fn(Site) -> Verdict + Send + Sync + 'static,
    ) -> Arc<Layered<Self>> {
        let faults = Self { judge: Box::new(judge), notice, counts: Mutex::default() };
        Arc::new(Layered::new(inner, Arc::new(faults)))
    }

    /// Fails one call.
    pub fn once(inner: Arc<dyn Store>, method: Method, nth: u64, verdict: Verdict) -> Arc<Layered<Self>> {
        let judge =
            move |site: Site| if site.method == method && site.nth == nth { verdict.clone() } else { Verdict::Pass };
        Self::around(inner, judge)
    }
}

impl Layer for Faults {
    async fn call<T: Send>(
        &self,
        call: Call<'_>,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let nth = {
            let mut counts = self.counts.lock().expect("no panic holds it");
            let count = counts.entry(call.method).or_default();
            *count += 1;
            *count
        };
        let hangs_up = call.turns.iter().any(|turn| matches!(turn.then, Then::HangUp { .. }));
        match (self.judge)(Site { method: call.method, nth, hangs_up, on_lane: call.on_lane }) {
            Verdict::Pass => work.await,
            Verdict::Before(error) => Err(error.make()),
            Verdict::After(error) => {
                // What it refused by itself was not applied, and is no lost answer.
                work.await?;
                Err(error.make())
            }
            Verdict::Hold(permits) => {
                let answer = work.await;
                permits.acquire().await.expect("open").forget();
                answer
            }
        }
    }

    fn notice(&self, _: Option<Duration>) -> Option<Duration> {
        self.notice
    }
}
