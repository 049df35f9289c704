//! A run in memory.

use std::sync::Arc;
use std::time::Instant;

use workflow_core::ctx::RunInfo;
use workflow_core::env::Notify;
use workflow_core::replay::{Load, Machine};
use workflow_core::store::{ClaimedRun, ParkReason};
use workflow_core::{ExecutorId, Timestamp};

use super::gate::{Gate, Hold};
use super::options::Registry;
use super::shared::{Msg, Shared, Tag};
use crate::seeded;

/// A run that a driver holds.
pub(crate) struct Resident {
    pub(crate) machine: Machine,
    pub(crate) executor: ExecutorId,
    pub(crate) tag: Tag,
    pub(crate) gate: Arc<Gate>,
    /// Its place in its queue, while it is active.
    pub(crate) place: Option<Hold>,
    /// Waits for a place.
    pub(crate) queued: bool,
    /// When it became idle.
    pub(crate) idle_since: Option<Instant>,
    pub(crate) wake_at: Option<Timestamp>,
    /// Before this, its last turn may be refused.
    pub(crate) not_before: Option<Timestamp>,
    /// Its last turn gives it away (hung up, ended, parked).
    pub(crate) leaving: bool,
    pub(crate) dirty: bool,
}

impl Resident {
    /// A run that was just taken up, with a place in its queue.
    pub(crate) fn new(machine: Machine, executor: ExecutorId, tag: Tag, gate: Arc<Gate>, hold: Hold) -> Self {
        Self {
            machine,
            executor,
            tag,
            gate,
            place: Some(hold),
            queued: false,
            idle_since: None,
            wake_at: None,
            not_before: None,
            leaving: false,
            dirty: false,
        }
    }
}

/// Makes the machine of a claimed run; else why it can't go on, and the length of its journal.
pub(crate) fn load(
    shared: &Arc<Shared>,
    driver: usize,
    tag: Tag,
    run: ClaimedRun,
) -> Result<Machine, (ParkReason, u32)> {
    let corrupt =
        |message: String| (ParkReason { code: workflow_core::mismatch::code::CORRUPT.to_owned(), message }, 0);
    let registry: &Registry = &shared.registry;
    let workflow = registry.get(&(run.workflow.as_str(), run.version)).cloned();
    let Some(workflow) = workflow else {
        return Err(corrupt(format!("workflow {} version {} isn't registered here", run.workflow, run.version)));
    };
    let journal = run
        .journal
        .map_err(|reason| corrupt(format!("the journal of the run is damaged: {reason}\n  way out: restore the entries, then resume the run; or cancel it and invoke it again")))?;
    let journal = seeded::journal(journal);
    let position = u32::try_from(journal.len()).unwrap_or(u32::MAX);
    let load = Load {
        info: RunInfo {
            id: run.id,
            workflow: run.workflow,
            version: run.version,
            queue: run.queue,
            depth: run.depth,
            created_at: run.created_at,
            place: workflow.place(),
        },
        input: run.input,
        parent: run.parent,
        journal,
        inbox: run.inbox,
        mail: run.mail,
    };
    let weak = Arc::downgrade(shared);
    let notify: Notify = Arc::new(move |notice| {
        if let Some(shared) = weak.upgrade() {
            shared.tell(driver, Msg::Notice(tag, notice));
        }
    });
    Machine::new(workflow.clone(), shared.env.clone(), notify, load).map_err(|reason| (reason, position))
}
