//! Claiming: asks the store for runs whenever there is room and a reason to look.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use workflow_core::StoreError;
use workflow_core::store::Claim;

use super::commit::pause;
use super::engine::Engine;
use super::shared::Msg;

/// The most runs of one claim.
const MAX_CLAIM: usize = 500;

/// Looks for work until the executor closes.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut delay = Duration::from_millis(10);
    let mut again = true;
    loop {
        if !again {
            engine.wait_for_work().await;
        }
        if engine.closing() {
            return;
        }
        match once(&engine).await {
            Ok(more) => {
                again = more;
                delay = Duration::from_millis(10);
            }
            Err(StoreError::LeaseLost(executor)) => {
                engine.life.lose(executor);
                again = false;
            }
            Err(error) => {
                tracing::warn!(%error, code = error.code(), "claiming failed");
                pause(&mut delay).await;
                again = true;
            }
        }
    }
}

/// Claims once. Returns whether there may be more and there is room for it.
async fn once(engine: &Arc<Engine>) -> Result<bool, StoreError> {
    let shared = &engine.shared;
    let resident = shared.resident.load(Ordering::Acquire);
    let memory = engine.max_resident.saturating_sub(resident);
    if memory == 0 {
        let idle = shared.idle.load(Ordering::Acquire);
        if idle > 0 {
            let drivers = engine.drivers();
            let share = (engine.max_resident / 10).clamp(1, 500).div_ceil(drivers);
            (0..drivers).for_each(|driver| shared.tell(driver, Msg::Evict(share)));
        }
        return Ok(false);
    }
    let mut left = memory.min(MAX_CLAIM);
    let mut queues = Vec::new();
    let mut reserved = Vec::new();
    for gate in engine.gates_in_turn() {
        let room = gate.reserve(left);
        left -= room;
        if room > 0 {
            queues.push((gate.name.clone(), u32::try_from(room).unwrap_or(u32::MAX)));
            reserved.push((gate, room));
        }
    }
    if queues.is_empty() {
        return Ok(false);
    }
    let executor = engine.life.executor();
    let claim = Claim { executor, queues, workflows: engine.workflows.clone() };
    let generation = engine.generation();
    let result = shared.env.store.claim(&claim).await;
    let claimed = match result {
        Ok(claimed) => claimed,
        Err(error) => {
            give_back(engine, generation, reserved, |_| 0);
            return Err(error);
        }
    };
    shared.clock.learn(claimed.now);
    let mut full = false;
    for (gate, room) in &reserved {
        full |= claimed.runs.iter().filter(|run| run.queue == gate.name).count() == *room;
    }
    let count = |name: &str| claimed.runs.iter().filter(|run| run.queue == name).count();
    let counts: Vec<usize> = reserved.iter().map(|(gate, _)| count(&gate.name)).collect();
    let mut counts = counts.into_iter();
    give_back(engine, generation, reserved, |_| counts.next().unwrap_or(0));
    if engine.generation() != generation {
        // The lease was lost meanwhile; whoever took the runs over has them.
        return Ok(true);
    }
    for run in claimed.runs {
        shared.load(run, executor);
    }
    Ok(full)
}

/// Gives back the places that weren't used, unless the gates were cleared meanwhile.
fn give_back(
    engine: &Engine,
    generation: u64,
    reserved: Vec<(Arc<super::gate::Gate>, usize)>,
    mut used: impl FnMut(&str) -> usize,
) {
    if engine.generation() != generation {
        return;
    }
    for (gate, room) in reserved {
        let unused = room - used(&gate.name).min(room);
        if unused > 0 {
            engine.shared.give_back_quietly(&gate, unused);
        }
    }
}
