//! W4 and W10: what takes more than one process.

use std::time::{Duration, Instant};

use crate::Result;
use crate::gauge::{self, percentile};
use crate::process::Process;
use crate::report::{Figures, line};
use crate::rival::{Rival, Role, Site};

/// Enqueues runs here that are executed there, one at a time.
pub async fn across_processes<R: Rival>(site: &Site) -> Result<String> {
    let stand = R::stand(site).await?;
    let here = Site { url: stand.url.clone(), role: Role::Enqueue, in_flight: Some(1), ..site.clone() };
    let mut there = Process::start::<R>(&Site { role: Role::Execute, ..here.clone() })?;
    there.says("open").await?;
    let rival = R::open(&here).await?;
    for _ in 0..10 {
        rival.remote().await?;
    }
    let (mut starts, mut results, start) = (Vec::new(), Vec::new(), Instant::now());
    while start.elapsed() < here.time || results.len() < 20 {
        let (before, enqueued) = (gauge::clock(), Instant::now());
        let began = rival.remote().await?;
        results.push(enqueued.elapsed());
        let took = began.checked_sub(before).ok_or("a run began before it was enqueued")?;
        starts.push(Duration::from_nanos(took));
        // Idle in between, and not in step with anybody's poll.
        tokio::time::sleep(Duration::from_millis(7 + results.len() as u64 % 5)).await;
    }
    let figures = Figures::default()
        .with("p50_ms", percentile(&results, 0.5))
        .with("p99_ms", percentile(&results, 0.99))
        .with("start_p50_ms", percentile(&starts, 0.5))
        .with("start_p99_ms", percentile(&starts, 0.99));
    Ok(line::<R>(&here, None, None, figures))
}

/// Kills the process of a run with so many steps behind it, and lets others resume it.
pub async fn resumed<R: Rival>(site: &Site) -> Result<String> {
    let size = site.size.unwrap_or(1_000);
    let stand = R::stand(site).await?;
    let site = Site { url: stand.url.clone(), size: Some(size), ..site.clone() };
    let mut first = Process::start::<R>(&Site { role: Role::Begin, ..site.clone() })?;
    let steps = first.says("ready").await?;
    if steps != size.to_string() {
        return Err(format!("{steps} steps ran, not {size}").into());
    }
    first.kill().await?;
    let mut times = Vec::new();
    for _ in 0..R::RESUMES {
        let start = Instant::now();
        let mut next = Process::start::<R>(&Site { role: Role::Resume, ..site.clone() })?;
        let steps = next.says("resumed").await?;
        times.push(start.elapsed());
        next.kill().await?;
        if steps != "0" {
            return Err(format!("{steps} recorded steps ran again").into());
        }
    }
    eprintln!("{}: resumed in {times:?}", R::NAME);
    let figures =
        Figures::default().with("seconds", percentile(&times, 0.5) / 1e3).with("p50_ms", percentile(&times, 0.5));
    Ok(line::<R>(&site, None, Some(size), figures))
}
