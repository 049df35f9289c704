//! What the checker sees: a good history raises no alarm, and each thing that goes wrong raises the right one.

mod histories;
mod mutations;
mod random;
mod world;

use std::collections::BTreeMap;

use workflow_checker::check::invariants;

use histories::{ORDER, good};
use mutations::MUTATIONS;
use workflow_checker::record::{Hit, Life};
use world::{World, counts, ms};

#[test]
fn a_good_history_raises_no_alarm() {
    assert_eq!(good().check(), []);
}

#[test]
fn a_clock_that_is_off_and_a_ledger_that_is_slow_raise_no_alarm() {
    let mut world = World::new();
    world.fault("F9", Hit::Clock, Some("e6"));
    world.life("e6", Life::Born);
    world.invoke(ORDER, "order");
    world.start(ORDER, "quick", 1, "e6");
    let body = world.start(ORDER, "reserve", 1, "e6");
    world.pass(ms(10));
    world.entry(ORDER, "cancel", "", "ok", serde_json::json!("enough"));
    world.finish(ORDER, "cancelled");
    world.pass(ms(10));
    let at = world.now;
    for line in world.lines.iter_mut().filter(|line| line.from == "e6") {
        line.sent_at -= ms(75_613_000);
        if line.seq == body {
            // It waited for a sync.
            line.at = at;
        }
    }
    world.settle();
    assert_eq!(world.check(), []);
    // Much later it is an alarm all the same.
    for line in world.lines.iter_mut().filter(|line| line.seq == body) {
        line.sent_at += ms(30);
    }
    let violations = world.check();
    assert_eq!(counts(&violations).into_keys().collect::<Vec<_>>(), ["I16", "I4"], "{violations:#?}");
}

#[test]
fn each_mutation_is_caught_by_its_invariant() {
    let mut missed = Vec::new();
    for (invariant, what, mutate) in MUTATIONS {
        let mut world = good();
        mutate(&mut world);
        let violations = world.check();
        let Some(found) = violations.iter().find(|violation| violation.invariant == *invariant) else {
            missed.push(format!("{invariant} {what}: {:?}", counts(&violations)));
            continue;
        };
        assert!(!found.slice.is_empty() && found.slice.len() <= 30, "{invariant} {what}: {found:#?}");
        assert_eq!((found.seed, found.repeat.as_str()), (7, "chaos run --seed 7"));
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn each_invariant_has_two_mutations() {
    let mut per = BTreeMap::<_, usize>::new();
    for (invariant, ..) in MUTATIONS {
        *per.entry(*invariant).or_default() += 1;
    }
    let few: Vec<_> = invariants().filter(|(name, _)| per.get(name).is_none_or(|n| *n < 2)).collect();
    assert!(few.is_empty(), "{few:?}");
    assert_eq!(per.len(), 24);
}
