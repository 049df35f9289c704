//! The memory store keeps the rules of every store.

use std::sync::Arc;
use std::time::Duration;

use workflow_core::conformance::Harness;
use workflow_core::memory::{ManualClock, MemoryStore};
use workflow_core::store::Store;

#[derive(Debug)]
struct InMemory {
    clock: ManualClock,
    store: MemoryStore,
}

#[async_trait::async_trait]
impl Harness for InMemory {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

async fn in_memory() -> InMemory {
    let clock = ManualClock::new();
    InMemory { store: MemoryStore::new(clock.clone()), clock }
}

workflow_core::store_conformance!(in_memory());
