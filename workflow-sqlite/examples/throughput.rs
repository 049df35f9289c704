//! How many entries per second a file takes, by the size of the batch: `cargo run --release --example throughput`.
//!
//! Takes a directory as its argument, to measure the disk that matters.

#![expect(clippy::disallowed_methods, reason = "it measures real time")]

use std::time::{Duration, Instant};

use workflow_core::journal::{Fact, OpKey, Phase};
use workflow_core::store::{NewRun, Status, Then, Turn};
use workflow_core::{ExecutorId, Payload, RunId, Store, StoreError};
use workflow_sqlite::{Durability, SqliteOptions, SqliteStore};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::main]
async fn main() -> Result<(), StoreError> {
    let directory = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, Into::into);
    for durability in [Durability::Full, Durability::Normal] {
        let path = directory.join(format!("workflow-throughput-{}.db", uuid::Uuid::new_v4()));
        let store = SqliteOptions::file(&path).durability(durability).open().await?;
        println!("{durability:?}, in {}", directory.display());
        measure(&store).await?;
        store.shutdown().await;
        std::fs::remove_file(&path).ok();
    }
    Ok(())
}

async fn measure(store: &SqliteStore) -> Result<(), StoreError> {
    store.migrate().await?;
    let executor = ExecutorId::generate();
    store.register(executor, "throughput", HOUR).await?;
    for (size, spread, length) in
        [(1, 1, 20), (100, 100, 20), (1_000, 1_000, 20), (1_000, 1_000, 100), (1_000, 10, 2_000), (5_000, 5_000, 20)]
    {
        let per_turn = size / spread;
        let mut entries = 0;
        let mut spent = Duration::ZERO;
        while spent < Duration::from_secs(3) {
            let runs = create(store, executor, spread).await?;
            for position in (0..length).step_by(per_turn) {
                let turns: Vec<Turn> = runs.iter().map(|run| turn(*run, position as u32, per_turn)).collect();
                let began = Instant::now();
                store.commit(executor, &turns).await?;
                spent += began.elapsed();
                entries += size;
            }
        }
        let rate = entries as f64 / spent.as_secs_f64();
        let each = spent / (entries / size) as u32;
        println!(
            "  {size:>5} entries of {spread:>5} runs a batch, runs of {length:>4}: {rate:>9.0} entries/s, {each:?} a batch"
        );
    }
    let began = Instant::now();
    let runs = create(store, executor, 10_000).await?;
    println!("  create: {:.0} runs/s, batches of 1,000", 10_000.0 / began.elapsed().as_secs_f64());
    let began = Instant::now();
    for piece in runs.chunks(1_000) {
        let then = || Then::Finish { status: Status::Completed, output: payload() };
        let turns: Vec<Turn> = piece.iter().map(|run| Turn { then: then(), ..turn(*run, 0, 1) }).collect();
        store.commit(executor, &turns).await?;
    }
    println!("  finish: {:.0} runs/s, batches of 1,000", 10_000.0 / began.elapsed().as_secs_f64());
    Ok(())
}

async fn create(store: &SqliteStore, executor: ExecutorId, count: usize) -> Result<Vec<RunId>, StoreError> {
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let runs: Vec<NewRun> = (0..(count - ids.len()).min(1_000)).map(|_| new_run(executor)).collect();
        store.create(&runs, true).await?;
        ids.extend(runs.iter().map(|run| run.id));
    }
    Ok(ids)
}

fn new_run(executor: ExecutorId) -> NewRun {
    let input = payload();
    NewRun {
        id: RunId::generate(),
        workflow: "throughput".to_owned(),
        version: 1,
        queue: "default".to_owned(),
        input_digest: input.digest(),
        input,
        invoke_id: None,
        parent: None,
        depth: 0,
        delay: None,
        retain: HOUR,
        owner: Some(executor),
    }
}

fn turn(run: RunId, position: u32, entries: usize) -> Turn {
    let fact =
        Fact { key: OpKey::new("step", "charge-card", position + 1), phase: Phase::Ok, payload: payload(), mark: None };
    Turn { entries: vec![fact; entries], ..Turn::new(run, position) }
}

fn payload() -> Payload {
    Payload { codec: 0, bytes: br#"{"order":"o-4711","amount_cents":129900,"approved":true}"#.to_vec() }
}
