//! The workloads, the same for every rival.

mod begun;
mod rate;
mod single;
mod transaction;

use crate::Result;
use crate::rival::{Rival, Site, Workload};

/// Measures one, and prints the line for it.
pub async fn run<R: Rival>(site: &Site) -> Result<String> {
    if !R::WORKLOADS.contains(&site.workload) {
        return Err(format!("{} has no {}", R::NAME, site.workload.name()).into());
    }
    match site.workload {
        Workload::W1 => rate::in_flight::<R>(site, 0).await,
        Workload::W2 => rate::in_flight::<R>(site, 10).await,
        Workload::W3 => single::serial_steps::<R>(site).await,
        Workload::W3b => single::one_at_a_time::<R>(site).await,
        Workload::W4 => begun::across_processes::<R>(site).await,
        Workload::W6 => single::children::<R>(site).await,
        Workload::W7 => single::events::<R>(site).await,
        Workload::W10 => begun::resumed::<R>(site).await,
        Workload::W15 => rate::bulk::<R>(site).await,
        Workload::W16 => transaction::beside_plain::<R>(site).await,
    }
}

/// That the store has what was counted.
async fn check_recorded<R: Rival>(rival: &R, runs: u64, steps: u64) -> Result<()> {
    let Some(recorded) = rival.recorded().await? else { return Ok(()) };
    eprintln!("{}: counted {runs} runs and {steps} steps, the store has {recorded:?}", R::NAME);
    if recorded.runs < runs || recorded.steps.is_some_and(|recorded| recorded < steps) {
        return Err(format!("counted {runs} runs and {steps} steps, but the store has {recorded:?}").into());
    }
    Ok(())
}

/// That a run did what it was to do.
fn check(got: u32, wanted: u32) -> Result<()> {
    if got == wanted { Ok(()) } else { Err(format!("a run answered {got}, not {wanted}").into()) }
}
