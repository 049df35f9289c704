//! Processes that freeze (F2): for longer than their lease, some of them with a commit on its way, and for less.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use workflow_checker::record::Hit;

use crate::field::{Field, LEASE, Slot};
use crate::options::Class;
use crate::process::{Process, Said};
use crate::proxy::Line;
use crate::rng::Rng;

/// How soon a process that goes on knows that its lease is lost.
const NOTICE: Duration = Duration::from_secs(4);

pub async fn freeze(field: Arc<Field>, mut rng: Rng) {
    let pause = if is_alone(&field) { (200, 800) } else { (1_000, 4_000) };
    while field.between(&mut rng, pause.0, pause.1).await {
        let Some((slot, mut seat)) = field.victim(&mut rng) else { continue };
        let hold = is_alone(&field) || rng.chance(60);
        let brief = !is_alone(&field) && rng.chance(30);
        if let (true, Some(process)) = (brief, &mut seat.process) {
            doze(&field, process, &mut rng).await;
        } else if let Some(process) = &mut seat.process {
            freeze_one(&field, slot, process, hold, &mut rng).await;
        }
    }
}

/// Whether nothing else is in the way of more of them: then there are, and each is over about when the runs of the frozen
/// one have just begun to go on elsewhere.
pub fn is_alone(field: &Field) -> bool {
    field.options.faults.iter().eq([&Class::F2])
}

/// For less than the lease: nothing is taken over, and nothing that was under way may have gone wrong for it.
async fn doze(field: &Field, process: &mut Process, rng: &mut Rng) {
    let lease = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
    field.fault(Class::F2, Hit::Other, Some(&process.name), "SIGSTOP for less than the lease").await;
    let frozen = process.signal("STOP").await;
    field.pause(rng.millis(lease * 62 / 100, lease * 75 / 100)).await;
    process.signal("CONT").await;
    if frozen {
        field.tally.landed(Class::F2, "dozed");
    }
}

async fn freeze_one(field: &Field, slot: &Slot, process: &mut Process, hold: bool, rng: &mut Rng) {
    let line = slot.line.as_deref().filter(|_| hold);
    let held = match line {
        Some(line) => hold_one(field, line).await,
        None => false,
    };
    let before = (told(&process.said), refused(&process.said));
    let what = if held { "SIGSTOP with a commit on its way" } else { "SIGSTOP" };
    field.fault(Class::F2, Hit::Freeze, Some(&process.name), what).await;
    let frozen = process.signal("STOP").await;
    let lease = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
    let lasts = if is_alone(field) { (lease * 5 / 4, lease * 5 / 2) } else { (lease * 3 / 2, lease * 4) };
    field.pause(rng.millis(lasts.0, lasts.1)).await;
    if rng.chance(50) {
        // The server gets the commit while its sender still sleeps.
        release(line);
        field.pause(Duration::from_millis(200)).await;
    }
    field.fault(Class::F2, Hit::Thaw, Some(&process.name), "SIGCONT").await;
    process.signal("CONT").await;
    release(line);
    let noticed = async {
        while told(&process.said) == before.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if frozen && tokio::time::timeout(NOTICE, noticed).await.is_ok() {
        field.tally.landed(Class::F2, if held { "frozen_in_commit" } else { "frozen" });
        field.pause(Duration::from_millis(100)).await;
        field.zombies.fetch_add(refused(&process.said) - before.1, Ordering::SeqCst);
    }
}

/// Lets no commit through from now on, and waits until there is one.
async fn hold_one(field: &Field, line: &Line) -> bool {
    line.hold_commits(true);
    for _ in 0..50 {
        if line.held() > 0 || !field.pause(Duration::from_millis(10)).await {
            break;
        }
    }
    line.held() > 0
}

fn release(line: Option<&Line>) {
    if let Some(line) = line {
        line.hold_commits(false);
    }
}

/// How often it was told that its lease is lost.
fn told(said: &Said) -> u64 {
    said.lost_leases.load(Ordering::SeqCst) + said.refused_writes.load(Ordering::SeqCst)
}

/// How many of its writes were refused.
fn refused(said: &Said) -> u64 {
    said.refused_writes.load(Ordering::SeqCst)
}
