//! Two processes on one SQLite file, one of which dies in the middle.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use workflow::{Client, RunHandle, Store};

use crate::child::{LIMIT, Process, until};
use crate::workflows::steps;

const LEASE: Duration = Duration::from_secs(2);
const STEPS: u32 = 10;

/// A file, and a client on it.
struct Stage {
    directory: PathBuf,
    url: String,
    store: Arc<dyn Store>,
    client: Client,
}

impl Stage {
    async fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("workflow-crash-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).expect("a directory");
        let url = format!("sqlite:{}", directory.join("runs.db").display());
        let store = workflow::connect(&url).await.expect("opened");
        store.migrate().await.expect("migrated");
        let client = Client::new(store.clone());
        Self { directory, url, store, client }
    }

    /// Waits for the end of a run of [`steps`]: each has one outcome, in order.
    async fn end(&self, run: &RunHandle<u32>, count: u32) {
        let ended = tokio::time::timeout(LIMIT, run.result()).await.expect("every run ends");
        assert_eq!(ended.expect("it ended well"), count);
        let journal = self.store.journal(run.id(), 0, 1_000).await.expect("it is there");
        let names: Vec<_> = journal.iter().map(|entry| entry.fact.key.name.clone()).collect();
        let expected: Vec<_> = (0..count).map(|n| format!("step-{n}")).collect();
        assert_eq!(names, expected, "every outcome once, in order");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_process_on_the_file_takes_over() {
    let stage = Stage::new().await;
    let mut first = Process::start(&stage.url, "first", LEASE);
    first.says("started").await;
    let second = Process::start(&stage.url, "second", LEASE);
    second.says("started").await;
    let mut runs = Vec::new();
    // Either may be the one that finds the runs: there are more of them until the first is in the middle of some.
    until("its runs are in the middle", async || {
        runs.push(stage.client.invoke(steps, STEPS).await.expect("invoked"));
        first.has_said("began step-3")
    })
    .await;
    first.kill();
    for run in &runs {
        stage.end(run, STEPS).await;
    }
    second.says("second began").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_died_is_noticed_without_waiting_for_its_lease() {
    let stage = Stage::new().await;
    let lease = 10 * LIMIT;
    let mut first = Process::start(&stage.url, "first", lease);
    first.says("started").await;
    let run = stage.client.invoke(steps, 40).await.expect("invoked");
    first.says("began step-1 of").await;
    let mut second = Process::start(&stage.url, "second", lease);
    second.says("started").await;
    first.kill();
    // By one that was there.
    second.says("began step-9 of").await;
    second.kill();
    // By one that comes later.
    let third = Process::start(&stage.url, "third", lease);
    third.says("began step-19 of").await;
    stage.end(&run, 40).await;
}
