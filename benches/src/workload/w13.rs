//! W13: W2 while another session holds an open snapshot for the whole time, so that no dead row can be removed.

use sqlx::{Connection, Executor, PgConnection};

use super::{Against, Case, Spec, Stores};
use crate::clock::pass;
use crate::figure::median;
use crate::load::Load;
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, server};

pub const SPEC: Spec = Spec {
    id: "W13",
    what: "W2 while another session holds a snapshot",
    operation: "step",
    figure: "steps_per_s",
    cases: &[Case { rivals: false, ..Case::in_flight(1_000) }],
    smoke: &[Case { rivals: false, ..Case::in_flight(100) }],
    seconds: 300.0,
    repeats: 1,
    stores: Stores::Postgres,
    against: Against::Nothing,
};

/// The time is looked at in so many parts.
const WINDOWS: usize = 20;

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let executor = stage.executor(stage.setup.in_flight).await?;
    let mut holder = PgConnection::connect(stage.url()).await?;
    holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM workflow.runs").await?;
    let mut tables = PgConnection::connect(stage.url()).await?;
    let mut meter = stage.meter().await?;
    let load = Load::start(&executor.client(), code::ten_steps, stage.setup.in_flight);
    pass((stage.setup.seconds / 30.0).clamp(1.0, 10.0)).await;
    let (before, first) = (meter.read().await?, load.sample());
    let mut rates = Vec::new();
    let mut last = first;
    for _ in 0..WINDOWS {
        pass(stage.setup.seconds / WINDOWS as f64).await;
        let sample = load.sample();
        rates.push(sample.rates_since(&last).1);
        last = sample;
    }
    let costs = meter.since(&before).await?;
    let (runs, _) = load.stop().await?;
    let dead_rows = server::tables(&mut tables).await?["dead_rows"];
    // It must have been there to the end.
    holder.execute("COMMIT").await?;
    executor.shutdown().await?;
    server::expect(stage.url(), server::Table::Journal, "kind = 'step' AND phase = 'ok'", runs * 10).await?;
    let (runs_per_s, steps_per_s) = last.rates_since(&first);
    let tenth = WINDOWS / 10;
    let (begin, end) = (median(&rates[..tenth]), median(&rates[WINDOWS - tenth..]));
    let mut measured = Measured { operations: steps_per_s * costs.seconds, costs, ..Measured::default() };
    measured.figure("runs_per_s", runs_per_s);
    measured.figure("steps_per_s", steps_per_s);
    measured.figure("first_steps_per_s", begin);
    measured.figure("last_steps_per_s", end);
    measured.figure("left_percent", end / begin * 100.0);
    measured.figure("dead_rows_at_the_end", dead_rows);
    Ok(measured)
}
