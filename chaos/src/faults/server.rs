//! A server that ends sessions and statements (F5), refuses writes (F7), or has no space left (F8).

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Executor, Row};
use workflow_checker::record::Hit;

use crate::database::Postgres;
use crate::field::Field;
use crate::options::Class;
use crate::process::Said;
use crate::rng::Rng;

pub async fn end_sessions(field: Arc<Field>, mut rng: Rng) {
    let Some(postgres) = field.place.postgres().cloned() else { return };
    while field.between(&mut rng, 700, 2_500).await {
        let (form, call, whom) = if rng.chance(50) {
            ("terminated", "SELECT pg_terminate_backend($1)", "true")
        } else {
            ("cancelled", "SELECT pg_cancel_backend($1)", "a.state <> 'idle'")
        };
        field.fault(Class::F5, Hit::Connection, None, form).await;
        if end_one(&postgres, call, whom, &mut rng).await.unwrap_or(false) {
            field.tally.landed(Class::F5, form);
        }
    }
}

async fn end_one(postgres: &Postgres, call: &'static str, whom: &str, rng: &mut Rng) -> Result<bool, sqlx::Error> {
    let mut admin = postgres.admin().await?;
    let list = format!(
        "SELECT a.pid FROM pg_stat_activity AS a
         WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() AND {whom} ORDER BY a.pid"
    );
    // A statement is over in a moment: one has to look often to meet one.
    for _ in 0..50 {
        let rows = sqlx::query(sqlx::AssertSqlSafe(list.as_str())).fetch_all(&mut admin).await?;
        if let Some(row) = rng.pick(&rows) {
            let pid: i32 = row.try_get(0)?;
            return sqlx::query_scalar(call).bind(pid).fetch_one(&mut admin).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(false)
}

pub async fn read_only(field: Arc<Field>, mut rng: Rng) {
    let Some(postgres) = field.place.postgres().cloned() else { return };
    while field.between(&mut rng, 15_000, 30_000).await {
        let before = met(&field, |said| &said.read_only);
        field.fault(Class::F7, Hit::Database, None, "read-only").await;
        insist(&postgres, "ALTER SYSTEM SET default_transaction_read_only = on").await;
        field.pause(rng.millis(1_000, 3_000)).await;
        insist(&postgres, "ALTER SYSTEM RESET default_transaction_read_only").await;
        field.fault(Class::F7, Hit::Database, None, "writable again").await;
        if met(&field, |said| &said.read_only) > before {
            field.tally.landed(Class::F7, "read_only");
        }
    }
}

/// Changes a setting, however often the server is away.
async fn insist(postgres: &Postgres, statement: &'static str) {
    loop {
        if let Ok(mut admin) = postgres.admin().await
            && admin.execute(statement).await.is_ok()
            && admin.execute("SELECT pg_reload_conf()").await.is_ok()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn fill_disk(field: Arc<Field>, mut rng: Rng) {
    let Some(postgres) = field.place.postgres().cloned() else { return };
    let Some(disk) = &postgres.disk else { return };
    while field.between(&mut rng, 15_000, 30_000).await {
        // A server that recovers without space doesn't come up.
        let _alone = postgres.exclusive.lock().await;
        let before = met(&field, |said| &said.disk_full);
        field.fault(Class::F8, Hit::Database, None, "disk full").await;
        let ballast = disk.fill().await;
        field.pause(rng.millis(1_000, 2_500)).await;
        drop(ballast);
        field.fault(Class::F8, Hit::Database, None, "space again").await;
        if met(&field, |said| &said.disk_full) > before {
            field.tally.landed(Class::F8, "disk_full");
        }
    }
}

/// How often somebody met something.
fn met(field: &Field, what: impl Fn(&Said) -> &std::sync::atomic::AtomicU64) -> u64 {
    field.heard.sum(what)
}
