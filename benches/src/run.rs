//! The whole run: every workload, its floors and its rivals in turns, as often as asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::AnyError;
use crate::bar::Outcomes;
use crate::figure::{Figures, find, medians};
use crate::floor::{self, Floor};
use crate::options::Options;
use crate::process::{self, Role};
use crate::report;
use crate::result::{OfRival, Outcome, Theirs, partition};
use crate::rival::{Found, Rival, Rivals, took_too_long};
use crate::server::Place;
use crate::stage::Measured;
use crate::workload::{Against, Case, Spec, Stores};

/// Longest measurement of one floor.
const FLOOR_S: f64 = 2.0;

type Floors = BTreeMap<String, Vec<Figures>>;

/// What is measured, and where.
pub struct Run<'a> {
    pub options: &'a Options,
    pub place: &'a Place,
    pub rivals: &'a Rivals,
    /// Of all workloads.
    floors: Floors,
}

/// What one rival gave with one set of parameters.
type Attempts = Vec<Result<Found, String>>;

impl<'a> Run<'a> {
    pub fn new(options: &'a Options, place: &'a Place, rivals: &'a Rivals) -> Self {
        Self { options, place, rivals, floors: Floors::new() }
    }

    /// Measures all; the outcomes, and the floors. Calls `done` with those so far after each workload.
    pub async fn all(
        mut self,
        done: impl Fn(&Outcomes, &BTreeMap<String, Figures>) -> Result<(), AnyError>,
    ) -> Result<(Outcomes, BTreeMap<String, Figures>), AnyError> {
        let mut outcomes = Outcomes::new();
        for spec in &self.options.workloads {
            if spec.stores == Stores::Postgres && !self.place.is_postgres() {
                eprintln!("{}: measures Postgres, left out on SQLite", spec.id);
                continue;
            }
            outcomes.insert(spec.id.to_owned(), self.workload(spec).await?);
            crate::bar::judge(&mut outcomes, self.place.is_postgres());
            done(&outcomes, &in_the_middle(&self.floors))?;
        }
        // In every run there are all floors, however little else.
        let rounds =
            |of: &Self| floor::ALL.map(|floor| of.floors.get(&floor.name()).map_or(0, Vec::len)).into_iter().min();
        while self.place.is_postgres() && rounds(&self) < Some(self.rounds()) {
            self.floors_of(Against::Batches, &mut Floors::new()).await?;
        }
        Ok((outcomes, in_the_middle(&self.floors)))
    }

    /// How often each floor is measured at least.
    fn rounds(&self) -> usize {
        self.options.repeats.unwrap_or(if self.options.smoke { 1 } else { 3 })
    }

    async fn workload(&mut self, spec: &'static Spec) -> Result<Outcome, AnyError> {
        let (cases, seconds) = (self.options.cases(spec), self.options.seconds(spec));
        let rivals: Vec<Rival> = self.rivals.of(spec.id).cloned().collect();
        let mut ours: Vec<Vec<Result<Measured, String>>> = vec![Vec::new(); cases.len()];
        let mut theirs: BTreeMap<(usize, usize), Attempts> = BTreeMap::new();
        let mut floors = Floors::new();
        for _ in 0..self.options.repeats(spec) {
            self.floors_of(spec.against, &mut floors).await?;
            for (index, case) in cases.iter().enumerate() {
                let measured = self.ours(spec, case, seconds).await?;
                let figure = measured.as_ref().ok().and_then(|measured| find(&measured.figures, spec.figure));
                report::progress(spec, &case.name(), "ours", figure);
                ours[index].push(measured);
                for (number, rival) in rivals.iter().enumerate().filter(|_| case.rivals) {
                    let before = theirs.entry((index, number)).or_default();
                    if before.iter().any(|found| found.as_ref().is_err_and(|complaint| took_too_long(complaint))) {
                        continue;
                    }
                    let found = self.theirs(rival, spec, case, seconds).await?;
                    let figure = found.as_ref().ok().and_then(|found| find(&found.figures, spec.figure));
                    report::progress(spec, &case.name(), &rival.rival, figure);
                    theirs.entry((index, number)).or_default().push(found);
                }
            }
        }
        let mut outcome = Outcome::of(spec, seconds);
        outcome.floors = in_the_middle(&floors);
        for (case, repetitions) in cases.iter().zip(ours) {
            outcome.add(&case.name(), repetitions);
        }
        for ((index, number), attempts) in theirs {
            let rival = &rivals[number];
            let of = outcome
                .rivals
                .entry(rival.rival.clone())
                .or_insert_with(|| OfRival { version: rival.version.clone(), ..OfRival::default() });
            of.cases.insert(cases[index].name(), gathered(spec, rival, attempts));
        }
        outcome.compare(spec.against);
        Ok(outcome)
    }

    /// A measurement that fails is told of at the end, and the others go on: some take hours.
    async fn ours(&self, spec: &Spec, case: &Case, seconds: f64) -> Result<Result<Measured, String>, AnyError> {
        let smoke = self.options.smoke;
        if spec.stores == Stores::None {
            let measured = process::run(Role::Measure, &case.setup(spec, "", seconds, smoke)).await;
            return Ok(measured.map_err(|error| error.to_string()));
        }
        let fresh = self.place.fresh().await?;
        let measured = process::run(Role::Measure, &case.setup(spec, &fresh.url, seconds, smoke)).await;
        self.place.remove(fresh).await?;
        Ok(measured.map_err(|error| error.to_string()))
    }

    /// A rival that fails is no reason to stop.
    async fn theirs(
        &self,
        rival: &Rival,
        spec: &Spec,
        case: &Case,
        seconds: f64,
    ) -> Result<Result<Found, String>, AnyError> {
        let fresh = self.place.fresh().await?;
        let found = self.rivals.run(rival, spec, case, &fresh.url, seconds).await.map_err(|error| error.to_string());
        if let Err(error) = &found {
            eprintln!("{} {}: {}: {error}", spec.id, case.name(), rival.rival);
        }
        self.place.remove(fresh).await?;
        Ok(found)
    }

    async fn floors_of(&mut self, against: Against, floors: &mut Floors) -> Result<(), AnyError> {
        let wanted: &[Floor] = match against {
            Against::Nothing => &[],
            Against::Commit => &[floor::COMMIT],
            Against::Batches => &floor::ALL,
        };
        if wanted.is_empty() || !self.place.is_postgres() {
            return Ok(());
        }
        let most = if self.options.smoke { 0.1 } else { FLOOR_S };
        let time = Duration::from_secs_f64(self.options.seconds.unwrap_or(most).min(most));
        let fresh = self.place.fresh().await?;
        for floor in wanted {
            let figures = floor.measure(&fresh.url, time).await?;
            for all in [&mut self.floors, floors] {
                all.entry(floor.name()).or_default().push(figures.clone());
            }
        }
        self.place.remove(fresh).await
    }
}

fn in_the_middle(floors: &Floors) -> BTreeMap<String, Figures> {
    floors.iter().map(|(name, all)| (name.clone(), medians(all))).collect()
}

fn gathered(spec: &Spec, rival: &Rival, attempts: Attempts) -> Theirs {
    let mut theirs = Theirs { settings: rival.settings.clone(), ..Theirs::default() };
    let (found, errors) = partition(attempts);
    let mut figures = Vec::new();
    for found in found {
        theirs.repetitions.extend(find(&found.figures, spec.figure));
        theirs.settings.extend(found.settings);
        figures.push(found.figures);
    }
    theirs.errors = errors;
    theirs.figures = medians(&figures);
    theirs
}
