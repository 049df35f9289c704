//! The schema: numbered migrations, forward only, each applied once.

use sqlx::{Row, SqliteConnection};
use workflow_core::StoreError;

use crate::{clock, error, sql};

/// Every migration: its name and its statements. Its number is its place, from 1.
pub(crate) const MIGRATIONS: &[(&str, &str)] = &[("init", include_str!("../migrations/0001_init.sql"))];

/// Brings the schema to this version, within a transaction that holds the write lock: two migrators don't meet.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query(sql::MIGRATION_TABLE).execute(&mut *connection).await.map_err(error::statement)?;
    let row = sqlx::query(sql::MIGRATION_LEVEL).fetch_one(&mut *connection).await.map_err(error::statement)?;
    let level = row.try_get::<Option<i64>, _>(0).map_err(error::statement)?.unwrap_or(0);
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if level > known {
        return Err(StoreError::Schema(format!(
            "the SQLite file has schema version {level}, and this build knows up to {known}: deploy the newer build, \
             or use another file"
        )));
    }
    for (number, (name, statements)) in (1_i64..).zip(MIGRATIONS).skip_while(|(number, _)| *number <= level) {
        let migrated = sqlx::raw_sql(*statements).execute(&mut *connection).await;
        migrated.map_err(|error| half_done(number, name, error))?;
        sqlx::query(sql::MIGRATION_DONE)
            .bind(number)
            .bind(*name)
            .bind(clock::now())
            .execute(&mut *connection)
            .await
            .map_err(error::statement)?;
    }
    Ok(())
}

/// Nobody else creates anything meanwhile: what is there was made by hand, or is another program's.
fn half_done(number: i64, name: &str, error: sqlx::Error) -> StoreError {
    if !error.to_string().contains("already exists") {
        return error::statement(error);
    }
    StoreError::Schema(format!(
        "migration {number} ({name}) isn't recorded as applied, but a part of what it makes is there: {error}; nothing \
         was changed. Restore a backup, or use another file"
    ))
}
