//! Every statement is valid, and the claim's plans use the partial indexes.

mod support;

use sqlx::{AssertSqlSafe, Row};
use support::Harness;

fn statements() -> Vec<(String, String)> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let files = std::fs::read_dir(directory).expect("there is queries/");
    let mut all: Vec<_> = files
        .map(|file| {
            let path = file.expect("a file").path();
            let name = path.file_stem().expect("has a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).expect("is text"))
        })
        .collect();
    all.sort();
    assert!(all.len() > 30);
    all
}

#[tokio::test]
async fn every_statement_prepares_on_a_migrated_database() {
    let harness = Harness::migrated().await;
    let mut conn = harness.store.pool().acquire().await.expect("connects");
    for (name, sql) in statements() {
        // LOCK can't be prepared; the migration tests run it.
        if name == "lock_migrations" {
            continue;
        }
        let prepare = format!("PREPARE {name} AS {sql}");
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *conn).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[test]
fn every_statement_says_what_it_is_and_names_its_columns() {
    for (name, sql) in statements() {
        assert!(sql.starts_with("-- "), "{name} has no header");
        assert!(!sql.contains("SELECT *") && !sql.contains(".*"), "{name} selects everything");
    }
}

/// The plan of the claim as Postgres makes it once for all parameters, and for these.
async fn claim_plans(harness: &Harness) -> Vec<String> {
    let claim = statements().into_iter().find(|(name, _)| name == "claim").expect("is there").1;
    let mut conn = harness.store.pool().acquire().await.expect("connects");
    let mut plans = Vec::new();
    for mode in ["force_generic_plan", "force_custom_plan"] {
        let setup = format!("SET plan_cache_mode = {mode}; DEALLOCATE ALL; PREPARE claim AS {claim}");
        sqlx::raw_sql(AssertSqlSafe(setup)).execute(&mut *conn).await.expect("prepares");
        let explain = "EXPLAIN EXECUTE claim(gen_random_uuid(), 0::smallint, gen_random_uuid(), \
             ARRAY['default'], ARRAY[10::bigint], ARRAY['order@1'])";
        let rows = sqlx::raw_sql(explain).fetch_all(&mut *conn).await.expect("explains");
        plans.push(rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n"));
    }
    plans
}

#[tokio::test]
async fn claim_uses_the_partial_indexes_among_many_sleepers() {
    let harness = Harness::migrated().await;
    let fill = "INSERT INTO workflow.runs (id, workflow, version, queue, status, input_codec, input, input_digest, \
             depth, retain_us, ready_at, wake_at, created_at) \
         SELECT gen_random_uuid(), 'order', 1, 'default', CASE WHEN n % 10 = 0 THEN 'ready' ELSE 'waiting' END, 0, \
             '1', '', 0, 0, CASE WHEN n % 10 = 0 THEN now() END, \
             CASE WHEN n % 10 <> 0 THEN now() + n * INTERVAL '1 second' END, now() \
         FROM generate_series(1, 30000) AS n";
    sqlx::raw_sql(fill).execute(harness.store.pool()).await.expect("fills");
    for analyzed in [false, true] {
        if analyzed {
            sqlx::raw_sql("VACUUM ANALYZE workflow.runs").execute(harness.store.pool()).await.expect("analyzes");
        }
        for plan in claim_plans(&harness).await {
            assert!(plan.contains("using runs_ready on runs"), "{plan}");
            assert!(plan.contains("using runs_due on runs"), "{plan}");
            assert!(!plan.contains("Seq Scan on runs"), "{plan}");
        }
    }
}

/// Among the thousands of runs of one executor each is found by its id.
#[tokio::test]
async fn ends_of_runs_are_found_by_id() {
    let harness = Harness::migrated().await;
    let fill = "INSERT INTO workflow.runs (id, workflow, version, queue, status, input_codec, input, input_digest, \
             depth, retain_us, owner, created_at) \
         SELECT gen_random_uuid(), 'order', 1, 'default', 'running', 0, '1', '', 0, 0, \
             '018f0000-0000-7000-8000-000000000000', now() FROM generate_series(1, 5000)";
    sqlx::raw_sql(fill).execute(harness.store.pool()).await.expect("fills");
    let end = statements().into_iter().find(|(name, _)| name == "end_runs").expect("is there").1;
    let mut conn = harness.store.pool().acquire().await.expect("connects");
    for analyze in ["", "VACUUM ANALYZE workflow.runs"] {
        for prepare in [analyze, "DEALLOCATE ALL", &format!("PREPARE ends AS {end}")] {
            sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *conn).await.expect("prepares");
        }
        let none = "'{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'";
        let explain =
            format!("EXPLAIN EXECUTE ends(gen_random_uuid(), 0, NULL, '{{}}', '{{}}', '{{}}', '{{}}', {none}, 1)");
        let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *conn).await.expect("explains");
        let plan = rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n");
        assert!(plan.contains("using run_id_is_once on runs"), "{plan}");
        assert!(!plan.contains("runs_owned") && !plan.contains("Seq Scan"), "{plan}");
    }
}
