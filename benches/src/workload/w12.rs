//! W12: W2 at half load for a long time, with retention on: does it get slower, and what is left behind?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use workflow::Client;

use super::{Against, Case, Spec, Stores};
use crate::clock::{ms, pass};
use crate::code::Stamps;
use crate::figure::{Figures, latencies, median};
use crate::load::Load;
use crate::stage::{Measured, Stage};
use crate::{AnyError, code, server};

pub const SPEC: Spec = Spec {
    id: "W12",
    what: "W2 at half load with retention on",
    operation: "step",
    figure: "drift_percent",
    cases: &[Case { rivals: false, ..Case::PLAIN }],
    smoke: &[Case { rivals: false, ..Case::PLAIN }],
    seconds: 60.0,
    repeats: 1,
    stores: Stores::Postgres,
    against: Against::Nothing,
};

/// The time is looked at in so many parts.
const WINDOWS: u32 = 20;

pub async fn measure(stage: &Stage) -> Result<Measured, AnyError> {
    let seconds = stage.setup.seconds;
    // Long enough that rows pile up, short enough that most of the time they are deleted as fast as they come.
    let retain = Duration::from_secs_f64((seconds / 6.0).clamp(2.0, 300.0));
    let sweep = Duration::from_secs_f64((seconds / 30.0).clamp(1.0, 60.0));
    let builder = stage.builder(1_000, &Stamps::new(0)).await?;
    let executor = builder.retain(retain).sweep_interval(Some(sweep)).start().await?;
    let client = executor.client();
    let burst = (seconds / 6.0).min(10.0);
    let full_before = full_load(&client, burst).await?;
    let mut connection = PgConnection::connect(stage.url()).await?;
    let mut meter = stage.meter().await?;
    let before = meter.read().await?;
    let pace = Pace::start(&client, full_before / 10.0 / 2.0);
    let mut windows = Vec::new();
    let mut dead_rows: f64 = 0.0;
    for _ in 0..WINDOWS {
        windows.push(pace.window(seconds / f64::from(WINDOWS)).await);
        dead_rows = dead_rows.max(server::tables(&mut connection).await?["dead_rows"]);
    }
    let costs = meter.since(&before).await?;
    let runs = pace.stop().await?;
    let left = server::tables(&mut connection).await?;
    let kept = server::count(stage.url(), server::Table::Journal, "TRUE").await?;
    let full_after = full_load(&client, burst).await?;
    executor.shutdown().await?;
    server::expect(stage.url(), server::Table::Runs, "status <> 'completed'", 0).await?;

    let mut measured = Measured { operations: runs as f64 * 10.0, costs, ..Measured::default() };
    drift(&mut measured.figures, &windows);
    measured.figure("full_steps_per_s_before", full_before);
    measured.figure("full_steps_per_s_after", full_after);
    measured.figure("full_drift_percent", (1.0 - full_after / full_before) * 100.0);
    measured.figure("dead_rows_most", dead_rows);
    measured.figure("dead_rows_at_the_end", left["dead_rows"]);
    measured.figure("table_bytes", left["table_bytes"]);
    measured.figure("table_bytes_per_kept_step", left["table_bytes"] / kept as f64);
    measured.settings.insert("retain".to_owned(), format!("{retain:?}, swept every {sweep:?}"));
    Ok(measured)
}

/// How the last fifth of the windows compares to the first.
fn drift(figures: &mut Figures, windows: &[Window]) {
    let fifth = (windows.len() / 5).max(1);
    let (first, last) = (&windows[..fifth], &windows[windows.len() - fifth..]);
    let rate = |windows: &[Window]| median(&windows.iter().map(|window| window.runs_per_s).collect::<Vec<_>>());
    let times = |windows: &[Window]| windows.iter().flat_map(|window| window.times.clone()).collect::<Vec<_>>();
    figures.insert("drift_percent".to_owned(), (1.0 - rate(last) / rate(first)) * 100.0);
    figures.insert("steps_per_s".to_owned(), rate(windows) * 10.0);
    latencies(figures, "first_", &times(first));
    latencies(figures, "last_", &times(last));
}

/// Steps a second with 1,000 runs in flight.
async fn full_load(client: &Client, seconds: f64) -> Result<f64, AnyError> {
    let load = Load::start(client, code::ten_steps, 1_000);
    pass(seconds / 4.0).await;
    let first = load.sample();
    pass(seconds).await;
    let last = load.sample();
    load.stop().await?;
    Ok(last.rates_since(&first).1)
}

struct Window {
    runs_per_s: f64,
    times: Vec<f64>,
}

/// Runs that are begun at a steady rate, whether the ones before have ended or not.
struct Pace {
    task: tokio::task::JoinHandle<Result<(), AnyError>>,
    ended: Arc<AtomicU64>,
    times: Arc<std::sync::Mutex<Vec<f64>>>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Pace {
    fn start(client: &Client, runs_per_s: f64) -> Self {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let (ended, times) = (Arc::<AtomicU64>::default(), Arc::<std::sync::Mutex<Vec<f64>>>::default());
        let (client, counter, kept) = (client.clone(), ended.clone(), times.clone());
        let task = tokio::spawn(async move {
            let began = Instant::now();
            let mut begun = 0.0;
            let mut open = tokio::task::JoinSet::new();
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            while !*stopped.borrow() {
                tick.tick().await;
                while begun < began.elapsed().as_secs_f64() * runs_per_s {
                    begun += 1.0;
                    let (client, counter, kept) = (client.clone(), counter.clone(), kept.clone());
                    open.spawn(async move {
                        let invoked = Instant::now();
                        client.invoke(code::ten_steps, 0).await?.result().await?;
                        counter.fetch_add(1, Ordering::Relaxed);
                        kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(ms(invoked.elapsed()));
                        Ok::<_, workflow::Error>(())
                    });
                }
                while let Some(result) = open.try_join_next() {
                    result??;
                }
            }
            while let Some(result) = open.join_next().await {
                result??;
            }
            Ok(())
        });
        Self { task, ended, times, stop }
    }

    async fn window(&self, seconds: f64) -> Window {
        let (before, began) = (self.ended.load(Ordering::Relaxed), Instant::now());
        pass(seconds).await;
        let ended = self.ended.load(Ordering::Relaxed) - before;
        let times = std::mem::take(&mut *self.times.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        Window { runs_per_s: ended as f64 / began.elapsed().as_secs_f64(), times }
    }

    /// How many runs there were.
    async fn stop(self) -> Result<u64, AnyError> {
        self.stop.send_replace(true);
        self.task.await??;
        Ok(self.ended.load(Ordering::Relaxed))
    }
}
