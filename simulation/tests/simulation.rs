//! Seeds that every change has to pass, and that the same seed is the same simulation.

use workflow_simulation::campaign::{Campaign, describe, each_call_once};
use workflow_simulation::{Plan, simulate};

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn two_thousand_seeds_violate_nothing() {
    let campaign = Campaign { first: 0, seeds: 2_000, at_most: None, threads: threads() };
    let verdicts = campaign.run(|_, _| {});
    let told: Vec<_> = verdicts.failed.iter().map(|(seed, bad)| describe(&Plan::random(*seed), bad)).collect();
    assert!(told.is_empty(), "{}", told.join("\n\n"));
    let counts = verdicts.counts;
    println!("{} seeds, {:.0} programs a second: {counts:?}", verdicts.seeds, verdicts.rate());
    // What never happened wasn't tested.
    assert!(counts.kills > 500 && counts.freezes > 500 && counts.shutdowns > 500, "{counts:?}");
    assert!(counts.unknown_commits > 500 && counts.fenced > 10 && counts.too_early > 10, "{counts:?}");
}

#[test]
fn same_seed_gives_the_same_log() {
    for seed in 0..20 {
        let plan = Plan::random(seed);
        let (first, second) = (simulate(&plan, true), simulate(&plan, true));
        let differs = first.log.lines().zip(second.log.lines()).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first, second, "seed {seed}");
        assert!(first.log.lines().count() > 20, "seed {seed} has next to no log");
    }
}

#[test]
fn each_call_may_fail_once_in_every_way() {
    let mut sites = 0;
    for seed in [1, 2] {
        each_call_once(&Plan::random(seed), |number, verdict, outcome| {
            sites += 1;
            assert_eq!(outcome.violations, [], "seed {seed}, call {number}, {verdict:?}");
        });
    }
    assert!(sites > 500, "{sites} sites are too few");
}
