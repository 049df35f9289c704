//! W1, W2 and W15: how many a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{check, check_recorded};
use crate::report::{Figures, line};
use crate::rival::{Rival, Role, Site};
use crate::{Result, gauge};

/// How long the first runs may take to end before it is measured all the same.
const LONGEST_WARM_UP: Duration = Duration::from_secs(30);

/// Keeps so many runs of so many steps in flight.
pub async fn in_flight<R: Rival>(site: &Site, steps: u32) -> Result<String> {
    let in_flight = site.in_flight.unwrap_or_else(|| R::best_in_flight(site.workload));
    let stand = R::stand(site).await?;
    let site = Site { url: stand.url.clone(), in_flight: Some(in_flight), ..site.clone() };
    let rival = Arc::new(R::open(&site).await?);
    let ended = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        let (rival, ended) = (Arc::clone(&rival), Arc::clone(&ended));
        tasks.spawn(async move {
            loop {
                if let Err(error) = rival.run(steps).await.and_then(|got| check(got, steps)) {
                    return error;
                }
                ended.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let measured = tokio::select! {
        measured = window(&ended, in_flight as u64, site.time) => measured,
        Some(error) = tasks.join_next() => return Err(error?),
    };
    tasks.abort_all();
    let (runs, all_steps) = (ended.load(Ordering::Relaxed), gauge::steps());
    if all_steps < runs * u64::from(steps) {
        return Err(format!("{runs} runs of {steps} steps ended, but only {all_steps} steps ran").into());
    }
    check_recorded(&*rival, runs, runs * u64::from(steps)).await?;
    let mut figures = Figures::default()
        .with("runs_per_s", measured.runs as f64 / measured.seconds)
        .with("seconds", measured.seconds);
    if steps > 0 {
        figures = figures.with("steps_per_s", measured.steps as f64 / measured.seconds);
    }
    Ok(line::<R>(&site, Some(in_flight), None, figures))
}

struct Measured {
    runs: u64,
    steps: u64,
    seconds: f64,
}

/// What ends in the window. Runs that started together end together: it is measured once as many have ended as are in
/// flight, and until as many have ended again, unless that takes three times as long as asked for.
async fn window(ended: &AtomicU64, in_flight: u64, time: Duration) -> Measured {
    let count = || (ended.load(Ordering::Relaxed), gauge::steps(), Instant::now());
    let pause = || tokio::time::sleep(Duration::from_millis(5));
    let start = Instant::now();
    let shortest = (time / 3).min(Duration::from_secs(3));
    while start.elapsed() < shortest || (count().0 < in_flight && start.elapsed() < LONGEST_WARM_UP) {
        pause().await;
    }
    let (runs, steps, start) = count();
    while start.elapsed() < time || (count().0 < runs + in_flight && start.elapsed() < 3 * time) {
        pause().await;
    }
    let (runs_then, steps_then, then) = count();
    Measured { runs: runs_then - runs, steps: steps_then - steps, seconds: (then - start).as_secs_f64() }
}

/// Enqueues runs that nobody executes.
pub async fn bulk<R: Rival>(site: &Site) -> Result<String> {
    let size = site.size.unwrap_or(10_000);
    let stand = R::stand(site).await?;
    let site = Site { url: stand.url.clone(), role: Role::Enqueue, ..site.clone() };
    let rival = R::open(&site).await?;
    rival.enqueue(size.div_ceil(10)).await?;
    let start = Instant::now();
    rival.enqueue(size).await?;
    let seconds = start.elapsed().as_secs_f64();
    let figures = Figures::default().with("runs_per_s", f64::from(size) / seconds).with("seconds", seconds);
    Ok(line::<R>(&site, None, Some(size), figures))
}
