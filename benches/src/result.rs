//! What a run of the program has found, as it goes into the JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::bar::Bar;
use crate::cost::Statement;
use crate::figure::{self, Figures, find, medians, times_as_good};
use crate::stage::Measured;
use crate::workload::{Against, Spec};

/// Ours with one set of parameters.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Ours {
    /// Medians of the repetitions.
    pub figures: Figures,
    /// What an operation costs: medians, too.
    pub costs: Figures,
    /// Each repetition's headline, to see how far they lie apart.
    pub repetitions: Vec<f64>,
    pub settings: BTreeMap<String, String>,
    /// Those that took the most time, in the last repetition.
    pub statements: Vec<Statement>,
    pub plans: BTreeMap<String, Vec<String>>,
    /// Why repetitions are missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// A rival with one set of parameters.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Theirs {
    pub figures: Figures,
    pub repetitions: Vec<f64>,
    pub settings: Map<String, Value>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// A rival in one workload.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OfRival {
    pub version: String,
    pub cases: BTreeMap<String, Theirs>,
}

/// One workload.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    pub what: &'static str,
    /// What the costs are divided by.
    pub operation: &'static str,
    /// The figure that stands for it.
    pub figure: &'static str,
    pub seconds: f64,
    /// In the order in which they were measured.
    pub cases: Vec<String>,
    pub ours: BTreeMap<String, Ours>,
    pub rivals: BTreeMap<String, OfRival>,
    pub floors: BTreeMap<String, Figures>,
    /// How many times as good ours is as the best rival: above 1, ours is ahead.
    pub ratio_to_best_rival: Option<f64>,
    pub best_rival: Option<String>,
    /// Ours over the floor: of rates, the closer to 1 (or above) the better; of times, the lower.
    pub ratio_to_floor: Option<f64>,
    /// The same, for each set of parameters.
    pub ratios_to_best_rival: BTreeMap<String, f64>,
    pub ratios_to_floor: BTreeMap<String, f64>,
    pub bars: Vec<Bar>,
}

const MOST_STATEMENTS: usize = 12;

impl Outcome {
    pub fn of(spec: &Spec, seconds: f64) -> Self {
        Self { what: spec.what, operation: spec.operation, figure: spec.figure, seconds, ..Self::default() }
    }

    /// Takes the repetitions of one set of parameters.
    pub fn add(&mut self, case: &str, attempts: Vec<Result<Measured, String>>) {
        let (repetitions, errors) = partition(attempts);
        let figures: Vec<Figures> = repetitions.iter().map(|one| one.figures.clone()).collect();
        let costs: Vec<Figures> = repetitions.iter().map(|one| one.costs.per(one.operations)).collect();
        let headlines = figures.iter().filter_map(|figures| find(figures, self.figure)).collect();
        let last = repetitions.into_iter().last().unwrap_or_default();
        let statements = last.costs.statements.unwrap_or_default().into_iter().take(MOST_STATEMENTS).collect();
        let ours = Ours {
            figures: medians(&figures),
            costs: medians(&costs),
            repetitions: headlines,
            settings: last.settings,
            statements,
            plans: last.plans,
            errors,
        };
        self.cases.push(case.to_owned());
        self.ours.insert(case.to_owned(), ours);
    }

    /// Whether any measurement of ours failed.
    pub fn has_failed(&self) -> bool {
        self.ours.values().any(|ours| !ours.errors.is_empty())
    }

    /// The headline of ours with these parameters.
    pub fn headline(&self, case: &str) -> Option<f64> {
        find(&self.ours.get(case)?.figures, self.figure)
    }

    /// A figure of ours with the first parameters of which `wanted` is true.
    pub fn ours(&self, wanted: impl Fn(&str) -> bool, figure: &str) -> Option<f64> {
        let case = self.cases.iter().find(|case| wanted(case))?;
        self.ours.get(case)?.figures.get(figure).copied()
    }

    /// The best of a rate, whatever the parameters.
    pub fn best(&self, figure: &str) -> Option<f64> {
        self.ours.values().filter_map(|ours| ours.figures.get(figure).copied()).reduce(f64::max)
    }

    /// The best headline of those rivals with these parameters; with any parameters for `None`.
    pub fn best_rival(&self, case: Option<&str>, wanted: impl Fn(&str) -> bool) -> Option<(String, f64)> {
        let rivals = self.rivals.iter().filter(|(name, _)| wanted(name));
        let figures = rivals.flat_map(|(name, of)| {
            let cases = of.cases.iter().filter(|(known, _)| case.is_none_or(|case| case == *known));
            cases.filter_map(|(_, theirs)| Some((name.clone(), find(&theirs.figures, self.figure)?)))
        });
        figures.reduce(|a, b| if times_as_good(self.figure, a.1, b.1) >= 1.0 { a } else { b })
    }

    /// The best rate of the floors that insert many rows a commit, or one row.
    pub fn best_floor(&self, batches: bool) -> Option<f64> {
        let floors = self.floors.iter().filter(|(name, _)| name.starts_with("single") != batches);
        floors.filter_map(|(_, figures)| figures.get("rows_per_s").copied()).reduce(f64::max)
    }

    /// The median single-row commit of one connection.
    pub fn commit_ms(&self) -> Option<f64> {
        self.floors.get(&crate::floor::COMMIT.name())?.get("p50_ms").copied()
    }

    /// Fills the ratios in, when everything is there.
    pub fn compare(&mut self, against: Against) {
        let floor = match against {
            Against::Nothing => None,
            Against::Batches => self.best_floor(true),
            Against::Commit => self.commit_ms(),
        };
        for case in self.cases.clone() {
            let Some(ours) = self.headline(&case) else { continue };
            if let Some(floor) = floor {
                self.ratios_to_floor.insert(case.clone(), ours / floor);
            }
            if let Some((_, theirs)) = self.best_rival(Some(&case), |_| true) {
                self.ratios_to_best_rival.insert(case, times_as_good(self.figure, ours, theirs));
            }
        }
        let Some(case) = self.headline_case() else { return };
        self.ratio_to_floor = self.ratios_to_floor.get(&case).copied();
        // Of a rate, the best against the best, whatever the parameters; of a time, with the same.
        let same = (!figure::more_is_better(self.figure)).then_some(case.as_str());
        if let (Some(ours), Some((name, theirs))) = (self.headline(&case), self.best_rival(same, |_| true)) {
            self.ratio_to_best_rival = Some(times_as_good(self.figure, ours, theirs));
            self.best_rival = Some(name);
        }
    }

    /// The parameters that stand for the workload: those of the best rate, or the last for which a rival has a time.
    fn headline_case(&self) -> Option<String> {
        if figure::more_is_better(self.figure) {
            let cases = self.cases.iter().filter_map(|case| Some((case, self.headline(case)?)));
            return cases.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(case, _)| case.clone());
        }
        let shared = self.cases.iter().rev().find(|case| self.best_rival(Some(case), |_| true).is_some());
        shared.or(self.cases.last()).cloned()
    }
}

/// What went well, and why the others didn't.
pub fn partition<T>(attempts: Vec<Result<T, String>>) -> (Vec<T>, Vec<String>) {
    let (mut well, mut errors) = (Vec::new(), Vec::new());
    for attempt in attempts {
        match attempt {
            Ok(found) => well.push(found),
            Err(error) => errors.push(error),
        }
    }
    (well, errors)
}
