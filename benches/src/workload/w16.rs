//! W16: a transactional step beside the same insert in a plain transaction, in turns.

use std::time::Instant;

use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};

use super::{Against, Case, Spec, Stores};
use crate::clock::{between, ms};
use crate::code::{INSERT, Stamps};
use crate::cost::Costs;
use crate::figure::{latencies, median};
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, server};

pub const SPEC: Spec = Spec {
    id: "W16",
    what: "a transactional step beside the same insert in a plain transaction",
    operation: "step",
    figure: "p50_ms",
    cases: &[Case::PLAIN],
    smoke: &[Case::PLAIN],
    seconds: 10.0,
    repeats: 3,
    stores: Stores::Postgres,
    against: Against::Nothing,
};

const TABLE: &str = "CREATE TABLE bench_row (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n bigint NOT NULL, note text NOT NULL)";
/// Steps of one turn.
const STEPS: u64 = 100;
/// More than there can be in a second.
const MOST_PER_S: f64 = 20_000.0;

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let pool = PgPoolOptions::new().max_connections(1).test_before_acquire(false).connect(stage.url()).await?;
    pool.execute(TABLE).await?;
    let stamps = Stamps::new((MOST_PER_S * (stage.setup.seconds + 1.0)) as u64);
    let executor = stage.builder(1, &stamps).await?.start().await?;
    let client = executor.client();
    plain(&pool).await?;
    client.invoke(code::inserts, (STEPS, 0)).await?.result().await?;
    let mut meter = stage.meter().await?;
    let (mut ours, mut theirs, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    let (began, mut rounds) = (Instant::now(), 1);
    while began.elapsed() < stage.time() {
        theirs.extend(plain(&pool).await?);
        let from = rounds * (STEPS + 1);
        let before = meter.read().await?;
        client.invoke(code::inserts, (STEPS, from)).await?.result().await?;
        costs.push(meter.since(&before).await?);
        let of_this_round = usize::try_from(from)?..=usize::try_from(from + STEPS)?;
        ours.extend(between(&stamps.all()[of_this_round]));
        rounds += 1;
    }
    executor.shutdown().await?;
    pool.close().await;
    rows(stage, rounds * STEPS * 2).await?;
    server::expect(stage.url(), server::Table::Journal, "kind = 'transaction' AND phase = 'ok'", rounds * STEPS)
        .await?;
    let mut measured = Measured { operations: STEPS as f64, costs: in_the_middle(costs), ..Measured::default() };
    latencies(&mut measured.figures, "", &ours);
    latencies(&mut measured.figures, "plain_", &theirs);
    measured.figure("ratio", median(&ours) / median(&theirs));
    Ok(measured)
}

/// `BEGIN`, the insert, `COMMIT`, one after the other.
async fn plain(pool: &PgPool) -> Result<Vec<f64>, AnyError> {
    let mut times = Vec::new();
    for n in 0..i64::try_from(STEPS)? {
        let began = Instant::now();
        let mut tx = pool.begin().await?;
        sqlx::query(INSERT).bind(n).bind("a plain transaction").execute(&mut *tx).await?;
        tx.commit().await?;
        times.push(ms(began.elapsed()));
    }
    Ok(times)
}

/// Refuses figures of inserts that aren't there.
async fn rows(stage: &Stage, expected: u64) -> Result<(), AnyError> {
    let mut connection = PgConnection::connect(stage.url()).await?;
    let query = AssertSqlSafe("SELECT count(*) FROM bench_row".to_owned());
    let found: i64 = sqlx::query_scalar(query).fetch_one(&mut connection).await?;
    if u64::try_from(found)? == expected { Ok(()) } else { Err(format!("{found} rows instead of {expected}").into()) }
}

/// The costs of the round with the median count of seconds.
fn in_the_middle(mut costs: Vec<Costs>) -> Costs {
    costs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let middle = costs.len() / 2;
    if costs.is_empty() { Costs::default() } else { costs.swap_remove(middle) }
}
