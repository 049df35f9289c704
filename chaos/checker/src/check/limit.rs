//! What has a bound: places within limits, and what a soak measures.

use std::collections::BTreeMap;

use super::Violation;
use super::evidence::Evidence;
use super::facts::Facts;
use crate::record::{Hit, Life, Line, Record};

/// I14.
///
/// A process that is frozen, killed or has lost its lease holds no place any more: others may have it by right.
pub(super) fn never_exceeded(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut taken = BTreeMap::<&str, BTreeMap<&str, (&str, &Line)>>::new();
    for line in facts.lines {
        match &line.record {
            Record::PlaceTaken { limit, most, holder, process } => {
                let holders = taken.entry(limit).or_default();
                holders.insert(holder, (process, line));
                if holders.len() > *most as usize {
                    let what = format!("{} hold a place of the {most} of {limit}", holders.len());
                    let slice = Evidence::default().lines(holders.values().map(|(_, line)| *line));
                    found.push(facts.violation("I14", None, what, slice));
                }
            }
            Record::PlaceLeft { limit, holder } => {
                taken.entry(limit).or_default().remove(holder.as_str());
            }
            Record::Fault { hit: Hit::Kill | Hit::Freeze | Hit::Terminate, process: Some(name), .. }
            | Record::Executor { process: name, life: Life::LeaseLost | Life::Exited { .. } } => {
                for holders in taken.values_mut() {
                    holders.retain(|_, (process, _)| *process != name);
                }
            }
            _ => {}
        }
    }
    found
}

/// I23.
///
/// The median of the last quarter of a gauge against that of the second: the first is for warming up.
pub(super) fn flat(facts: &Facts<'_>) -> Vec<Violation> {
    let mut gauges = BTreeMap::<(&str, &str), Vec<(f64, &Line)>>::new();
    for line in facts.lines {
        if let Record::Gauge { process, what, value } = &line.record {
            gauges.entry((process, what)).or_default().push((*value, line));
        }
    }
    let mut found = Vec::new();
    for ((process, gauge), values) in gauges {
        let quarter = values.len() / 4;
        if quarter < 5 {
            continue;
        }
        let (early, late) = (median(&values[quarter..2 * quarter]), median(&values[values.len() - quarter..]));
        if late > early * facts.options.growth + 2.0 {
            let what = format!("{gauge} of {process} grew from {early} to {late}");
            let slice = Evidence::default().line(values[quarter].1).lines(values.last().map(|(_, line)| *line));
            found.push(facts.violation("I23", None, what, slice));
        }
    }
    found
}

fn median(values: &[(f64, &Line)]) -> f64 {
    let mut values: Vec<f64> = values.iter().map(|(value, _)| *value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
