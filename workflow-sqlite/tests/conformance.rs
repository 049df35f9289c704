//! The SQLite store keeps the rules of every store, on a file that two stores share and in memory.

#![expect(clippy::disallowed_methods, reason = "a real clock is slept through")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::TempDir;
use workflow_core::Store;
use workflow_core::conformance::Harness;
use workflow_sqlite::{SqliteOptions, SqliteStore};

#[derive(Debug)]
struct OnFile {
    store: Arc<SqliteStore>,
    directory: TempDir,
}

#[async_trait::async_trait]
impl Harness for OnFile {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn second(&self) -> Option<Arc<dyn Store>> {
        let store = SqliteStore::open(self.directory.file("runs.db")).await.expect("a second store opens the file");
        Some(Arc::new(store))
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}

async fn on_file() -> OnFile {
    let directory = TempDir::new();
    let store = SqliteStore::open(directory.file("runs.db")).await.expect("opens");
    OnFile { store: Arc::new(store), directory }
}

workflow_core::store_conformance!(on_file());

mod in_memory {
    use super::*;

    #[derive(Debug)]
    struct InMemory(Arc<SqliteStore>);

    #[async_trait::async_trait]
    impl Harness for InMemory {
        fn store(&self) -> Arc<dyn Store> {
            self.0.clone()
        }

        async fn advance(&self, by: Duration) {
            tokio::time::sleep(by).await;
        }
    }

    async fn in_memory() -> InMemory {
        InMemory(Arc::new(SqliteOptions::memory().open().await.expect("opens")))
    }

    workflow_core::store_conformance!(in_memory());
}
