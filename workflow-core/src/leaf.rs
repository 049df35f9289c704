//! The futures that the user's code awaits: each resolves only when the machine releases its outcome.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use serde::de::DeserializeOwned;

use crate::ctx::Inner;
use crate::failure::Failure;
use crate::guard;
use crate::mismatch::code;
use crate::payload::Payload;
use crate::store::ParkReason;
use crate::table::Outcome;

/// The place of one operation in the code.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub inner: Rc<Inner>,
    /// The operation, or the failure it answers with at once because it was used wrongly.
    pub op: Result<usize, Option<Failure>>,
}

impl Leaf {
    /// Ready with the outcome once it is released. A misuse answers by itself.
    pub(crate) fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome, Failure>> {
        let index = match &mut self.op {
            Ok(index) => *index,
            Err(failure) => {
                return Poll::Ready(Err(failure.take().unwrap_or_else(|| Failure::misuse("polled after its end"))));
            }
        };
        let mut guard = self.inner.table.borrow_mut();
        let table = &mut *guard;
        let op = &mut table.ops[index];
        if table.park.is_some() {
            // Nothing that happens from here on counts.
            return Poll::Pending;
        }
        if table.in_body {
            let what = op.key.as_ref().map_or_else(|| op.command.kind().to_owned(), ToString::to_string);
            return Poll::Ready(Err(Failure::misuse(format!(
                "a durable operation ({what}, {}) is awaited inside a step's body: await it outside and give the body \
                 its value",
                op.place()
            ))));
        }
        if op.resolved {
            return Poll::Ready(Err(Failure::misuse(format!(
                "an operation ({}) was polled after its end",
                op.key.as_ref().map(ToString::to_string).unwrap_or_default()
            ))));
        }
        if table.released == Some(index) {
            table.released = None;
            op.resolved = true;
            let old = op.waker.take();
            if op.running {
                op.running = false;
                table.bodies -= 1;
            }
            let outcome = op.outcome.take();
            table.open -= 1;
            table.awaiting -= 1;
            if let (crate::ops::Command::Wait(wait), Some((_, Outcome { mark: Some(seq), .. }))) =
                (&op.command, &outcome)
            {
                table.cursors.insert(wait.topic(), u64::try_from(*seq).unwrap_or(0));
            }
            drop(guard);
            drop(old);
            return Poll::Ready(match outcome {
                Some((_, outcome)) => Ok(outcome),
                None => Err(Failure::misuse("polled after its end")),
            });
        }
        if !op.awaited {
            op.awaited = true;
            table.awaiting += 1;
            table.offer(index);
        }
        if table.ops[index].waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        // A waker is the user's code as soon as a combinator made it: it must not run while the table is borrowed.
        drop(guard);
        let new = cx.waker().clone();
        let old = self.inner.table.borrow_mut().ops[index].waker.replace(new);
        drop(old);
        Poll::Pending
    }

    /// Changes the command before it is identified: what the builders do.
    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut crate::ops::Command) -> Result<(), Failure>) {
        let Ok(index) = self.op else { return };
        let late = {
            let mut table = self.inner.table.borrow_mut();
            if table.ops[index].key.is_some() {
                Err(Failure::misuse("an operation was changed after it was polled: set its options where it is made"))
            } else {
                change(&mut table.ops[index].command)
            }
        };
        if let Err(failure) = late {
            self.refuse(failure);
        }
    }

    /// Takes the operation back before it is identified: it answers with `failure`.
    pub(crate) fn refuse(&mut self, failure: Failure) {
        if let Ok(index) = self.op {
            let mut table = self.inner.table.borrow_mut();
            if table.fresh.last() == Some(&index) {
                table.fresh.pop();
            } else {
                table.fresh.retain(|&i| i != index);
            }
            table.close(index);
        }
        self.op = Err(Some(failure));
    }

    /// Decodes a released payload. One that isn't of the type any more parks the run: `None`.
    pub(crate) fn decode<T: DeserializeOwned>(&self, payload: &Payload) -> Option<T> {
        let error = match guard::catch(|| payload.decode()) {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => error.to_string(),
            Err(caught) => format!("reading it {}", caught.describe()),
        };
        let mut table = self.inner.table.borrow_mut();
        let what = match &self.op {
            Ok(index) => {
                let op = &table.ops[*index];
                let key = op.key.as_ref().map(ToString::to_string).unwrap_or_default();
                format!("the recorded outcome of {key} ({}): {error}", op.place())
            }
            Err(_) => error,
        };
        table.park.get_or_insert(ParkReason {
            code: code::PAYLOAD.to_owned(),
            message: format!(
                "{what}\n  ways out: deploy a type that can read the recorded value (a field with #[serde(default)], \
                 say), or give the changed workflow a new version; then resume the run"
            ),
        });
        None
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        if let (Ok(index), Ok(mut table)) = (&self.op, self.inner.table.try_borrow_mut()) {
            let waker = table.ops[*index].waker.take();
            table.close(*index);
            drop(table);
            drop(waker);
        }
    }
}

/// An operation without a body, as a future of its value.
#[derive(Debug)]
#[must_use = "an operation that is never awaited gives no outcome"]
pub struct Op<T> {
    pub(crate) leaf: Leaf,
    value: PhantomData<fn() -> T>,
}

impl<T> Op<T> {
    pub(crate) fn new(leaf: Leaf) -> Self {
        Self { leaf, value: PhantomData }
    }
}

impl<T: DeserializeOwned> Future for Op<T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match self.leaf.poll_outcome(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
            Poll::Ready(Ok(outcome)) => outcome,
        };
        match outcome.result {
            Ok(payload) => match self.leaf.decode(&payload) {
                Some(value) => Poll::Ready(Ok(value)),
                None => Poll::Pending,
            },
            Err(payload) => match self.leaf.decode(&payload) {
                Some(failure) => Poll::Ready(Err(failure)),
                None => Poll::Pending,
            },
        }
    }
}
