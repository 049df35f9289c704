//! Lines to the database that break in all the ways that lines do (F4).

use std::sync::Arc;
use std::time::Duration;

use workflow_checker::record::Hit;

use crate::field::Field;
use crate::options::Class;
use crate::proxy::{Line, Mode};
use crate::rng::Rng;

/// A line, and the name of the process at its end.
fn pick(field: &Field, rng: &mut Rng) -> Option<(Arc<Line>, Option<String>)> {
    let executors = field.slots.iter().filter_map(|slot| slot.line.clone().map(|line| (line, Some(slot.name()))));
    let all: Vec<_> = executors.chain(field.lines.iter().map(|line| (line.clone(), None))).collect();
    rng.pick(&all).cloned()
}

pub async fn disturb(field: Arc<Field>, mut rng: Rng) {
    while field.between(&mut rng, 400, 2_500).await {
        let Some((line, process)) = pick(&field, &mut rng) else { continue };
        let (form, mode, lasts) = match rng.below(5) {
            0 => ("reset", Mode::Pass, Duration::ZERO),
            1 => ("half_open", Mode::HalfOpen, rng.millis(500, 3_000)),
            2 => ("black_hole", Mode::BlackHole, rng.millis(500, 4_000)),
            3 => ("delay", Mode::Delay(rng.millis(20, 200)), rng.millis(1_000, 3_000)),
            _ => ("dribble", Mode::Dribble, rng.millis(1_000, 2_000)),
        };
        field.fault(Class::F4, Hit::Connection, process.as_deref(), form).await;
        let hit = if form == "reset" {
            u64::from(line.reset())
        } else {
            line.set(mode);
            field.pause(lasts).await;
            let touched = line.touched();
            line.set(Mode::Pass);
            touched
        };
        if hit > 0 {
            field.tally.landed(Class::F4, form);
        }
    }
}

/// Commits that are done while nobody ever hears of it.
pub async fn cut(field: Arc<Field>, mut rng: Rng) {
    while field.between(&mut rng, 1_500, 5_000).await {
        let Some((line, process)) = pick(&field, &mut rng) else { continue };
        let before = line.cut();
        field.fault(Class::F4, Hit::Connection, process.as_deref(), "a commit's answer is lost").await;
        line.cut_commits(1);
        for _ in 0..200 {
            if line.cut() > before || !field.pause(Duration::from_millis(10)).await {
                break;
            }
        }
        line.cut_commits(0);
        field.tally.add(Class::F4, "cut_commit", line.cut() - before);
    }
}
