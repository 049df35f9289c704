//! Figures: named numbers, and what is made of many of them.
//!
//! A name ends with its unit: `_per_s`, `_ms`, `seconds`, `_bytes`, `_percent`, or is a count or a ratio.

use std::collections::BTreeMap;

/// Numbers by their names.
pub type Figures = BTreeMap<String, f64>;

/// Whether more of it is better.
pub fn more_is_better(figure: &str) -> bool {
    figure.ends_with("_per_s")
}

/// How many times as good as `theirs` is `ours`: above 1, ours is ahead.
pub fn times_as_good(figure: &str, ours: f64, theirs: f64) -> f64 {
    if more_is_better(figure) { ours / theirs } else { theirs / ours }
}

/// A figure by its name, also when it was given in the other unit of time.
pub fn find(figures: &Figures, name: &str) -> Option<f64> {
    let other_unit = || match name {
        "seconds" => figures.get("p50_ms").map(|ms| ms / 1_000.0),
        "p50_ms" => figures.get("seconds").map(|seconds| seconds * 1_000.0),
        _ => None,
    };
    figures.get(name).copied().or_else(other_unit)
}

/// The value in the middle.
pub fn median(values: &[f64]) -> f64 {
    percentile(values.to_vec(), 50.0)
}

/// The least value that `percent` of all don't exceed; NaN for none.
pub fn percentile(mut values: Vec<f64>, percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * percent / 100.0).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// `prefix`p50_ms, p99_ms and max_ms of these milliseconds; nothing for none.
pub fn latencies(figures: &mut Figures, prefix: &str, values: &[f64]) {
    if values.is_empty() {
        return;
    }
    for (name, percent) in [("p50_ms", 50.0), ("p99_ms", 99.0), ("max_ms", 100.0)] {
        figures.insert(format!("{prefix}{name}"), percentile(values.to_vec(), percent));
    }
}

/// The median of each figure over repetitions.
pub fn medians(all: &[Figures]) -> Figures {
    let mut values: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    for (name, value) in all.iter().flatten() {
        values.entry(name).or_default().push(*value);
    }
    values.into_iter().map(|(name, values)| (name.clone(), median(&values))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_the_nearest_rank() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(values.clone(), 50.0), 50.0);
        assert_eq!(percentile(values.clone(), 99.0), 99.0);
        assert_eq!(percentile(values, 100.0), 100.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn twice_as_good_is_twice_the_rate_or_half_the_time() {
        assert_eq!(times_as_good("runs_per_s", 200.0, 100.0), 2.0);
        assert_eq!(times_as_good("p50_ms", 1.0, 2.0), 2.0);
        assert_eq!(times_as_good("seconds", 1.0, 2.0), 2.0);
    }
}
