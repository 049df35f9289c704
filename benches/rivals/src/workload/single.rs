//! W3, W3b, W6 and W7: how long one takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{check, check_recorded};
use crate::gauge::{self, percentile};
use crate::report::{Figures, line};
use crate::rival::{Rival, Site};
use crate::{AnyError, Result};

/// How long the waiters may take to get ready.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// One run of so many serial steps: what a step costs at the beginning and at the end of it.
pub async fn serial_steps<R: Rival>(site: &Site) -> Result<String> {
    let size = site.size.unwrap_or(1_000);
    let stand = R::stand(site).await?;
    let site = Site { url: stand.url.clone(), in_flight: Some(1), ..site.clone() };
    let rival = R::open(&site).await?;
    let warm = size.min(50);
    check(rival.run(warm).await?, warm)?;
    gauge::start_stamping();
    let start = Instant::now();
    check(rival.run(size).await?, size)?;
    let seconds = start.elapsed().as_secs_f64();
    let times = gauge::stop_stamping();
    if times.len() + 1 != size as usize {
        return Err(format!("{} steps ran, not {size}", times.len() + 1).into());
    }
    check_recorded(&rival, 2, u64::from(warm + size)).await?;
    let tenth = (times.len() / 10).max(1);
    let (first, last) = (percentile(&times[..tenth], 0.5), percentile(&times[times.len() - tenth..], 0.5));
    let figures = Figures::default()
        .with("p50_ms", percentile(&times, 0.5))
        .with("p99_ms", percentile(&times, 0.99))
        .with("steps_per_s", f64::from(size) / seconds)
        .with("seconds", seconds)
        .with("first_tenth_p50_ms", first)
        .with("last_tenth_p50_ms", last);
    Ok(line::<R>(&site, None, Some(size), figures))
}

/// Runs of one step, the next one when the last one has ended.
pub async fn one_at_a_time<R: Rival>(site: &Site) -> Result<String> {
    let stand = R::stand(site).await?;
    let site = Site { url: stand.url.clone(), in_flight: Some(1), ..site.clone() };
    let rival = R::open(&site).await?;
    let start = Instant::now();
    let mut warmed = 0;
    while warmed < 5 || (warmed < 50 && start.elapsed() < site.time) {
        check(rival.run(1).await?, 1)?;
        warmed += 1;
    }
    let (mut times, start) = (Vec::new(), Instant::now());
    while start.elapsed() < site.time {
        let start = Instant::now();
        check(rival.run(1).await?, 1)?;
        times.push(start.elapsed());
    }
    let runs = warmed + times.len() as u64;
    check_recorded(&rival, runs, runs).await?;
    let figures = Figures::default()
        .with("p50_ms", percentile(&times, 0.5))
        .with("p99_ms", percentile(&times, 0.99))
        .with("runs_per_s", times.len() as f64 / start.elapsed().as_secs_f64());
    Ok(line::<R>(&site, None, None, figures))
}

/// One run with so many children.
pub async fn children<R: Rival>(site: &Site) -> Result<String> {
    let size = site.size.unwrap_or(1_000);
    let stand = R::stand(site).await?;
    let site = Site { url: stand.url.clone(), ..site.clone() };
    let rival = R::open(&site).await?;
    let warm = size.min(50);
    check(rival.fan_out(warm).await?, warm)?;
    let start = Instant::now();
    check(rival.fan_out(size).await?, size)?;
    let seconds = start.elapsed().as_secs_f64();
    check_recorded(&rival, u64::from(size + warm) + 2, 0).await?;
    let figures = Figures::default().with("seconds", seconds).with("runs_per_s", f64::from(size) / seconds);
    Ok(line::<R>(&site, None, Some(size), figures))
}

/// Runs that wait for an event each, all of them emitted at once.
pub async fn events<R: Rival>(site: &Site) -> Result<String> {
    let size = site.size.unwrap_or(1_000);
    let stand = R::stand(site).await?;
    let site = Site { url: stand.url.clone(), ..site.clone() };
    let rival = Arc::new(R::open(&site).await?);
    let mut tasks = JoinSet::new();
    for event in 0..size {
        let rival = Arc::clone(&rival);
        tasks.spawn(async move {
            check(rival.wait(event).await?, event)?;
            Ok::<_, AnyError>(Instant::now())
        });
    }
    let start = Instant::now();
    while gauge::waiters() < u64::from(size) {
        if let Some(ended) = tasks.try_join_next() {
            ended??;
            return Err("a run ended before its event was emitted".into());
        }
        if start.elapsed() > READY_WITHIN {
            return Err(format!("only {} of {size} runs wait", gauge::waiters()).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // They are about to wait: what each still has to do for that is not measured.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    rival.emit(size).await?;
    let mut times = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        times.push(ended?? - start);
    }
    check_recorded(&*rival, u64::from(size), 0).await?;
    let figures = Figures::default()
        .with("seconds", times.iter().max().map_or(f64::NAN, Duration::as_secs_f64))
        .with("p50_ms", percentile(&times, 0.5))
        .with("p99_ms", percentile(&times, 0.99));
    Ok(line::<R>(&site, None, Some(size), figures))
}
