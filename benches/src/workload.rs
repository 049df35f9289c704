//! The workloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use workflow::prelude::*;

use crate::report::{Report, median};
use crate::{AnyError, floor};

#[workflow]
async fn ten_steps(ctx: Ctx, n: u64) -> Result<u64> {
    let mut sum = n;
    for i in 0..10u64 {
        sum += ctx.step("one", || async { Ok(i) }).await?;
    }
    Ok(sum)
}

#[workflow]
async fn no_step(_ctx: Ctx, n: u64) -> Result<u64> {
    Ok(n)
}

#[workflow]
async fn many_steps(ctx: Ctx, n: u64) -> Result<u64> {
    for i in 0..n {
        ctx.step("one", || async { Ok(i) }).await?;
    }
    Ok(n)
}

#[workflow]
async fn waits(ctx: Ctx, n: u64) -> Result<u64> {
    let mut sum = 0;
    for _ in 0..n {
        sum += ctx.wait_for_event::<u64>("go").key(ctx.run_id().to_string()).await?;
    }
    Ok(sum)
}

async fn executor(url: &str) -> Result<Executor, AnyError> {
    let store = workflow::connect(url).await?;
    Ok(Executor::builder(store)
        .register(ten_steps)
        .register(no_step)
        .register(many_steps)
        .register(waits)
        .start()
        .await?)
}

/// Runs one workload.
pub async fn run(name: &str, url: &str, time: Duration, report: &mut Report) -> Result<(), AnyError> {
    match name {
        "throughput" => throughput(url, time, report).await,
        "latency" => latency(url, report).await,
        "resident" => resident(url, report).await,
        "zero" => zero(url, time, report).await,
        other => Err(format!("unknown workload {other}").into()),
    }
}

/// Keeps `in_flight` runs going for `time`; how many ended a second.
async fn keep_going<W>(executor: &Executor, workflow: W, in_flight: usize, time: Duration) -> Result<f64, AnyError>
where
    W: Workflow<Input = u64, Output = u64>,
{
    let ended = Arc::new(AtomicU64::new(0));
    let client = executor.client();
    let began = Instant::now();
    let mut tasks = Vec::new();
    for n in 0..in_flight {
        let (client, ended) = (client.clone(), ended.clone());
        tasks.push(tokio::spawn(async move {
            while began.elapsed() < time {
                let run = client.invoke(workflow, n as u64).await?;
                run.result().await?;
                if began.elapsed() < time {
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok::<_, workflow::Error>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(ended.load(Ordering::Relaxed) as f64 / time.as_secs_f64())
}

use workflow::Workflow;

/// Ten serial steps a run, 1,000 runs in flight, beside single-row inserts of 32 connections: alternating, three times.
async fn throughput(url: &str, time: Duration, report: &mut Report) -> Result<(), AnyError> {
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        if url.starts_with("postgres") {
            floors.push(floor::rows_per_second(url, 32, time).await?);
        }
        let executor = executor(url).await?;
        ours.push(keep_going(&executor, ten_steps, 1_000, time).await? * 10.0);
        executor.shutdown().await?;
    }
    let ours = median(ours);
    report.add("throughput", "steps, 1,000 runs in flight", ours, "steps/s");
    if !floors.is_empty() {
        let floor = median(floors);
        report.add("throughput", "single-row inserts, 32 connections", floor, "rows/s");
        report.add("throughput", "ratio", ours / floor, "x");
    }
    Ok(())
}

/// A run without steps, started and finished, 1,000 in flight.
async fn zero(url: &str, time: Duration, report: &mut Report) -> Result<(), AnyError> {
    let executor = executor(url).await?;
    for in_flight in [1, 64, 1_000] {
        let rate = keep_going(&executor, no_step, in_flight, time).await?;
        report.add("zero", &format!("runs without steps, {in_flight} in flight"), rate, "runs/s");
    }
    executor.shutdown().await?;
    Ok(())
}

/// One run of serial steps, alone: a step beside a single-row commit.
async fn latency(url: &str, report: &mut Report) -> Result<(), AnyError> {
    let steps = 1_000;
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        if url.starts_with("postgres") {
            floors.push(floor::commit_seconds(url, steps).await?);
        }
        let executor = executor(url).await?;
        executor.client().invoke(many_steps, 100).await?.result().await?;
        let began = Instant::now();
        executor.client().invoke(many_steps, steps as u64).await?.result().await?;
        ours.push(began.elapsed().as_secs_f64() / steps as f64);
        executor.shutdown().await?;
    }
    let ours = median(ours);
    report.add("latency", "a serial step, alone", ours * 1e6, "us");
    if !floors.is_empty() {
        let floor = median(floors);
        report.add("latency", "a single-row commit, alone", floor * 1e6, "us");
        report.add("latency", "ratio", ours / floor, "x");
    }
    Ok(())
}

/// Runs that wait for events in memory: how often their code was run from the beginning.
async fn resident(url: &str, report: &mut Report) -> Result<(), AnyError> {
    let executor = executor(url).await?;
    let client = executor.client();
    let (runs, waits_each) = (100usize, 10u64);
    let before = executor.replays();
    let mut handles = Vec::new();
    for _ in 0..runs {
        handles.push(client.invoke(waits, waits_each).await?);
    }
    let began = Instant::now();
    for round in 0..waits_each {
        let emits = handles.iter().map(|run| {
            let (client, key) = (client.clone(), run.id().to_string());
            tokio::spawn(async move { client.emit_to("go", &key, &round).await })
        });
        for emit in emits.collect::<Vec<_>>() {
            emit.await??;
        }
    }
    for run in &handles {
        run.result().await?;
    }
    let elapsed = began.elapsed().as_secs_f64();
    let replays = executor.replays() - before;
    report.add("resident", "waits", (runs as u64 * waits_each) as f64, "waits");
    report.add("resident", "runs of the code from its beginning, a run", replays as f64 / runs as f64, "");
    report.add("resident", "waits", runs as f64 * waits_each as f64 / elapsed, "waits/s");
    executor.shutdown().await?;
    Ok(())
}
