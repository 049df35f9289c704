//! W11: one of three executors is killed with many runs in flight.

use std::time::Instant;

use futures::future::try_join_all;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;
use workflow::Queue;

use super::{Against, Case, Spec, Stores};
use crate::clock::{micros, ms_between, pass};
use crate::code::{LONG_STEPS, Stamps};
use crate::figure::latencies;
use crate::process::{Executing, told_to_end};
use crate::stage::{Measured, Setup, Stage};
use crate::{AnyError, code, server};

pub const SPEC: Spec = Spec {
    id: "W11",
    what: "kill -9 one of three executors while runs with steps of a second are in flight",
    operation: "run",
    figure: "seconds",
    cases: &[Case { executors: 3, ..Case::size(10_000) }],
    smoke: &[Case { executors: 3, ..Case::size(60) }],
    seconds: 0.0,
    repeats: 3,
    stores: Stores::Postgres,
    against: Against::Nothing,
};

const OWNED: &str = "SELECT (convert_from(r.input, 'UTF8'))::bigint FROM workflow.runs AS r WHERE r.owner = $1 AND r.status = 'running'";

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let size = stage.setup.size;
    let store = stage.store().await?;
    let mut executors = Vec::new();
    for number in 0..stage.setup.executors {
        let setup = Setup { variant: number.to_string(), ..stage.setup.clone() };
        executors.push(Executing::start(&setup).await?);
    }
    stage.until(server::Table::Runs, "status = 'running'", size, 60.0).await?;
    pass(1.5).await;
    let mut connection = PgConnection::connect(stage.url()).await?;
    // The one with the most runs is killed.
    let mut victims = Vec::new();
    let mut chosen = 0;
    for (index, executor) in executors.iter().enumerate() {
        let owned = owned(&mut connection, &executor.name).await?;
        if owned.len() > victims.len() {
            (victims, chosen) = (owned, index);
        }
    }
    let victim = executors.swap_remove(chosen);
    let mut meter = stage.meter().await?;
    let before = meter.read().await?;
    let (killed, began) = (micros(), Instant::now());
    victim.kill().await?;
    stage.until(server::Table::Runs, "status = 'completed'", size, 300.0).await?;
    let seconds = began.elapsed().as_secs_f64();
    let costs = meter.since(&before).await?;
    let mut goes_on = vec![u64::MAX; usize::try_from(size)?];
    for executor in executors {
        let stamps: Vec<u64> = executor.finish().await?;
        for (first, stamp) in goes_on.iter_mut().zip(stamps).filter(|(_, stamp)| *stamp > 0) {
            *first = stamp.min(*first);
        }
    }
    store.shutdown().await;
    server::expect(stage.url(), server::Table::Journal, "kind = 'step' AND phase = 'ok'", size * LONG_STEPS).await?;
    let times = victims.iter().map(|n| goes_on.get(*n).copied().unwrap_or(u64::MAX));
    let times: Vec<u64> = times.collect();
    // One that was in its last step when it was killed may have been recorded by then.
    let lost = times.iter().filter(|at| **at == u64::MAX).count();
    if lost * 100 > times.len() {
        return Err(format!("{lost} of {} runs of the killed executor ended without going on", times.len()).into());
    }
    let times: Vec<f64> = times.into_iter().filter(|at| *at != u64::MAX).map(|at| ms_between(killed, at)).collect();
    let mut measured = Measured { operations: size as f64, costs, ..Measured::default() };
    measured.figure("seconds", seconds);
    measured.figure("victims", victims.len() as f64);
    latencies(&mut measured.figures, "going_on_", &times);
    Ok(measured)
}

/// The numbers of the runs that an executor has.
async fn owned(connection: &mut PgConnection, executor: &str) -> Result<Vec<usize>, AnyError> {
    let id: Uuid = executor.parse()?;
    let numbers: Vec<i64> = sqlx::query_scalar(OWNED).bind(id).fetch_all(connection).await?;
    numbers.into_iter().map(|n| Ok(usize::try_from(n)?)).collect()
}

/// One of the executors: begins its share of the runs itself. When it first worked on each run of all.
pub async fn execute(stage: &Stage) -> Result<Vec<u64>, AnyError> {
    let stamps = Stamps::new(stage.setup.size);
    // Two have room for all.
    let room = Queue::new("default").concurrency(usize::try_from(stage.setup.size.div_ceil(2))?);
    let executor = stage.builder(0, &stamps).await?.queue(room).start().await?;
    println!("{}", executor.id());
    let client = executor.client();
    let own = (stage.setup.variant.parse()?..stage.setup.size).step_by(usize::try_from(stage.setup.executors)?);
    try_join_all(own.map(|n| client.invoke(code::long, n).into_future())).await?;
    told_to_end().await;
    executor.shutdown().await?;
    Ok(stamps.all())
}
