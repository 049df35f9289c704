//! Every statement is valid, and the claim's plans use the partial indexes.

mod support;

use sqlx::{AssertSqlSafe, Row};
use support::Harness;
use workflow_core::Store;

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

/// As many rows of each table that grows.
fn fill(count: u32) -> String {
    format!(
        "INSERT INTO workflow.runs (id, workflow, version, queue, status, input_codec, input, input_digest, depth, \
             retain_us, owner, created_at) \
         SELECT gen_random_uuid(), 'order', 1, 'default', 'running', 0, '1', '', 0, 0, \
             '018f0000-0000-7000-8000-000000000000', now() FROM generate_series(1, {count}); \
         INSERT INTO workflow.journal SELECT id, 0, 'step', 'a', 1, 'ok', 0, '1', NULL, 1, now() FROM workflow.runs \
             ON CONFLICT DO NOTHING; \
         INSERT INTO workflow.inbox SELECT id, 1, 'event', 'a', 1, 'ok', 0, '1', NULL, now() FROM workflow.runs \
             ON CONFLICT DO NOTHING; \
         INSERT INTO workflow.subscriptions SELECT id, 'event', 'a', 1, 'a', 'k', 0 FROM workflow.runs \
             ON CONFLICT DO NOTHING; \
         INSERT INTO workflow.events SELECT id::text, '', 1, id, 0, '1', now(), now() + INTERVAL '1 day' FROM \
             workflow.runs ON CONFLICT DO NOTHING; \
         UPDATE workflow.runs SET expires_at = now() + INTERVAL '1 day'"
    )
}

/// A scan of a table that grows which isn't for certain rows.
fn reads_all(plan: &str) -> bool {
    let grows = |line: &str| {
        ["runs", "journal", "inbox", "subscriptions", "events"]
            .iter()
            .any(|table| line.contains(&format!(" on {table} ")))
    };
    let lines: Vec<_> = plan.lines().collect();
    lines.iter().enumerate().any(|(n, line)| {
        let found = lines.get(n + 1).is_some_and(|next| next.contains("Index Cond") || next.contains("Recheck Cond"));
        line.contains("Scan") && grows(line) && !found
    })
}

/// Those that are used for few and for many runs of tables of any size.
const FIND_BY_ID: [&str; 9] = [
    "commit_turns",
    "end_run",
    "end_runs",
    "send",
    "delete_runs",
    "commit_entry",
    "commit_entries",
    "lock_expired",
    "delete_events",
];

/// Whatever a plan was made for: it is kept, and the tables grow. Each run is found by its id, and not among all that the
/// executor has.
#[tokio::test]
async fn batches_find_their_runs_by_id_with_plans_that_were_made_when_there_were_few() {
    let harness = Harness::migrated().await;
    let mut conn = harness.store.pool().acquire().await.expect("connects");
    for wanted in FIND_BY_ID {
        let sql = statements().into_iter().find(|(name, _)| name == wanted).expect("is there").1;
        let parameters = (1..).take_while(|n| sql.contains(&format!("${n}"))).map(|_| "NULL").collect::<Vec<_>>();
        let execute = format!("EXECUTE wanted({})", parameters.join(", "));
        for (before, analyzed) in [(0, false), (1, true), (30, true), (5_000, true)] {
            let clean = "TRUNCATE workflow.runs, workflow.journal, workflow.inbox, workflow.subscriptions, workflow.events; \
                 DEALLOCATE ALL";
            let analyze = if analyzed { "VACUUM ANALYZE" } else { "SELECT 1" };
            let prepare = format!("PREPARE wanted AS {sql}");
            for sql in [clean, &fill(before), analyze, &prepare, &execute, &fill(3_000)] {
                let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *conn).await;
                done.unwrap_or_else(|error| panic!("{wanted}: {error}: {sql}"));
            }
            let explain = AssertSqlSafe(format!("EXPLAIN {execute}"));
            let rows = sqlx::raw_sql(explain).fetch_all(&mut *conn).await.expect("explains");
            let plan = rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n");
            assert!(!reads_all(&plan), "{wanted}, planned for {before}: {plan}");
            assert!(
                !plan.contains("using runs_owned") || wanted == "end_run",
                "{wanted}, planned for {before}: {plan}"
            );
        }
    }
}

/// As many messages as runs, however few the planner took them for: not a comparison of each with each.
#[tokio::test]
async fn many_messages_are_not_compared_with_all_the_runs_they_go_to() {
    let harness = Harness::migrated().await;
    let mut conn = harness.store.pool().acquire().await.expect("connects");
    sqlx::raw_sql(AssertSqlSafe(fill(1_000))).execute(&mut *conn).await.expect("fills");
    let ids = "SELECT array_agg(id ORDER BY id)::text FROM workflow.runs";
    let ids: String = sqlx::query_scalar(ids).fetch_one(&mut *conn).await.expect("looks");
    let all = |what: &str| format!("'{{{}}}'", vec![what; 1_000].join(","));
    let (ids, ones, texts, nulls, none) = (format!("'{ids}'"), all("1"), all("a"), all("NULL"), "'{}'");
    let messages = format!("{ids}, {ones}, {texts}, {texts}, {ones}, {texts}, {ones}, {texts}, {nulls}, {nulls}");
    let send = format!("{ids}, {ones}, {messages}, {none}, {none}, {none}, {none}");
    let writer = "INSERT INTO workflow.executors (id, name, state, lease_until, registered_at) \
             VALUES ('018f0000-0000-7000-8000-000000000000', 'x', 'alive', now() + INTERVAL '1 hour', now()); \
         INSERT INTO workflow.executor_writers VALUES ('018f0000-0000-7000-8000-000000000000', 0)";
    sqlx::raw_sql(writer).execute(&mut *conn).await.expect("registers");
    let runs =
        format!("{ids}, {nulls}, {nulls}, {nulls}, {nulls}, {nulls}, {nulls}, {nulls}, {nulls}, {nulls}, {ones}, 0");
    let turns = format!(
        "'018f0000-0000-7000-8000-000000000000', 0, NULL, {runs}, {entries}, {messages}, {rest}, 1, NULL",
        entries = [none; 9].join(", "),
        rest = [none; 7].join(", "),
    );
    for (wanted, parameters) in [("send", send), ("commit_turns", turns)] {
        let sql = statements().into_iter().find(|(name, _)| name == wanted).expect("is there").1;
        let explain = format!("EXPLAIN (ANALYZE, TIMING OFF) EXECUTE wanted({parameters})");
        let clean = "TRUNCATE workflow.inbox; SET plan_cache_mode = force_generic_plan; DEALLOCATE ALL";
        for sql in [clean, &format!("PREPARE wanted AS {sql}")] {
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *conn).await.expect("prepares");
        }
        let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *conn).await;
        let rows = rows.unwrap_or_else(|error| panic!("{wanted}: {error}"));
        let plan = rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n");
        assert!(!plan.contains("Rows Removed by Join Filter"), "{wanted}: {plan}");
        let posted = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM workflow.inbox").persistent(false);
        assert_eq!(posted.fetch_one(&mut *conn).await.expect("counts"), 1_000, "{wanted}: {plan}");
    }
}

/// Between looking for an event and writing its message, retention must not take it.
#[tokio::test]
async fn an_event_that_was_found_is_not_swept_before_its_message_is_written() {
    let harness = Harness::migrated().await;
    let pool = harness.store.pool();
    let emit = "INSERT INTO workflow.topics VALUES ('go', 'k', 1); \
         INSERT INTO workflow.events VALUES ('go', 'k', 1, gen_random_uuid(), 0, '1', now(), now() + INTERVAL '1 day')";
    sqlx::raw_sql(emit).execute(pool).await.expect("emits");
    let sql = statements().into_iter().find(|(name, _)| name == "subscribe").expect("is there").1;
    let subscribe = "EXECUTE subscribe(ARRAY[gen_random_uuid()], ARRAY['event'], ARRAY['a'], ARRAY[1], ARRAY['go'], \
         ARRAY['k'], ARRAY[0::bigint])";
    let mut tx = pool.begin().await.expect("begins");
    sqlx::raw_sql(AssertSqlSafe(format!("PREPARE subscribe AS {sql}"))).execute(&mut *tx).await.expect("prepares");
    let found = sqlx::raw_sql(subscribe).fetch_all(&mut *tx).await.expect("looks");
    assert_eq!(found.len(), 1);
    let late = "UPDATE workflow.events SET expires_at = now() - INTERVAL '1 second'";
    sqlx::raw_sql(late).execute(pool).await.expect("lets its time pass");
    assert_eq!(harness.store.sweep(10).await.expect("sweeps").events, 0, "it is being delivered");
    tx.commit().await.expect("commits");
    assert_eq!(harness.store.sweep(10).await.expect("sweeps").events, 1);
}
