//! Keeps so many runs in flight: each caller invokes, awaits the result, and begins again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::JoinHandle;
use workflow::{Client, Workflow};

use crate::clock::{ms, pass};
use crate::figure::latencies;
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, server};

/// Callers under way.
pub struct Load {
    stop: Arc<AtomicBool>,
    /// Whether times are kept: not while it warms up.
    keeps: Arc<AtomicBool>,
    ended: Arc<AtomicU64>,
    callers: Vec<JoinHandle<Result<Vec<f64>, workflow::Error>>>,
}

/// How far a load has come.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    at: Instant,
    runs: u64,
    steps: u64,
}

impl Sample {
    /// Runs and steps a second since an earlier one.
    pub fn rates_since(&self, earlier: &Sample) -> (f64, f64) {
        let seconds = (self.at - earlier.at).as_secs_f64();
        ((self.runs - earlier.runs) as f64 / seconds, (self.steps - earlier.steps) as f64 / seconds)
    }
}

impl Load {
    pub fn start<W>(client: &Client, workflow: W, in_flight: u64) -> Self
    where
        W: Workflow<Input = u64, Output = u64>,
    {
        let (stop, keeps, ended) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default(), Arc::default());
        let caller = |n| {
            let (client, stop, keeps) = (client.clone(), stop.clone(), keeps.clone());
            let ended: Arc<AtomicU64> = Arc::clone(&ended);
            tokio::spawn(async move {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let keep = keeps.load(Ordering::Relaxed);
                    let began = Instant::now();
                    client.invoke(workflow, n).await?.result().await?;
                    ended.fetch_add(1, Ordering::Relaxed);
                    if keep {
                        times.push(ms(began.elapsed()));
                    }
                }
                Ok(times)
            })
        };
        let callers = (0..in_flight).map(caller).collect();
        Self { stop, keeps, ended, callers }
    }

    /// Lets it go on for so long, and until as many runs have ended as are in flight: all begin at once, and take a while to
    /// fall out of step.
    async fn go_on(&self, seconds: f64) {
        let (began, first) = (Instant::now(), self.sample());
        pass(seconds).await;
        let most = seconds.mul_add(3.0, 5.0);
        let short = |sample: Sample| sample.runs - first.runs < self.callers.len() as u64;
        while short(self.sample()) && began.elapsed().as_secs_f64() < most {
            pass(0.01).await;
        }
    }

    pub fn sample(&self) -> Sample {
        Sample { at: Instant::now(), runs: self.ended.load(Ordering::Relaxed), steps: code::steps() }
    }

    /// Lets the callers end; how many runs have ended in all, and the times of those that were kept.
    pub async fn stop(self) -> Result<(u64, Vec<f64>), AnyError> {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for caller in self.callers {
            times.extend(caller.await??);
        }
        Ok((self.ended.load(Ordering::Relaxed), times))
    }
}

/// Runs of so many steps each, in an executor of their own, that are all in the database afterwards. Warms up, then measures
/// for the stage's time: runs and steps a second, times of runs, costs per step (or per run, if it has none).
pub async fn measure<W>(stage: &Stage, workflow: W, steps: u64) -> Result<Measured, AnyError>
where
    W: Workflow<Input = u64, Output = u64>,
{
    let executor = stage.executor(stage.setup.in_flight).await?;
    let mut meter = stage.meter().await?;
    let load = Load::start(&executor.client(), workflow, stage.setup.in_flight);
    load.go_on((stage.setup.seconds / 4.0).min(2.0)).await;
    load.keeps.store(true, Ordering::Relaxed);
    let before = meter.read().await?;
    let first = load.sample();
    load.go_on(stage.setup.seconds).await;
    let last = load.sample();
    let costs = meter.since(&before).await?;
    let (runs, times) = load.stop().await?;
    executor.shutdown().await?;
    server::expect(stage.url(), server::Table::Runs, "status = 'completed'", runs).await?;
    server::expect(stage.url(), server::Table::Runs, "status <> 'completed'", 0).await?;
    server::expect(stage.url(), server::Table::Journal, "kind = 'step' AND phase = 'ok'", runs * steps).await?;
    let (runs_per_s, steps_per_s) = last.rates_since(&first);
    let operations = if steps > 0 { last.steps - first.steps } else { last.runs - first.runs };
    let mut measured = Measured { operations: operations as f64, costs, ..Measured::default() };
    measured.figure("runs_per_s", runs_per_s);
    if steps > 0 {
        measured.figure("steps_per_s", steps_per_s);
    }
    latencies(&mut measured.figures, "", &times);
    Ok(measured)
}
