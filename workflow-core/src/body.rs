//! The bodies of steps: the user's closures, polled inside the workflow's own future but with a waker and a runtime of
//! their own.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::ctx::Inner;
use crate::env::Env;
use crate::failure::{Failure, FailureKind};
use crate::guard::{self, BodyWake};
use crate::ids::RunId;
use crate::journal::{OpKey, Phase};
use crate::leaf::Leaf;
use crate::limit::Limited;
use crate::payload::Payload;
use crate::retry::RetryPolicy;

/// What a step's body is told. It may be cloned and sent to other threads.
#[derive(Clone)]
pub struct StepCtx {
    run: RunId,
    workflow: Arc<str>,
    key: Arc<OpKey>,
    attempt: u32,
    env: Arc<dyn Env>,
}

impl fmt::Debug for StepCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StepCtx({} of run {}, attempt {})", self.key, self.run, self.attempt)
    }
}

impl StepCtx {
    /// The run.
    pub fn run_id(&self) -> RunId {
        self.run
    }

    /// The name of the run's workflow.
    pub fn workflow_name(&self) -> &str {
        &self.workflow
    }

    /// The step's name, with its scope.
    pub fn step_name(&self) -> &str {
        &self.key.name
    }

    /// The number of this attempt, from 1. Attempts that ended with a crash of the process aren't counted.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// A key for outgoing requests: 32 hexadecimal digits that are the same for every attempt of this step, and
    /// different for any other step and run (SHA-256 of the run's id and the step's identity).
    pub fn idempotency_key(&self) -> String {
        idempotency_key(self.run, &self.key)
    }

    /// The application's state of type `S`, as given to the executor's `state(..)`.
    ///
    /// # Panics
    ///
    /// When the executor has none; the step fails with a message that says so.
    pub fn state<S: Send + Sync + 'static>(&self) -> Arc<S> {
        crate::ctx::state(&*self.env)
    }
}

fn idempotency_key(run: RunId, key: &OpKey) -> String {
    let mut hash = Sha256::new();
    hash.update(run.0.as_bytes());
    for part in [&key.kind, &key.name] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(key.nth.to_le_bytes());
    hash.finalize()[..16].iter().map(|b| format!("{b:02x}")).collect()
}

/// A running attempt's future, polled by [`BodyOp`].
pub(crate) type Runner<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// An operation with a body, as a future of its value.
pub(crate) struct BodyOp<'a, T> {
    pub leaf: Leaf,
    runner: Option<Runner<'a>>,
    wake: Option<Arc<BodyWake>>,
    /// The value as the journal will give it back, kept to save decoding it again.
    value: Rc<RefCell<Option<T>>>,
}

impl<T> fmt::Debug for BodyOp<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.leaf.fmt(f)
    }
}

impl<'a, T> BodyOp<'a, T> {
    /// `make` gets the place for the value and makes the runner.
    pub(crate) fn new(leaf: Leaf, make: impl FnOnce(Rc<Inner>, usize, Rc<RefCell<Option<T>>>) -> Runner<'a>) -> Self {
        let value = Rc::new(RefCell::new(None));
        let runner = leaf.op.as_ref().ok().map(|&index| make(leaf.inner.clone(), index, value.clone()));
        Self { leaf, runner, wake: None, value }
    }

    fn poll_runner(&mut self) {
        let (Some(runner), Ok(index)) = (&mut self.runner, &self.leaf.op) else { return };
        let index = *index;
        let inner = &self.leaf.inner;
        let due = {
            let mut table = inner.table.borrow_mut();
            let op = &table.ops[index];
            if !op.open && !op.running && !op.settled && !op.awaits_permission {
                // The first poll, or the first after a failed attempt was recorded.
                table.ops[index].awaits_permission = true;
                table.starting.push(index);
            }
            let op = &table.ops[index];
            op.open || (op.running && self.wake.as_ref().is_some_and(|wake| wake.take_ready()))
        };
        if !due {
            return;
        }
        let wake = self.wake.get_or_insert_with(|| BodyWake::new(index, inner.notify.clone())).clone();
        wake.take_ready();
        let waker = Waker::from(wake);
        inner.table.borrow_mut().in_body = true;
        let mut ended = false;
        let result = guard::catch(|| {
            inner.env.enter(&mut || {
                ended = runner.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            });
        });
        let mut table = inner.table.borrow_mut();
        table.in_body = false;
        if let Err(caught) = result {
            // Only a destructor can panic here: the body itself is caught nearer by.
            let failure = panicked(caught);
            table.end_body(index);
            table.settle(index, Phase::Failed, failure.to_payload(), None);
            ended = true;
        }
        drop(table);
        if ended {
            self.drop_runner();
        }
    }

    fn drop_runner(&mut self) {
        if let Some(runner) = self.runner.take() {
            let mut runner = Some(runner);
            let inner = self.leaf.inner.clone();
            // A body's destructors belong to the body: they may need the runtime (a pooled connection, say), and may
            // not ask for operations, since on replay they run at another time.
            let before = inner.table.try_borrow_mut().map(|mut table| std::mem::replace(&mut table.in_body, true));
            if guard::catch(|| inner.env.enter(&mut || drop(runner.take()))).is_err() {
                tracing::error!(run = %inner.info.id, "a destructor of a step's body panicked");
            }
            if let (Ok(before), Ok(mut table)) = (before, inner.table.try_borrow_mut()) {
                table.in_body = before;
            }
        }
    }
}

impl<T> Drop for BodyOp<'_, T> {
    fn drop(&mut self) {
        self.drop_runner();
    }
}

impl<T: DeserializeOwned> Future for BodyOp<'_, T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match self.leaf.poll_outcome(cx) {
            Poll::Pending => {
                self.poll_runner();
                return Poll::Pending;
            }
            Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
            Poll::Ready(Ok(outcome)) => outcome,
        };
        self.drop_runner();
        match outcome.result {
            Ok(payload) => {
                let kept = self.value.borrow_mut().take();
                match kept.or_else(|| self.leaf.decode(&payload)) {
                    Some(value) => Poll::Ready(Ok(value)),
                    None => Poll::Pending,
                }
            }
            Err(payload) => match self.leaf.decode(&payload) {
                Some(failure) => Poll::Ready(Err(failure)),
                None => Poll::Pending,
            },
        }
    }
}

impl<T> Unpin for BodyOp<'_, T> {}

/// Waits until the machine lets the body begin; says what the body is told.
pub(crate) async fn permission(inner: &Rc<Inner>, index: usize) -> StepCtx {
    std::future::poll_fn(|_| {
        let mut table = inner.table.borrow_mut();
        let op = &mut table.ops[index];
        let Some(key) = op.key.clone().filter(|_| op.open) else { return Poll::Pending };
        op.open = false;
        op.awaits_permission = false;
        op.running = true;
        let attempt = op.retries + 1;
        table.bodies += 1;
        Poll::Ready(StepCtx {
            run: inner.info.id,
            workflow: Arc::from(inner.info.workflow.as_str()),
            key: Arc::new((*key).clone()),
            attempt,
            env: inner.env.clone(),
        })
    })
    .await
}

/// One attempt: its value, or the failure, panic or timeout it ends with.
pub(crate) fn attempt<F>(env: &Arc<dyn Env>, body: F, timeout: Option<Duration>) -> Limited<F> {
    let limit = timeout.map(|delay| {
        let message = format!("an attempt took longer than its timeout of {} s", delay.as_secs_f64());
        (env.timer(delay), Failure::of(FailureKind::TimedOut, message))
    });
    Limited::new(body, limit)
}

pub(crate) fn panicked(caught: guard::Caught) -> Failure {
    Failure::of(FailureKind::Panicked, caught.describe())
}

/// Encodes a value and reads it back, so that nothing is journaled that can't be read on replay.
pub(crate) fn round_trip<T: Serialize + DeserializeOwned>(env: &dyn Env, value: &T) -> Result<(Payload, T), Failure> {
    let options = env.options();
    match guard::catch(|| Payload::round_trip(options.codec, value, options.max_payload_bytes)) {
        Ok(Ok(pair)) => Ok(pair),
        Ok(Err(error)) => Err(Failure::misuse(format!("the step ran, but its outcome can't be journaled: {error}"))),
        Err(caught) => Err(panicked(caught).not_retryable()),
    }
}

/// Puts the end of an attempt into the turn: the outcome, or a retry.
pub(crate) fn conclude<T>(
    inner: &Rc<Inner>,
    index: usize,
    policy: &RetryPolicy,
    attempt: u32,
    result: Result<(Payload, T), Failure>,
    value: &Rc<RefCell<Option<T>>>,
) {
    let mut table = inner.table.borrow_mut();
    table.end_body(index);
    match result {
        Ok((payload, back)) => {
            *value.borrow_mut() = Some(back);
            table.settle(index, Phase::Ok, payload, None);
        }
        Err(failure) => {
            let delay = match policy.delay(attempt, inner.env.random()) {
                Some(delay) if failure.is_retryable() => Some(failure.retry_delay().unwrap_or(delay)),
                _ => None,
            };
            let payload = failure.to_payload_within(inner.env.options().max_payload_bytes);
            match delay {
                Some(delay) => {
                    let delay = crate::ops::micros(delay.min(crate::retry::MAX_DURATION));
                    table.settle(index, Phase::Retry, payload, Some(delay));
                }
                None => table.settle(index, Phase::Failed, payload, None),
            }
        }
    }
}
