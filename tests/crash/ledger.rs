//! The tables that the steps write, and what they and the journals have to say in the end.

use sqlx::{PgPool, Row};
use uuid::Uuid;
use workflow::Timestamp;

/// Nothing here is unique: what was done twice stands there twice.
const TABLES: &str = "
    CREATE TABLE account (id bigint, balance bigint NOT NULL);
    CREATE TABLE body (run uuid, step text, who text, began timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE effect (run uuid, what text, who text, at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE slow_effect (run uuid, what text, who text, at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON slow_effect DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION linger();
    INSERT INTO account SELECT n, 1000 FROM generate_series(0, 99) AS n;
";

pub async fn make(pool: &PgPool) {
    sqlx::raw_sql(TABLES).execute(pool).await.expect("tables");
}

/// The database's time.
pub async fn now(pool: &PgPool) -> Timestamp {
    sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await.expect("a time")
}

/// Asserts that a query finds nothing.
async fn none(pool: &PgPool, what: &str, query: &'static str) {
    let rows = sqlx::query(query).fetch_all(pool).await.expect("a query");
    let shown: Vec<String> = rows.iter().take(5).map(|row| row.get::<String, _>(0)).collect();
    assert!(rows.is_empty(), "{what}: {} rows, {shown:#?}", rows.len());
}

/// What holds for every run, whatever happened: it ended well; its journal has no gap and every outcome once; and no
/// body began after its outcome was recorded.
pub async fn check_runs(pool: &PgPool) {
    none(
        pool,
        "runs that didn't end well",
        "SELECT r.id || ' ' || r.status || COALESCE(' ' || r.park_message, '') || ' ' || encode(r.output, 'escape')
         FROM workflow.runs AS r WHERE r.status <> 'completed'",
    )
    .await;
    none(
        pool,
        "journals with gaps",
        "SELECT j.run_id::text FROM workflow.journal AS j GROUP BY j.run_id
         HAVING min(j.position) <> 0 OR max(j.position) + 1 <> count(*)",
    )
    .await;
    none(
        pool,
        "outcomes that were recorded twice",
        "SELECT j.run_id || ' ' || j.kind || ' ' || j.name FROM workflow.journal AS j
         WHERE j.phase IN ('ok', 'failed') GROUP BY j.run_id, j.kind, j.name, j.nth HAVING count(*) > 1",
    )
    .await;
    none(
        pool,
        "steps without a body",
        "SELECT j.run_id || ' ' || j.name FROM workflow.journal AS j WHERE j.kind = 'step' AND NOT EXISTS
             (SELECT 1 FROM body AS b WHERE b.run = j.run_id AND b.step = j.name)",
    )
    .await;
    none(
        pool,
        "bodies that began after their outcome was recorded",
        "SELECT b.run || ' ' || b.step || ' by ' || b.who || ' at ' || b.began || ' recorded at ' || j.recorded_at
         FROM body AS b JOIN workflow.journal AS j
           ON j.run_id = b.run AND j.kind = 'step' AND j.name = b.step AND j.phase = 'ok'
         WHERE b.began > j.recorded_at",
    )
    .await;
}

/// How often the busiest body began.
pub async fn most_begun(pool: &PgPool) -> i64 {
    let query = "SELECT COALESCE(max(n), 0) FROM (SELECT count(*) AS n FROM body GROUP BY run, step) AS counts";
    sqlx::query_scalar(query).fetch_one(pool).await.expect("a count")
}

/// The id of the executor with this name that is alive.
pub async fn alive(pool: &PgPool, name: &str) -> Option<Uuid> {
    sqlx::query_scalar(
        "SELECT id FROM workflow.executors WHERE name = $1 AND state = 'alive' AND lease_until > clock_timestamp()",
    )
    .bind(name)
    .fetch_optional(pool)
    .await
    .expect("a query")
}
