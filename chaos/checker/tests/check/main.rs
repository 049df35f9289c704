//! What the checker sees: a good history raises no alarm, and each thing that goes wrong raises the right one.

mod mutations;
mod random;
mod world;

use std::collections::BTreeMap;

use workflow_checker::check::invariants;

use mutations::MUTATIONS;
use world::{counts, good};

#[test]
fn a_good_history_raises_no_alarm() {
    assert_eq!(good().check(), []);
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
