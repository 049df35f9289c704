//! What a driver writes itself, on the lane of its thread: the turns and the new runs of an executor that does nothing else.
//!
//! Nobody else's thread has to wake for it, which for a single run's serial steps takes as long as half a commit. Whatever
//! doesn't go through on the lane takes the way of all others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use workflow_core::env::Env as _;
use workflow_core::store::{CreateOutcome, Lane, NewRun, TurnOutcome};
use workflow_core::{ExecutorId, StoreError};

use super::commit::{answer, commit, done, learn};
use super::gate::Hold;
use super::shared::{Msg, Outgoing, Shared};

/// A call on the lane of a driver's thread, and then the lane and what the driver is to be told. To be polled in the thread's
/// own runtime.
pub(crate) type Lone = Pin<Box<dyn Future<Output = (Box<dyn Lane>, Msg)>>>;

/// Who waits for what came of a new run.
pub(crate) type Reply = tokio::sync::oneshot::Sender<Result<CreateOutcome, StoreError>>;

/// A run to be created as owned by this executor, and begun by its driver.
pub(crate) struct Creation {
    pub(crate) run: NewRun,
    /// The life that is to own it, and the place that it takes in its queue.
    pub(crate) place: (ExecutorId, Hold),
    pub(crate) reply: Reply,
    /// The way of all others.
    pub(crate) otherwise: Box<dyn FnOnce(NewRun, Reply) + Send>,
}

impl Creation {
    /// Has it created with others.
    pub(crate) fn take_the_other_way(self) {
        (self.otherwise)(self.run, self.reply);
    }
}

/// Writes a turn. What goes wrong is seen to in the application's runtime.
pub(crate) fn write(shared: Arc<Shared>, mut lane: Box<dyn Lane>, out: Outgoing) -> Lone {
    Box::pin(async move {
        let asked = shared.asked(out.executor);
        let error = match lane.commit(out.executor, &out.turn).await {
            Ok(Some(committed)) => {
                let outcome = committed.turns.first().copied().unwrap_or(TurnOutcome::NotOwned);
                let answer = answer(outcome, committed.now, false);
                done(&shared, &out.turn, outcome);
                learn(&shared, asked, committed);
                return (lane, Msg::Committed(vec![(out.tag, answer)]));
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let env = shared.env.clone();
        env.spawn(Box::pin(async move { commit(&shared, vec![out], error).await }));
        (lane, Msg::Committed(Vec::new()))
    })
}

/// Creates a run.
pub(crate) fn create(mut lane: Box<dyn Lane>, creation: Box<Creation>) -> Lone {
    Box::pin(async move {
        let since = match lane.create(&creation.run).await {
            Ok(since) => since,
            Err(error) => {
                tracing::debug!(run = %creation.run.id, %error, "a new run is created once more, with others");
                None
            }
        };
        (lane, Msg::Created(creation, since))
    })
}
