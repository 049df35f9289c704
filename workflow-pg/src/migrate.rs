//! The schema's versions: numbered, forward only, one migrator at a time.

use sqlx::{AssertSqlSafe, PgConnection, Row};
use workflow_core::StoreError;

use crate::error::work;
use crate::pool::begin_on;
use crate::session::{end, retry};
use crate::sql;
use crate::store::PgStore;

/// A step of the schema.
struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

const BOOTSTRAP: &str = include_str!("../migrations/0000_bootstrap.sql");

/// All steps, in order. A step that was published is never changed; a new one is added.
const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "init", sql: include_str!("../migrations/0001_init.sql") }];

// Creating indexes may take long, and another migrator may be at it.
// And whoever waited for that one has to see what it did.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 60000; \
     SET LOCAL idle_in_transaction_session_timeout = 60000";

impl PgStore {
    /// The SQL of all migrations, to be run by hand by somebody who may change the schema. It can be run again: what was
    /// applied is then refused by the first statement that creates something, and nothing is changed.
    pub fn migrations_sql() -> String {
        let mut script = format!("BEGIN;\n\n{BOOTSTRAP}");
        for step in MIGRATIONS {
            let record = sql::RECORD_MIGRATION.replace("$1", &step.version.to_string());
            let record = record.replace("$2", &format!("'{}'", step.name));
            script.push_str(&format!("\n{}\n{};\n", step.sql, record.trim_end()));
        }
        script.push_str("\nCOMMIT;\n");
        script
    }

    pub(crate) async fn migrate_schema(&self) -> Result<(), StoreError> {
        retry(|| self.try_migrate()).await
    }

    async fn try_migrate(&self) -> Result<(), StoreError> {
        let mut conn = self.warm().await?;
        // Whoever may only read and write rows gets through when there is nothing to do.
        let applied = check_version(&mut conn).await?;
        if applied == latest() {
            conn.keep();
            return Ok(());
        }
        drop(conn);
        let mut tx = begin_on(self.pool(), self.whose(), BEGIN.to_owned()).await?;
        // Two at once may collide in the system tables; the second then begins again and finds it done.
        sqlx::raw_sql(BOOTSTRAP).execute(&mut *tx).await.map_err(collided)?;
        sqlx::query(sql::LOCK_MIGRATIONS).execute(&mut *tx).await.map_err(work)?;
        let applied = check_version(&mut tx).await?;
        for step in MIGRATIONS.iter().filter(|step| step.version > applied) {
            tracing::info!(version = step.version, name = step.name, "migrating the schema");
            sqlx::raw_sql(AssertSqlSafe(step.sql)).execute(&mut *tx).await.map_err(|error| half_done(step, error))?;
            let record = sqlx::query(sql::RECORD_MIGRATION).bind(step.version).bind(step.name);
            record.execute(&mut *tx).await.map_err(work)?;
        }
        // Applied or not: the next call finds out.
        end(tx).await
    }
}

fn latest() -> i32 {
    MIGRATIONS.last().map_or(0, |step| step.version)
}

/// Behind the lock of the table of migrations nobody else creates anything: what is there was made by hand.
fn half_done(step: &Migration, error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default();
    if !["42P06", "42P07", "42710", "42723"].contains(&&*code) {
        return work(error);
    }
    StoreError::Schema(format!(
        "migration {} ({}) isn't recorded as applied, but a part of what it makes is there: {error}; nothing was changed. Drop what was left half-way (DROP SCHEMA workflow CASCADE, where it holds no runs), or restore a backup",
        step.version, step.name
    ))
}

fn collided(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default();
    // Duplicate key, schema or table; or a row that the other one changed.
    if ["23505", "42P06", "42P07", "42710", "42723", "XX000"].contains(&&*code) {
        return StoreError::Contention(format!("another migrator is at work: {error}"));
    }
    work(error)
}

/// The version of the schema, 0 for none.
///
/// # Errors
///
/// [`StoreError::Schema`] when it is newer than this code.
pub(crate) async fn check_version(conn: &mut PgConnection) -> Result<i32, StoreError> {
    let rows = sqlx::query(sql::MIGRATIONS_TABLE).fetch_all(&mut *conn).await.map_err(work)?;
    let exists = rows.first().map_or(Ok(false), |row| row.try_get(0)).map_err(work)?;
    if !exists {
        return Ok(0);
    }
    let rows = sqlx::query(sql::APPLIED_MIGRATIONS).fetch_all(&mut *conn).await.map_err(work)?;
    let newest: i32 = rows.last().map_or(Ok(0), |row| row.try_get(0)).map_err(work)?;
    let known = latest();
    if newest > known {
        return Err(StoreError::Schema(format!(
            "it has version {newest}, and this build knows up to {known}: deploy a newer build, or connect to another database"
        )));
    }
    Ok(newest)
}
