//! Two processes on one SQLite file, one of which dies in the middle.

use std::time::Duration;

use workflow::Client;

use crate::child::{LIMIT, Process};
use crate::workflows::steps;

const LEASE: Duration = Duration::from_secs(2);
const RUNS: u32 = 12;
const STEPS: u32 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_process_on_the_file_takes_over() {
    let directory = std::env::temp_dir().join(format!("workflow-crash-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&directory).expect("a directory");
    let url = format!("sqlite:{}", directory.join("runs.db").display());
    let store = workflow::connect(&url).await.expect("opened");
    store.migrate().await.expect("migrated");
    let client = Client::new(store.clone());
    let mut first = Process::start(&url, "first", LEASE);
    first.says("started").await;
    let second = Process::start(&url, "second", LEASE);
    second.says("started").await;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(client.invoke(steps, STEPS).await.expect("invoked"));
    }
    // Its runs are in the middle.
    first.says("began step-3").await;
    first.kill();
    for run in &runs {
        let ended = tokio::time::timeout(LIMIT, run.result()).await.expect("every run ends");
        assert_eq!(ended.expect("it ended well"), STEPS);
        let journal = store.journal(run.id(), 0, 1_000).await.expect("it is there");
        let names: Vec<_> = journal.iter().map(|entry| entry.fact.key.name.clone()).collect();
        let expected: Vec<_> = (0..STEPS).map(|n| format!("step-{n}")).collect();
        assert_eq!(names, expected, "every outcome once, in order");
    }
    second.says("second began").await;
    store.shutdown().await;
    drop(second);
    let _ = std::fs::remove_dir_all(directory);
}
