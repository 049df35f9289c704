//! W10: a run with a long history is taken up by a new process.
//!
//! The process before it leaves two such runs, hung up and waiting for an event, and emits the one's.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use workflow::store::Claim;
use workflow::{Client, ExecutorId, RunId};

use super::{Against, Case, Spec, Stores};
use crate::clock::{micros, ms, ms_between, pass};
use crate::code::Stamps;
use crate::process::{self, Role};
use crate::stage::{Measured, Setup, Stage};
use crate::{AnyError, code, server};

pub const SPEC: Spec = Spec {
    id: "W10",
    what: "resume a run with so many entries, from the start of the process and from that of the executor",
    operation: "resume",
    figure: "seconds",
    cases: &[Case::size(1_000), Case { rivals: false, ..Case::size(10_000) }],
    smoke: &[Case::size(300)],
    seconds: 0.0,
    repeats: 3,
    stores: Stores::All,
    against: Against::Nothing,
};

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let (first, second): (RunId, RunId) = process::run(Role::Prepare, &stage.setup).await?;
    let setup = Setup { variant: first.to_string(), ..stage.setup.clone() };
    let began = micros();
    let resumed: Resumed = process::run(Role::Execute, &setup).await?;
    let mut measured = queries(stage, second).await?;
    measured.figure("seconds", ms_between(began, resumed.ended) / 1_000.0);
    measured.figure("resume_ms", ms_between(resumed.starting, resumed.going_on));
    server::expect(stage.url(), server::Table::Runs, "status = 'completed'", 1).await?;
    Ok(measured)
}

/// When things happened in the new process.
#[derive(Serialize, Deserialize)]
pub struct Resumed {
    /// The executor is about to be started.
    starting: u64,
    /// The run has passed its wait.
    going_on: u64,
    /// Its result is here.
    ended: u64,
}

/// The new process: takes the run up, which has only its wait left.
pub async fn execute(stage: &Stage) -> Result<Resumed, AnyError> {
    let stamps = Stamps::new(1);
    let builder = stage.builder(10, &stamps).await?;
    let starting = micros();
    let executor = builder.start().await?;
    let run: RunId = stage.setup.variant.parse()?;
    let output = executor.client().handle::<u64>(run).result().await?;
    let ended = micros();
    if output != stage.setup.size * (stage.setup.size - 1) / 2 {
        return Err(format!("the resumed run's output is {output}").into());
    }
    executor.shutdown().await?;
    let going_on = *stamps.all().first().ok_or("the run didn't stamp that it goes on")?;
    Ok(Resumed { starting, going_on, ended })
}

/// What a claim of the other run asks the server.
async fn queries(stage: &Stage, run: RunId) -> Result<Measured, AnyError> {
    let store = stage.store().await?;
    emit(&Client::new(store.clone()), "second").await?;
    let executor = ExecutorId::generate();
    store.register(executor, "resumes", Duration::from_secs(600)).await?;
    // Notifications of the emission go out beside it.
    pass(0.2).await;
    let claim =
        Claim { executor, queues: vec![("default".to_owned(), 10)], workflows: vec![("history".to_owned(), 1)] };
    let mut meter = stage.meter().await?;
    let before = meter.read().await?;
    let began = Instant::now();
    let claimed = store.claim(&claim).await?;
    let time = began.elapsed();
    let costs = meter.since(&before).await?;
    store.shutdown().await;
    let entries = match claimed.runs.as_slice() {
        [claimed] if claimed.id == run => claimed.journal.as_ref().map_err(String::clone)?.len() as u64,
        other => return Err(format!("{} runs were claimed instead of {run}", other.len()).into()),
    };
    // The wait is asked for in an entry of its own.
    if entries != stage.setup.size + 1 {
        return Err(format!("the run has {entries} entries").into());
    }
    let mut measured = Measured { operations: 1.0, costs, ..Measured::default() };
    measured.figure("claim_ms", ms(time));
    measured.figure("entries", entries as f64);
    if let Some(queries) = measured.costs.calls() {
        measured.figure("queries", queries);
    }
    Ok(measured)
}

/// The process before: makes both histories, and ends when both have hung up.
pub async fn prepare(stage: &Stage) -> Result<(RunId, RunId), AnyError> {
    let executor = stage.builder(10, &Stamps::new(0)).await?.linger(Duration::ZERO).start().await?;
    let client = executor.client();
    let first = client.invoke(code::history, (stage.setup.size, "first".to_owned())).await?.id();
    let second = client.invoke(code::history, (stage.setup.size, "second".to_owned())).await?.id();
    stage.until(server::Table::Runs, "status = 'waiting'", 2, 600.0).await?;
    executor.shutdown().await?;
    let store = stage.store().await?;
    emit(&Client::new(store.clone()), "first").await?;
    store.shutdown().await;
    Ok((first, second))
}

async fn emit(client: &Client, key: &str) -> Result<(), AnyError> {
    Ok(client.emit_to("go", key, &1).await?)
}
