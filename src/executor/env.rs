//! The process around the machines of one executor.

use std::any::{Any, TypeId};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::runtime::Handle;
use workflow_core::env::{Env, MachineOptions, SendFuture};
use workflow_core::{ExecutorId, Store};

use super::options::States;

/// Step bodies run in the application's own runtime, with its state.
pub(crate) struct ProcessEnv {
    pub(crate) runtime: Handle,
    pub(crate) options: MachineOptions,
    pub(crate) states: States,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) executor: RwLock<ExecutorId>,
}

impl Env for ProcessEnv {
    fn options(&self) -> &MachineOptions {
        &self.options
    }

    fn state(&self, id: TypeId) -> Option<Arc<dyn Any + Send + Sync>> {
        self.states.get(&id).cloned()
    }

    fn enter(&self, f: &mut dyn FnMut()) {
        let _entered = self.runtime.enter();
        f();
    }

    #[expect(clippy::disallowed_methods, reason = "timeouts of step bodies")]
    fn timer(&self, delay: Duration) -> SendFuture {
        Box::pin(async move { tokio::time::sleep(delay).await })
    }

    fn spawn(&self, task: SendFuture) {
        self.runtime.spawn(task);
    }

    fn random(&self) -> f64 {
        // 53 bits fill a double.
        let bits = workflow_core::random::bits() as u64 >> 11;
        bits as f64 / (1u64 << 53) as f64
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn executor(&self) -> ExecutorId {
        *self.executor.read().unwrap_or_else(PoisonError::into_inner)
    }
}
