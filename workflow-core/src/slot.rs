//! The journal position of a user's transaction, and its commit.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::env::{Env, Notify, ToItsEnd};
use crate::guard::BodyWake;
use crate::ids::Timestamp;
use crate::journal::Fact;
use crate::store::StoreError;

/// What came of a commit, with the time of its entry.
pub(crate) type Committed = Result<Timestamp, StoreError>;

/// A user transaction that commits an entry by itself, and the place it was given.
pub(crate) struct Slot {
    pub op: usize,
    pub position: u32,
    /// The attempt knows its place.
    pub served: bool,
    pub commit: Option<UserCommit>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot(position {})", self.position)
    }
}

/// A commit under way. The machine polls it, and not the attempt, whose future the code may hold without polling it; and
/// it goes on when the machine is dropped.
pub(crate) struct UserCommit {
    pub fact: Fact,
    /// Where the attempt finds what came of it.
    pub result: Rc<RefCell<Option<Committed>>>,
    task: ToItsEnd<Committed>,
    wake: Arc<BodyWake>,
}

impl UserCommit {
    /// `task` is the commit that records `fact`, of the operation `op`.
    pub(crate) fn new(
        op: usize,
        fact: Fact,
        env: &Arc<dyn Env>,
        notify: Notify,
        task: impl Future<Output = Committed> + Send + 'static,
    ) -> Self {
        let spawner = env.clone();
        let task = ToItsEnd::new(task, move |task| spawner.spawn(task));
        Self { fact, result: Rc::default(), task, wake: BodyWake::new(op, notify) }
    }

    /// What came of it, once it is over.
    pub(crate) fn poll(&mut self, env: &dyn Env) -> Option<Committed> {
        if !self.wake.take_ready() {
            return None;
        }
        let waker = Waker::from(self.wake.clone());
        let mut polled = Poll::Pending;
        env.enter(&mut || polled = Pin::new(&mut self.task).poll(&mut Context::from_waker(&waker)));
        match polled {
            Poll::Ready(committed) => Some(committed),
            Poll::Pending => None,
        }
    }
}
