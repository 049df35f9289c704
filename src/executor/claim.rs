//! Claiming: asks the store for runs whenever there is room and a reason to look.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use workflow_core::StoreError;
use workflow_core::store::Claim;

use super::commit::pause;
use super::engine::Engine;
use super::gate::{Gate, Hold};
use super::shared::Msg;

/// The most runs of one claim.
const MAX_CLAIM: usize = 500;

/// What came of a claim.
enum Look {
    /// A queue may have more, and there is room for it.
    More,
    /// Nothing was found, and not every queue was looked at.
    Elsewhere,
    /// There is nothing to do for now.
    Nothing,
}

/// Looks for work until the executor closes.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut delay = Duration::from_millis(10);
    let mut again = true;
    let mut elsewhere = 0;
    loop {
        if !again {
            elsewhere = 0;
            engine.wait_for_work().await;
        }
        let claiming = engine.claims.lock().await;
        if engine.closing() {
            return;
        }
        let claimed = once(&engine).await;
        drop(claiming);
        match claimed {
            Ok(look) => {
                elsewhere = if matches!(look, Look::Elsewhere) { elsewhere + 1 } else { 0 };
                again = matches!(look, Look::More) || (1..engine.gates.len()).contains(&elsewhere);
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

/// Claims once.
async fn once(engine: &Arc<Engine>) -> Result<Look, StoreError> {
    let shared = &engine.shared;
    // Before the look: room that is made from here on is told of.
    shared.lacks_room.store(true, Ordering::Release);
    let resident = shared.resident.load(Ordering::Acquire);
    let memory = engine.max_resident.saturating_sub(resident);
    if memory == 0 {
        let idle = shared.idle.load(Ordering::Acquire);
        if idle > 0 {
            let drivers = engine.drivers();
            let share = (engine.max_resident / 10).clamp(1, 500).div_ceil(drivers);
            (0..drivers).for_each(|driver| shared.tell(driver, Msg::Evict(share)));
        }
        return Ok(Look::Nothing);
    }
    let (reserved, skipped) = reserve(engine, memory.min(MAX_CLAIM));
    if reserved.is_empty() {
        return Ok(Look::Nothing);
    }
    if reserved.len() == engine.gates.len() {
        shared.lacks_room.store(false, Ordering::Release);
    }
    let room_of =
        |(gate, _, room): &(Arc<Gate>, Hold, usize)| (gate.name.clone(), u32::try_from(*room).unwrap_or(u32::MAX));
    let queues = reserved.iter().map(room_of).collect();
    let executor = engine.life.executor();
    let claimed = match shared.env.store.claim(&Claim { executor, queues, workflows: engine.workflows.clone() }).await {
        Ok(claimed) => claimed,
        Err(error) => {
            for (gate, hold, room) in reserved {
                shared.give_back_quietly(&gate, hold, room);
            }
            if let StoreError::Unknown(_) = error {
                // Runs may be ours without our knowing which, and nobody would ever drive them: a new life begins,
                // and the old one hands over whatever it has.
                engine.life.lose(executor);
            }
            return Err(error);
        }
    };
    shared.clock.learn(claimed.now);
    engine.expect_due(claimed.next_due);
    let mut look = if skipped && claimed.runs.is_empty() { Look::Elsewhere } else { Look::Nothing };
    let mut holds = HashMap::new();
    for (gate, hold, room) in reserved {
        let used = claimed.runs.iter().filter(|run| run.queue == gate.name).count();
        if used >= room {
            look = Look::More;
        }
        if used < room {
            shared.give_back_quietly(&gate, hold, room - used);
        }
        holds.insert(gate.name.clone(), hold);
    }
    for run in claimed.runs {
        // In a life that is over by now the hold is void, and the run isn't taken up.
        if let Some(hold) = holds.get(&run.queue) {
            shared.load(run, executor, *hold);
        }
    }
    Ok(look)
}

/// Takes places for up to `left` runs: every queue its share, and the later ones what the earlier have no use for.
/// Says whether there was too little for all of them.
fn reserve(engine: &Engine, mut left: usize) -> (Vec<(Arc<Gate>, Hold, usize)>, bool) {
    let gates = engine.gates_in_turn();
    let mut skipped = false;
    let mut reserved = Vec::new();
    for (index, gate) in gates.iter().enumerate() {
        let share = left.div_ceil(gates.len() - index);
        skipped |= share == 0;
        let (hold, room) = gate.reserve(share);
        left -= room;
        if room > 0 {
            reserved.push((gate.clone(), hold, room));
        }
    }
    (reserved, skipped)
}
