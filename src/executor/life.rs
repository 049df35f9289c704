//! One life of an executor: from its registration to the loss of its lease, and the next.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use workflow_core::ExecutorId;

use super::env::ProcessEnv;

/// Which life it is, and whether it is over.
pub(crate) struct Life {
    env: Arc<ProcessEnv>,
    /// The last life that was told to be over.
    over: Mutex<Option<ExecutorId>>,
    /// The last life that ended as if its process had died.
    crashed: Mutex<Option<ExecutorId>>,
    lost: Notify,
}

impl Life {
    pub(crate) fn new(env: Arc<ProcessEnv>) -> Self {
        Self { env, over: Mutex::new(None), crashed: Mutex::new(None), lost: Notify::new() }
    }

    /// The id of the current life.
    pub(crate) fn executor(&self) -> ExecutorId {
        *self.env.executor.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of `executor` is over: its lease is lost, or it may own what it doesn't know of. Told again and again
    /// is told once.
    pub(crate) fn lose(&self, executor: ExecutorId) {
        // What is told late of an earlier life must not hide what was told of this one.
        if executor == self.executor() {
            *self.over.lock().unwrap_or_else(PoisonError::into_inner) = Some(executor);
            self.lost.notify_one();
        }
    }

    /// The current life is over, by a mistake that may come again with the same run: as if its process had died. Its runs
    /// are taken over when its lease has run out, and count a crash.
    pub(crate) fn crash(&self) {
        let executor = self.executor();
        *self.crashed.lock().unwrap_or_else(PoisonError::into_inner) = Some(executor);
        self.lose(executor);
    }

    /// Whether that life ended as if its process had died.
    pub(crate) fn has_crashed(&self, executor: ExecutorId) -> bool {
        *self.crashed.lock().unwrap_or_else(PoisonError::into_inner) == Some(executor)
    }

    /// Resolves when the current life is over.
    pub(crate) async fn lost(&self) {
        loop {
            self.lost.notified().await;
            // Told late, it is about a life that was over before.
            if *self.over.lock().unwrap_or_else(PoisonError::into_inner) == Some(self.executor()) {
                return;
            }
        }
    }

    /// Ends the current life: whatever was claimed or made in it is void.
    pub(crate) fn end(&self) {
        self.begin(ExecutorId(uuid::Uuid::nil()));
    }

    /// Begins the next life.
    pub(crate) fn begin(&self, executor: ExecutorId) {
        *self.env.executor.write().unwrap_or_else(PoisonError::into_inner) = executor;
    }
}
