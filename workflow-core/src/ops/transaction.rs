//! A step whose body and journal entry commit together, in a transaction of the user on the journal's own database.
//!
//! Core knows no database: a store's crate brings the method that users call (`ctx.transaction(..)`) and builds it
//! from [`transaction_at`]. The protocol:
//!
//! 1. The body runs on an open transaction and gives a value.
//! 2. [`Attempt::commit`] waits until no other commit of this run is under way and reserves the journal's next
//!    position, then commits through a task that outlives the workflow's future: the store's function inserts the
//!    entry in the same transaction, under the same fence as any commit.
//! 3. A commit whose acknowledgement was lost is looked up in the journal. A transaction that was rolled back by
//!    contention runs again, body and all; nothing of it was kept.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Command, Operation, check_duration};
use crate::body::{self, BodyOp, StepCtx};
use crate::ctx::{Ctx, Inner};
use crate::env::{Env, Notice};
use crate::failure::{Failure, FailureKind};
use crate::ids::{ExecutorId, RunId, Timestamp};
use crate::journal::{Fact, Phase};
use crate::limit::Limited;
use crate::payload::Payload;
use crate::retry::RetryPolicy;
use crate::store::{Store, StoreError};
use crate::table::Slot;

/// How long a transaction may be open by default: below the lease, so that a frozen one is ended by the database.
pub const DEFAULT_MAX_OPEN: Duration = Duration::from_secs(3);

/// A transactional step.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    name: String,
    retry: RetryPolicy,
    max_open: Duration,
}

impl Operation for Transaction {
    const KIND: &'static str = "transaction";

    fn name(&self) -> &str {
        &self.name
    }
}

/// One attempt at a transaction: what a store's crate needs to commit it.
#[derive(Debug)]
pub struct Attempt {
    inner: Rc<Inner>,
    index: usize,
    step: StepCtx,
    max_open: Duration,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot(position {})", self.position)
    }
}

/// Why an attempt didn't commit.
#[derive(Debug)]
pub enum TransactionError {
    /// The body failed, or can't be used: it is tried again by the step's policy.
    Failed(Failure),
    /// The database refused or lost it, and nothing was kept: it runs again at once, not counted as an attempt.
    Again(StoreError),
}

impl From<StoreError> for TransactionError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Contention(_) | StoreError::Unavailable(_) => TransactionError::Again(error),
            other => TransactionError::Failed(Failure::from(other)),
        }
    }
}

impl Attempt {
    /// What a body is told.
    pub fn step(&self) -> &StepCtx {
        &self.step
    }

    /// The store that holds the journal.
    pub fn store(&self) -> Arc<dyn Store> {
        self.inner.env.store()
    }

    /// How long the transaction may be open.
    pub fn max_open(&self) -> Duration {
        self.max_open
    }

    /// Commits the transaction with the entry that records `value`. `commit` gets the executor, the run, the position
    /// and the fact; it is run to its end even if the workflow stops waiting.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Again`] when nothing was kept.
    pub async fn commit<T, C, F>(&self, value: &T, commit: C) -> Result<(Payload, T), TransactionError>
    where
        T: Serialize + DeserializeOwned,
        C: FnOnce(ExecutorId, RunId, u32, Fact) -> F,
        F: Future<Output = Result<Timestamp, StoreError>> + Send + 'static,
    {
        let (payload, back) = body::round_trip(&*self.inner.env, value).map_err(TransactionError::Failed)?;
        let position = self.reserve().await;
        let done = Arc::new(Mutex::new(None));
        let fact = {
            let mut table = self.inner.table.borrow_mut();
            let Some(key) = table.ops[self.index].key.clone() else {
                return Err(TransactionError::Failed(Failure::misuse("a transaction without identity")));
            };
            let fact = Fact { key: (*key).clone(), phase: Phase::Ok, payload: payload.clone(), mark: None };
            table.slot =
                Some(Slot { op: self.index, position, served: true, fact: Some(fact.clone()), done: done.clone() });
            fact
        };
        let (run, executor) = (self.inner.info.id, self.inner.env.executor());
        let committing = commit(executor, run, position, fact);
        let (notify, index, shared) = (self.inner.notify.clone(), self.index, done.clone());
        let env = self.inner.env.clone();
        self.inner.env.spawn(Box::pin(async move {
            let panicked = |_| Err(StoreError::Unknown("the commit panicked".to_owned()));
            let mut result = AssertUnwindSafe(committing).catch_unwind().await.unwrap_or_else(panicked);
            if let Err(StoreError::Unknown(_)) = result {
                result = look_up(&env, run, position).await;
            }
            *shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(result);
            notify(Notice::Body(index));
        }));
        // The machine takes the result and wakes the body by polling it again.
        let result = std::future::poll_fn(|cx| {
            let result = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            if let Some(result) = result {
                return Poll::Ready(result);
            }
            let waker = cx.waker().clone();
            let old = self.inner.table.borrow_mut().slot_waker.replace(waker);
            drop(old);
            Poll::Pending
        })
        .await;
        match result {
            Ok(_) => Ok((payload, back)),
            // The run isn't this executor's any more: whoever has it runs the transaction. Nothing is to be recorded
            // here, and the executor drops the run as soon as it learns of it.
            Err(StoreError::LeaseLost(_)) => std::future::pending().await,
            Err(error) => Err(error.into()),
        }
    }

    /// Runs the user's part for at most [`Attempt::max_open`].
    ///
    /// # Errors
    ///
    /// The user's failure, or `TimedOut`: the transaction was open for too long. That may be for the sake of others, who hold
    /// a lock that it waits for, so it is tried again like any failed attempt.
    pub async fn bounded<T>(&self, body: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let late = format!(
            "the transaction was open for more than {} s and was rolled back: see who holds the locks that it waits for, \
             keep everything but statements out of it, or declare a longer time with .max_open(..), which makes taking \
             over from a frozen executor later",
            self.max_open.as_secs_f64()
        );
        let late = Failure::of(FailureKind::TimedOut, late);
        Limited::new(body, Some((self.inner.env.timer(self.max_open), late))).await
    }

    /// Waits until no commit of the run is under way and reserves the journal's next position, until the attempt is
    /// over. [`Attempt::commit`] does it by itself; a store with a single writer does it before it takes the writer,
    /// which a commit of the same run may be waiting for.
    pub async fn reserve(&self) -> u32 {
        let queueing = Queueing { attempt: self, served: Cell::new(false) };
        std::future::poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut table = self.inner.table.borrow_mut();
            match &mut table.slot {
                Some(slot) if slot.op == self.index && slot.fact.is_none() => {
                    queueing.served.set(true);
                    slot.served = true;
                    return Poll::Ready(slot.position);
                }
                _ => {}
            }
            let old = match table.slot_queue.iter_mut().find(|(op, _)| *op == self.index) {
                Some((_, old)) => Some(std::mem::replace(old, waker)),
                None => {
                    table.slot_queue.push_back((self.index, waker));
                    None
                }
            };
            drop(table);
            drop(old);
            Poll::Pending
        })
        .await
    }
}

impl Attempt {
    /// An attempt that didn't commit leaves the position it had reserved.
    fn give_up_place(&self) {
        let mut table = self.inner.table.borrow_mut();
        if table.slot.as_ref().is_some_and(|slot| slot.op == self.index && slot.fact.is_none()) {
            table.slot = None;
        }
    }
}

/// The place of an attempt in the queue for the journal's next position. An attempt that stops waiting leaves it:
/// nothing else of the run could commit any more.
struct Queueing<'a> {
    attempt: &'a Attempt,
    served: Cell<bool>,
}

impl Drop for Queueing<'_> {
    fn drop(&mut self) {
        let Ok(mut table) = self.attempt.inner.table.try_borrow_mut() else { return };
        let index = self.attempt.index;
        if !self.served.get() && table.slot.as_ref().is_some_and(|slot| slot.op == index && slot.fact.is_none()) {
            table.slot = None;
        }
        let place = table.slot_queue.iter().position(|(op, _)| *op == index);
        let waker = place.and_then(|place| table.slot_queue.remove(place));
        drop(table);
        drop(waker);
    }
}

/// Resolves a commit whose acknowledgement was lost: by reading, as long as it takes.
async fn look_up(env: &Arc<dyn Env>, run: RunId, position: u32) -> Result<Timestamp, StoreError> {
    let store = env.store();
    loop {
        let found = match store.landed(run, position).await {
            Ok(true) => store.journal(run, position, 1).await.map(|entries| entries.first().map(|e| e.recorded_at)),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        match found {
            Ok(Some(at)) => return Ok(at),
            Ok(None) => return Err(StoreError::Contention("the transaction was rolled back".to_owned())),
            Err(error) => tracing::warn!(%run, position, %error, "a transaction's outcome is still unknown"),
        }
        env.timer(Duration::from_millis(100)).await;
    }
}

/// Makes a transactional step of `body`, which runs one attempt: begin, the user's statements, [`Attempt::commit`].
/// `site` is where the user calls it.
pub fn transaction_at<'a, T, F>(
    ctx: &Ctx,
    site: &'static Location<'static>,
    name: &str,
    mut body: F,
) -> TransactionOp<'a, T>
where
    T: Serialize + DeserializeOwned + 'a,
    F: AsyncFnMut(&Attempt) -> Result<(Payload, T), TransactionError> + 'a,
{
    let command = Transaction { name: name.to_owned(), retry: RetryPolicy::default(), max_open: DEFAULT_MAX_OPEN };
    let leaf = ctx.register_named(site, "transaction", name, command);
    TransactionOp(BodyOp::new(leaf, |inner, index, value| {
        Box::pin(async move {
            loop {
                let step = body::permission(&inner, index).await;
                let settings = match &inner.table.borrow().ops[index].command {
                    Command::Transaction(transaction) => transaction.clone(),
                    _ => return,
                };
                let number = step.attempt();
                let attempt = Attempt { inner: inner.clone(), index, step, max_open: settings.max_open };
                let mut tries = 0u32;
                let result = loop {
                    let once = async {
                        match body(&attempt).await {
                            Ok(pair) => Ok(Ok(pair)),
                            Err(TransactionError::Again(error)) => Ok(Err(error)),
                            Err(TransactionError::Failed(failure)) => Err(failure),
                        }
                    };
                    let once = body::attempt(&inner.env, once, None).await;
                    attempt.give_up_place();
                    match once {
                        Ok(Ok(pair)) => break Ok(pair),
                        Ok(Err(error)) => {
                            tries += 1;
                            tracing::debug!(%error, tries, "transaction runs again");
                            let millis = f64::from(tries.min(10)) * 10.0 * inner.env.random();
                            inner.env.timer(Duration::from_secs_f64(millis / 1_000.0)).await;
                        }
                        Err(failure) => break Err(failure),
                    }
                };
                match result {
                    // The entry is in the journal already: the machine has taken it from the slot.
                    Ok((_, back)) => {
                        *value.borrow_mut() = Some(back);
                        inner.table.borrow_mut().end_body(index);
                    }
                    Err(failure) => {
                        body::conclude(&inner, index, &settings.retry, number, Err(failure), &value);
                    }
                }
            }
        })
    }))
}

/// A transactional step, as a future of its value.
#[derive(Debug)]
#[must_use = "a transaction that is never awaited never runs"]
pub struct TransactionOp<'a, T>(BodyOp<'a, T>);

impl<T> TransactionOp<'_, T> {
    /// When a failed attempt is tried again. Serialization failures and lost connections don't count as attempts.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.configure(|transaction| {
            policy.check().map_err(Failure::misuse)?;
            transaction.retry = policy;
            Ok(())
        });
        self
    }

    /// How long an attempt may have the transaction open: 3 s by default. While a frozen executor holds one open, its runs can't
    /// be taken over, so a longer time makes take-over later.
    pub fn max_open(mut self, max: Duration) -> Self {
        self.configure(|transaction| {
            check_duration("a transaction", max)?;
            transaction.max_open = max;
            Ok(())
        });
        self
    }

    fn configure(&mut self, change: impl FnOnce(&mut Transaction) -> Result<(), Failure>) {
        self.0.leaf.configure(|command| match command {
            Command::Transaction(transaction) => change(transaction),
            _ => Ok(()),
        });
    }
}

impl<T: DeserializeOwned> Future for TransactionOp<'_, T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}
