//! Notices workflow code that doesn't come back: a loop or a blocking call holds its driver thread, and with it every
//! other run of that thread, while the heartbeat goes on and keeps others from taking over. It can't be interrupted,
//! but it can be told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use workflow_core::RunId;
use workflow_core::registry::AnyWorkflow;
use workflow_core::replay::Machine;

use super::clock::Local;
use super::engine::Engine;

/// What a driver is polling.
struct Poll {
    run: RunId,
    workflow: Arc<dyn AnyWorkflow>,
    /// How many entries the run's journal had when the poll began.
    entries: u32,
    since: Instant,
    told: bool,
}

/// Which run each driver is polling, and since when.
pub(crate) struct Watchdog(Vec<Mutex<Option<Poll>>>);

impl Watchdog {
    pub(crate) fn new(drivers: usize) -> Self {
        Self((0..drivers).map(|_| Mutex::new(None)).collect())
    }

    /// Notes that `driver` polls `run` for as long as `poll` takes.
    pub(crate) fn watch<T>(
        &self,
        driver: usize,
        run: RunId,
        machine: &mut Machine,
        poll: impl FnOnce(&mut Machine) -> T,
    ) -> T {
        let place = &self.0[driver];
        let (workflow, entries) = (machine.workflow().clone(), machine.position());
        *lock(place) = Some(Poll { run, workflow, entries, since: Local::Machine.now(), told: false });
        let _over = Over(place);
        poll(machine)
    }

    /// Tells of every poll that has taken longer than `limit`, once.
    fn look(&self, limit: Duration) {
        let now = Local::Machine.now();
        for (driver, place) in self.0.iter().enumerate() {
            if let Some(poll) = &mut *lock(place)
                && !poll.told
                && now.duration_since(poll.since) >= limit
            {
                poll.told = true;
                tracing::warn!(
                    code = "BLOCKED",
                    run = %poll.run,
                    workflow = poll.workflow.name(),
                    version = poll.workflow.version(),
                    place = poll.workflow.place(),
                    driver,
                    entries = poll.entries,
                    "workflow {} ({}) blocks its thread for longer than {limit:?}: no other run of this thread goes on. \
                     It loops without an await or calls something that blocks, in the code after entry {} of its \
                     journal; move that into tokio::task::spawn_blocking inside a step",
                    poll.workflow.name(),
                    poll.workflow.place(),
                    poll.entries,
                );
            }
        }
    }
}

/// Takes the note of a poll away at its end, however it ends.
struct Over<'a>(&'a Mutex<Option<Poll>>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        if let Some(poll) = lock(self.0).take()
            && poll.told
        {
            let seconds = Local::Machine.now().duration_since(poll.since).as_secs_f64();
            tracing::warn!(code = "BLOCKED", run = %poll.run, seconds, "the run that blocked its thread came back");
        }
    }
}

fn lock(place: &Mutex<Option<Poll>>) -> MutexGuard<'_, Option<Poll>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at the drivers until the executor is closed.
#[expect(clippy::disallowed_methods, reason = "the pace of looking is real time and decides nothing else")]
pub(crate) async fn run(engine: Arc<Engine>, limit: Duration) {
    loop {
        tokio::select! {
            biased;
            () = engine.closed() => return,
            () = tokio::time::sleep(limit / 4) => engine.shared.watchdog.look(limit),
        }
    }
}
