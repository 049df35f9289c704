//! The heartbeat: proves that this executor lives, learns the store's time, and begins a new life when the lease is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use workflow_core::{ExecutorId, StoreError};

use super::commit::pause;
use super::engine::Engine;
use super::shared::Msg;
use crate::seeded::{self, Bug};

/// Beats until the executor is closed.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut alive_since = engine.shared.clock.local();
    let mut failed = false;
    loop {
        let beat = tokio::select! {
            biased;
            // What is under way is given up: it may wait for something that the runs of this life hold.
            () = engine.life.lost() => Beat::Lost,
            beat = beat(&engine, &mut alive_since, failed) => beat,
        };
        failed = matches!(beat, Beat::Failed);
        match beat {
            Beat::Alive | Beat::Failed => {}
            Beat::Lost => alive_since = rebirth(&engine).await,
            Beat::Closed => return,
        }
    }
}

/// What a heartbeat came to.
enum Beat {
    Alive,
    /// It got no answer, and the lease may last.
    Failed,
    Lost,
    Closed,
}

/// Waits until the next heartbeat is due, and does what it asks for. `alive_since` is when the last good one was sent,
/// `failed` whether the last one failed.
async fn beat(engine: &Arc<Engine>, alive_since: &mut Instant, failed: bool) -> Beat {
    let mut due = std::pin::pin!(async { if failed { engine.next_try().await } else { engine.next_beat().await } });
    loop {
        tokio::select! {
            biased;
            () = engine.closed() => return Beat::Closed,
            () = &mut due => break,
            () = engine.pulse.notified() => break,
            // However many die, the next beat comes when it is due.
            () = engine.deaths.notified(), if !failed => rescue(engine).await,
        }
    }
    let executor = engine.life.executor();
    let asked = engine.shared.asked(executor);
    match engine.shared.env.store.heartbeat(executor, engine.lease).await {
        Ok(beat) => {
            *alive_since = asked.at;
            engine.shared.term.renewed(asked, engine.lease);
            engine.shared.clock.learn(beat.now);
            engine.learn_due(beat.next_due);
            engine.learn_ready(beat.ready);
            // After an outage others have yet to say that they live, just as this one had: they have until the next beat.
            engine.learn_expiry(beat.next_expiry.filter(|_| !failed));
            if beat.rescue && !failed {
                rescue(engine).await;
            }
            Beat::Alive
        }
        Err(StoreError::LeaseLost(_)) => Beat::Lost,
        Err(error) => {
            if failed {
                tracing::debug!(%error, code = error.code(), "the heartbeat failed again");
            } else {
                tracing::warn!(%error, code = error.code(), "the heartbeat failed");
            }
            // Nobody can be told, but when the lease has run out others may have our runs by now.
            let over = engine.shared.clock.local().duration_since(*alive_since) > engine.lease;
            if over { Beat::Lost } else { Beat::Failed }
        }
    }
}

/// Finds out whether the lease lasts, when that is needed and may have changed since it was last heard of.
pub(crate) async fn reassure(engine: Arc<Engine>) {
    let shared = &engine.shared;
    let mut delay = Duration::from_millis(5);
    let mut pace = Pace::default();
    loop {
        tokio::select! {
            biased;
            () = engine.closed() => return,
            () = shared.doubted.notified() => {}
        }
        let executor = engine.life.executor();
        let Some(notice) = shared.term.notice().filter(|_| !executor.0.is_nil()) else {
            // Nothing shortens the lease, so it has run out. A heartbeat that is under way may well wait for the runs
            // that aren't driven any more: a transaction of theirs keeps everybody from writing to a file.
            if shared.lease_is_over() {
                engine.life.lose(executor);
            }
            continue;
        };
        let wanted = pace.wants(notice, shared.env.store.notice()).map(|wanted| wanted.min(engine.lease));
        if let Some(less) = wanted.filter(|wanted| *wanted < notice) {
            // From now on less can be relied on.
            shared.term.set_notice(executor, shared.clock.local(), Some(less));
        }
        let mut asked = shared.asked(executor);
        match shared.env.store.lease_left(executor, wanted).await {
            Ok(left) => {
                delay = Duration::from_millis(5);
                pace.took(shared.clock.local().saturating_duration_since(asked.at), notice);
                if let Some(more) = wanted.filter(|wanted| *wanted > notice) {
                    tracing::debug!(notice = ?more, "the database answers slowly: the lease ends early with more notice");
                    let notice = (more < engine.lease).then_some(more);
                    shared.term.set_notice(executor, shared.clock.local(), notice);
                    asked = asked.for_notice(notice);
                }
                shared.term.renewed(asked, left);
                (0..engine.drivers()).for_each(|driver| shared.tell(driver, Msg::Reassured));
                if left < engine.lease / 3 {
                    engine.pulse.notify_one();
                }
            }
            Err(StoreError::LeaseLost(_)) => engine.life.lose(executor),
            Err(error) => {
                tracing::debug!(%error, "nobody knows whether the lease lasts");
                pause(&mut delay).await;
                // Whoever waits for it asks again.
            }
        }
    }
}

/// How fast the last answers were, compared with the notice.
#[derive(Default)]
struct Pace {
    late: u32,
    early: u32,
}

impl Pace {
    /// Answers that come too late to be of use, one after the other, after which an executor needs more notice.
    const LATE: u32 = 3;
    /// Answers that would have been early enough with less notice, one after the other, before it does with less.
    const EARLY: u32 = 100;
    /// By how much more and less.
    const STEP: u32 = 4;

    fn took(&mut self, time: Duration, notice: Duration) {
        self.late = if time > notice / 2 { self.late + 1 } else { 0 };
        self.early = if time < notice / (4 * Self::STEP) { self.early + 1 } else { 0 };
    }

    /// Another notice than the one in force, if that is time. `least` is the store's.
    fn wants(&mut self, notice: Duration, least: Option<Duration>) -> Option<Duration> {
        let wanted = if self.late >= Self::LATE {
            Some(notice * Self::STEP)
        } else if self.early >= Self::EARLY {
            Some(least.map_or(notice, |least| least.max(notice / Self::STEP)))
        } else {
            None
        };
        if wanted.is_some() {
            *self = Self::default();
        }
        wanted.filter(|wanted| *wanted != notice)
    }
}

/// Drops everything and registers under a new id, as soon as the store lets it.
///
/// What the old life still owns is handed over in good order where that is still possible: its runs needn't wait until
/// the lease has run out, and count no crash, since no process died (unless a driver has panicked). That others are taken
/// over is left to the next heartbeat: after an outage of the database everybody's lease has run out, and who comes back
/// first must not take the others for dead.
async fn rebirth(engine: &Arc<Engine>) -> Instant {
    let store = &engine.shared.env.store;
    let old = engine.life.executor();
    tracing::warn!(executor = %old, "this life of the executor is over: dropping all runs");
    assert!(!seeded::is(Bug::PanickingHeartbeat), "a seeded panic");
    if !seeded::is(Bug::SurviveLeaseLoss) {
        engine.drop_all().await;
    }
    let mut delay = Duration::from_millis(10);
    let mut closed = engine.life.has_crashed(old);
    while !engine.closing() {
        if !closed {
            match store.close(old).await {
                Err(error) if error.is_transient() || matches!(error, StoreError::Unknown(_)) => {
                    tracing::warn!(%error, code = error.code(), "can't hand the runs over");
                    pause(&mut delay).await;
                    continue;
                }
                Err(error) => tracing::error!(%error, code = error.code(), "the runs can't be handed over"),
                Ok(runs) => tracing::info!(runs, "handed over"),
            }
            closed = true;
        }
        let next = ExecutorId::generate();
        let sent = engine.shared.clock.local();
        match store.register(next, &engine.name, engine.lease).await {
            Ok(now) => {
                engine.shared.clock.learn(now);
                engine.shared.term.begin(next, sent, engine.lease, store.notice());
                engine.life.begin(next);
                // What was known of the others is from before the outage.
                engine.learn_expiry(None);
                engine.look_for_work();
                return sent;
            }
            Err(error) => {
                tracing::warn!(%error, code = error.code(), "can't register with the store");
                pause(&mut delay).await;
            }
        }
    }
    engine.shared.clock.local()
}

/// Takes over what dead executors hold.
pub(crate) async fn rescue(engine: &Arc<Engine>) {
    if seeded::is(Bug::NoRescue) {
        return;
    }
    loop {
        match engine.shared.env.store.rescue(engine.max_crashes, 1_000).await {
            Ok(rescued) => {
                for executor in &rescued.executors {
                    tracing::info!(%executor, "an executor is dead: its runs are taken over");
                }
                for run in &rescued.poisoned {
                    tracing::error!(%run, "parked as POISONED: executors died with it again and again");
                }
                if rescued.runs > 0 {
                    engine.look_for_work();
                }
                if rescued.runs < 1_000 {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, code = error.code(), "taking over failed");
                return;
            }
        }
    }
}

/// Tells the drivers to forget everything, and waits until they have.
pub(crate) async fn drop_runs(engine: &Engine) {
    let mut waits = Vec::new();
    for driver in 0..engine.drivers() {
        let (done, wait) = tokio::sync::oneshot::channel();
        engine.shared.tell(driver, Msg::DropAll(done));
        waits.push(wait);
    }
    for wait in waits {
        // A driver that is gone has dropped its runs.
        let _ = wait.await;
    }
}
