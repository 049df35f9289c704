//! Queues: who is served, and when.

use std::sync::Arc;
use std::time::Duration;

use workflow::prelude::*;
use workflow::{MemoryStore, Store};

#[workflow(queue = "busy")]
async fn double(_ctx: Ctx, n: u32) -> Result<u32> {
    Ok(n * 2)
}

/// Whatever the poll would find later doesn't count: it never comes.
async fn each_run_is_taken_up_at_once(max_resident: usize) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let executor = Executor::builder(store.clone())
        .register(double)
        .queue(Queue::new("idle"))
        .queue(Queue::new("idle-too"))
        .max_resident(max_resident)
        .poll_interval(Duration::from_secs(3600))
        .start()
        .await
        .expect("it starts");
    // Not the executor's own client, which begins runs without a claim.
    let client = Client::new(store);
    for n in 0..12 {
        let run = client.invoke(double, n).await.expect("created");
        let result = tokio::time::timeout(Duration::from_secs(20), run.result()).await;
        assert_eq!(result.expect("claimed without a poll").expect("ends well"), n * 2);
    }
    executor.shutdown().await.expect("goes down");
}

#[tokio::test]
async fn idle_queues_take_no_room_from_a_busy_one() {
    each_run_is_taken_up_at_once(10_000).await;
}

#[tokio::test]
async fn a_queue_is_asked_even_if_there_is_room_for_one_run_only() {
    each_run_is_taken_up_at_once(1).await;
}
