//! What happens to a file (F13): somebody else locks it, a second process comes and goes.

use std::sync::Arc;

use sqlx::{Connection, Executor, SqliteConnection};
use workflow_checker::record::Hit;

use super::kill;
use crate::field::Field;
use crate::options::Class;
use crate::rng::Rng;

/// Somebody else has a transaction open: shorter or longer than the store waits for it.
pub async fn lock(field: Arc<Field>, mut rng: Rng) {
    while field.between(&mut rng, 2_000, 6_000).await {
        let Ok(mut other) = SqliteConnection::connect(&field.place.url()).await else { continue };
        field.fault(Class::F13, Hit::Database, None, "the file is locked").await;
        if other.execute("BEGIN IMMEDIATE").await.is_ok() {
            let lasts = if rng.chance(15) { rng.millis(5_200, 6_500) } else { rng.millis(100, 1_500) };
            field.pause(lasts).await;
            let _ = other.execute("ROLLBACK").await;
            field.tally.landed(Class::F13, "locked");
        }
    }
}

/// Another executor on the same file, which comes and goes.
pub async fn second_process(field: Arc<Field>, mut rng: Rng) {
    let Some(slot) = field.slots.get(1) else { return };
    while field.between(&mut rng, 1_000, 4_000).await {
        {
            let mut seat = slot.seat.lock().await;
            if seat.process.is_none() {
                field.fault(Class::F13, Hit::Other, None, "a second process").await;
                kill::restart(&field, slot, &mut seat).await;
            }
        }
        field.between(&mut rng, 2_000, 5_000).await;
        let mut seat = slot.seat.lock().await;
        if seat.process.as_ref().is_some_and(crate::process::Process::ready) {
            field.tally.landed(Class::F13, "second_process");
        }
        if rng.chance(50) {
            kill::kill_in(&field, &mut seat).await;
        } else {
            kill::terminate(&field, &mut seat).await;
        }
    }
}
