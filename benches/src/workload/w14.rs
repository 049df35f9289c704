//! W14: executors with nothing to do, a thousand runs asleep.

use workflow::{Client, Queue};

use super::{Against, Case, Spec, Stores};
use crate::clock::{micros, pass};
use crate::code::Stamps;
use crate::process::{Executing, told_to_end};
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, server};

pub const SPEC: Spec = Spec {
    id: "W14",
    what: "idle executors, each a process, with 1,000 sleeping runs",
    operation: "second",
    figure: "idle_statements",
    cases: &[idle(1, 1), idle(10, 1), idle(100, 1), idle(1, 10), idle(10, 10), idle(100, 10)],
    smoke: &[Case { size: 50, ..idle(10, 2) }],
    seconds: 20.0,
    repeats: 3,
    stores: Stores::Postgres,
    against: Against::Nothing,
};

const fn idle(queues: u64, executors: u64) -> Case {
    Case { queues, executors, ..Case::size(1_000) }
}

const DAY_US: u64 = 24 * 3_600 * 1_000_000;

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let store = stage.store().await?;
    let mut executors = Vec::new();
    for _ in 0..stage.setup.executors {
        executors.push(Executing::start(&stage.setup).await?);
    }
    let client = Client::new(store.clone());
    let due = i64::try_from(micros() + DAY_US)?;
    for n in 0..stage.setup.size {
        let queue = format!("queue-{}", n % stage.setup.queues);
        client.invoke(code::sleeper, (n, due)).queue(queue).await?;
    }
    stage.until(server::Table::Runs, "status = 'waiting'", stage.setup.size, 60.0).await?;
    // The client's own connections would be counted.
    drop(client);
    store.shutdown().await;
    pass(if stage.setup.smoke { 0.5 } else { 6.0 }).await;
    let mut meter = stage.meter().await?;
    let before = meter.read().await?;
    pass(stage.setup.seconds).await;
    let costs = meter.since(&before).await?;
    for executor in executors {
        let resident: u64 = executor.finish().await?;
        if resident > 0 {
            return Err(format!("{resident} sleeping runs are in an executor's memory").into());
        }
    }
    server::expect(stage.url(), server::Table::Runs, "status = 'waiting'", stage.setup.size).await?;
    let mut measured = Measured { operations: costs.seconds, costs, ..Measured::default() };
    if let Some(calls) = measured.costs.calls() {
        measured.figure("idle_statements", calls / measured.costs.seconds);
        measured.figure("idle_statements_per_executor", calls / measured.costs.seconds / stage.setup.executors as f64);
    }
    let percent = |cpu: Option<f64>| cpu.map(|cpu| cpu / measured.costs.seconds * 100.0);
    let shares = [
        ("server_cpu_percent", percent(measured.costs.server_cpu_s)),
        ("own_cpu_percent", percent(measured.costs.own_cpu_s)),
    ];
    for (name, share) in shares.into_iter().filter_map(|(name, share)| Some((name, share?))) {
        measured.figure(name, share);
    }
    Ok(measured)
}

/// One of the executors: how many runs it had in memory at the end.
pub async fn execute(stage: &Stage) -> Result<u64, AnyError> {
    let mut builder = stage.builder(1_000, &Stamps::new(0)).await?;
    for n in 0..stage.setup.queues {
        builder = builder.queue(Queue::new(format!("queue-{n}")));
    }
    let executor = builder.start().await?;
    println!("{}", executor.id());
    told_to_end().await;
    let resident = executor.resident() as u64;
    executor.shutdown().await?;
    Ok(resident)
}
