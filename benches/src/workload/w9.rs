//! W9: a claim of ten runs among a million sleepers and two hundred thousand that are ready.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use workflow::postgres::PgStore;
use workflow::store::Claim;
use workflow::{ExecutorId, Store as _};

use super::{Against, Case, Spec, Stores};
use crate::AnyError;
use crate::clock::ms;
use crate::figure::latencies;
use crate::stage::{Measured, Stage};

pub const SPEC: Spec = Spec {
    id: "W9",
    what: "claim 10 runs among five sleepers for each run that is ready",
    operation: "claim",
    figure: "p50_ms",
    cases: &[Case::size(200_000)],
    smoke: &[Case::size(5_000)],
    seconds: 0.0,
    repeats: 3,
    stores: Stores::Postgres,
    against: Against::Commit,
};

const CLAIMS: u32 = 200;
const CLAIM: u32 = 10;
const QUERY: &str = include_str!("../../../workflow-pg/queries/claim.sql");
const FILL: &str = "INSERT INTO workflow.runs (id, workflow, version, queue, status, input_codec, input, input_digest, depth, retain_us, \
                    ready_at, wake_at, created_at) \
                    SELECT gen_random_uuid(), 'no_step', 1, 'default', CASE WHEN n % 6 = 0 THEN 'ready' ELSE 'waiting' END, 0, \
                    '1', '', 0, 0, CASE WHEN n % 6 = 0 THEN now() END, \
                    CASE WHEN n % 6 <> 0 THEN now() + INTERVAL '1 day' + n * INTERVAL '1 millisecond' END, now() \
                    FROM generate_series(1, $1::bigint) AS n";

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let store = PgStore::connect(stage.url()).await?;
    store.migrate().await?;
    let mut filling = PgConnection::connect(stage.url()).await?;
    sqlx::query(FILL).bind(i64::try_from(stage.setup.size * 6)?).execute(&mut filling).await?;
    // As autovacuum does before long.
    filling.execute("VACUUM (ANALYZE) workflow.runs").await?;
    filling.close().await?;
    let executor = ExecutorId::generate();
    store.register(executor, "claims", Duration::from_secs(600)).await?;
    let claim =
        Claim { executor, queues: vec![("default".to_owned(), CLAIM)], workflows: vec![("no_step".to_owned(), 1)] };
    for _ in 0..10 {
        store.claim(&claim).await?;
    }
    let mut meter = stage.meter().await?;
    let before = meter.read().await?;
    let mut times = Vec::new();
    for _ in 0..CLAIMS {
        let began = Instant::now();
        let claimed = store.claim(&claim).await?;
        times.push(ms(began.elapsed()));
        if claimed.runs.len() != CLAIM as usize {
            return Err(format!("a claim of {CLAIM} runs got {}", claimed.runs.len()).into());
        }
    }
    let costs = meter.since(&before).await?;
    let plan = plan(&store, executor).await?;
    store.shutdown().await;
    let mut measured = Measured { operations: f64::from(CLAIMS), costs, ..Measured::default() };
    latencies(&mut measured.figures, "", &times);
    if let Some(statement) = measured.costs.statement("Claims runs").cloned() {
        measured.figure("statement_mean_ms", statement.total_ms / statement.calls);
        measured.figure("statement_buffers", statement.blocks / statement.calls);
    }
    measured.plans.insert("claim".to_owned(), plan);
    Ok(measured)
}

/// How the server goes about it, in a session of the store's.
async fn plan(store: &PgStore, executor: ExecutorId) -> Result<Vec<String>, AnyError> {
    let mut connection = store.pool().acquire().await?;
    (&mut *connection).execute("BEGIN").await?;
    (&mut *connection).execute(AssertSqlSafe(format!("PREPARE bench_claim AS {QUERY}"))).await?;
    let explain = format!(
        "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, COSTS OFF, SUMMARY OFF) EXECUTE bench_claim('{executor}'::uuid, 0::smallint, \
         gen_random_uuid(), ARRAY['default'], ARRAY[{CLAIM}::bigint], ARRAY['no_step@1'])"
    );
    let plan: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(explain)).persistent(false).fetch_all(&mut *connection).await?;
    (&mut *connection).execute("ROLLBACK; DEALLOCATE bench_claim").await?;
    Ok(plan)
}
