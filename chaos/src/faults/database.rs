//! A database that crashes (F3).

use std::sync::{Arc, PoisonError};

use chrono::Utc;
use sqlx::Row;
use workflow_checker::record::Hit;
use workflow_testserver::Shutdown;

use crate::database::Postgres;
use crate::field::Field;
use crate::options::Class;
use crate::process;
use crate::rng::Rng;

pub async fn crash(field: Arc<Field>, mut rng: Rng) {
    let Some(postgres) = field.place.postgres().cloned() else { return };
    while field.between(&mut rng, 5_000, 9_000).await {
        let _alone = postgres.exclusive.lock().await;
        let how = match rng.below(3) {
            0 => "immediate",
            1 => "postmaster_killed",
            _ => "backend_killed",
        };
        field.fault(Class::F3, Hit::Database, None, how).await;
        let done = match how {
            "immediate" => restart(&postgres, Shutdown::Immediate).await,
            "postmaster_killed" => restart(&postgres, Shutdown::Kill).await,
            _ => kill_backend(&postgres, &mut rng).await,
        };
        postgres.up().await;
        let up = Utc::now();
        field.fault(Class::F3, Hit::Database, None, "takes connections again").await;
        field.restarts.lock().unwrap_or_else(PoisonError::into_inner).push(up);
        if done {
            field.tally.landed(Class::F3, how);
        }
    }
}

/// Takes the server down in this way, and up again. Without it no campaign comes to an end.
async fn restart(postgres: &Postgres, how: Shutdown) -> bool {
    let Err(error) = postgres.server.restart(how).await else { return true };
    eprintln!("the server didn't come back: {error}");
    if let Err(error) = postgres.server.up().await {
        eprintln!("it doesn't come back: {error}");
        std::process::exit(2);
    }
    false
}

/// Kills one backend: the postmaster ends all of them and recovers.
async fn kill_backend(postgres: &Postgres, rng: &mut Rng) -> bool {
    let crashes = postgres.logged("terminated by signal 9");
    let Ok(mut admin) = postgres.admin().await else { return false };
    let query = "SELECT a.pid FROM pg_stat_activity AS a
        WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() ORDER BY a.pid";
    let Ok(rows) = sqlx::query(query).fetch_all(&mut admin).await else { return false };
    let Some(pid) = rng.pick(&rows).and_then(|row| row.try_get::<i32, _>(0).ok()) else { return false };
    if !process::send("KILL", pid.unsigned_abs()).await {
        return false;
    }
    // The session ends when the postmaster has noticed.
    while sqlx::query("SELECT 1").execute(&mut admin).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    postgres.up().await;
    postgres.logged("terminated by signal 9") > crashes
}
