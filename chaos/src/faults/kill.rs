//! Processes that end: by `kill -9` (F1), and in good order while a new build is rolled out (F12).

use std::sync::Arc;
use std::time::Duration;

use workflow_checker::record::Hit;

use crate::field::{Field, Seat, Slot};
use crate::options::Class;
use crate::rng::Rng;

/// Longer than any shutdown in good order takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long a victim may have nothing to do.
const IDLE: Duration = Duration::from_secs(2);

pub async fn kill(field: Arc<Field>, mut rng: Rng) {
    while field.between(&mut rng, 500, 2_000).await {
        if let Some((slot, mut seat)) = field.victim(&mut rng) {
            // At any moment, or in the middle of a body; one that can do nothing just now is left for later.
            let wanted = rng.chance(80);
            let met = match &seat.process {
                Some(process) if wanted => process.in_a_body(IDLE).await,
                _ => true,
            };
            if met {
                kill_in(&field, &mut seat).await;
                restart(&field, slot, &mut seat).await;
            }
        }
    }
}

/// Kills whoever is in a slot.
pub async fn kill_in(field: &Field, seat: &mut Seat) {
    let Some(mut process) = seat.process.take() else { return };
    if process.kill().await {
        field.tally.landed(Class::F1, "kill");
        field.fault(Class::F1, Hit::Kill, Some(&process.name), "kill -9").await;
    }
    field.gone(&process.name).await;
}

pub async fn restart(field: &Field, slot: &Slot, seat: &mut Seat) {
    if let Err(error) = field.start(slot, seat).await {
        eprintln!("no new executor: {error}");
    }
}

pub async fn deploy(field: Arc<Field>, mut rng: Rng) {
    while field.between(&mut rng, 6_000, 12_000).await {
        if let Some((slot, mut seat)) = field.victim(&mut rng) {
            terminate(&field, &mut seat).await;
            seat.build = 3 - seat.build;
            restart(&field, slot, &mut seat).await;
        }
    }
}

/// Asks whoever is in a slot to end in good order.
pub async fn terminate(field: &Field, seat: &mut Seat) {
    let Some(mut process) = seat.process.take() else { return };
    field.fault(Class::F12, Hit::Terminate, Some(&process.name), "SIGTERM").await;
    let asked = process.signal("TERM").await;
    match process.exited(PATIENCE).await {
        Some(status) if asked && status.success() => {
            if !field.stopped() {
                field.tally.landed(Class::F12, "deploy");
            }
        }
        _ => field.gone(&process.name).await,
    }
}
