//! What doesn't fit: journal and code side by side, and foreign awaits with the user's line.

use crate::guard::Caught;
use crate::journal::OpKey;
use crate::mismatch::{Mismatch, code};
use crate::store::ParkReason;
use crate::table::Table;

use super::Machine;

impl Machine {
    /// Everything recorded must have been asked for by now.
    pub(super) fn check_leftover(&self) -> Result<(), ParkReason> {
        let table = self.inner.table.borrow();
        let Some((left, recorded)) = table.recorded.iter().min_by_key(|(_, recorded)| recorded.first) else {
            return Ok(());
        };
        let open = |new: bool| {
            table.ops.iter().filter_map(move |op| {
                let is_new = op.asked_at.is_none() && op.outcome.is_none() && op.retries == 0;
                let shown = op.is_open() && op.outcome.is_none() && is_new == new;
                op.key.as_ref().filter(|_| shown).map(|key| (key.to_string(), op.place()))
            })
        };
        let (asked, place, hint) = match &self.finished {
            Some(Ok(_)) => (
                "the end of the workflow".to_owned(),
                None,
                format!("the code ends before it comes to {left}: that was removed, or another branch is taken now"),
            ),
            Some(Err(failure)) => (
                format!("the end of the workflow, which failed with: {failure}"),
                None,
                format!("the code fails before it comes to {left}"),
            ),
            None => match (open(true).next(), open(false).next()) {
                (Some((key, place)), _) => (
                    key.clone(),
                    Some(format!("{place}, not recorded")),
                    format!("{left} was removed, renamed or moved behind {key}; or {key} is new before it"),
                ),
                (None, Some((key, place))) => (
                    format!("nothing but {key}"),
                    Some(format!("{place}, recorded, without outcome")),
                    format!("the code waits for {key}, but when {left} was recorded it went on without"),
                ),
                (None, None) => ("nothing".to_owned(), None, format!("{left} was removed")),
            },
        };
        let mismatch = Mismatch {
            position: Some(recorded.first),
            recorded: left.to_string(),
            asked,
            place,
            hint: Some(hint),
            at_once: false,
        };
        Err(self.diverged(mismatch, &table))
    }

    pub(super) fn diverged(&self, mut mismatch: Mismatch, table: &Table) -> ParkReason {
        mismatch.at_once |= table.dry;
        let name = format!("{} ({})", self.inner.info.workflow, self.inner.info.place);
        let asked: Vec<(OpKey, String)> = table
            .ops
            .iter()
            .rev()
            .take(4)
            .filter_map(|op| op.key.as_ref().map(|key| ((**key).clone(), op.place())))
            .collect();
        let asked: Vec<_> = asked.into_iter().rev().collect();
        mismatch.park(&name, &self.journal, &asked)
    }

    pub(super) fn foreign(&self, what: &str) -> ParkReason {
        let table = self.inner.table.borrow();
        let last = table.ops.iter().rev().find_map(|op| op.key.as_ref().map(|key| format!("{key} ({})", op.place())));
        let after = match last {
            Some(last) => format!("its last operation was {last}"),
            None => "it has come to no operation yet".to_owned(),
        };
        self.foreign_reason(&format!("{what}; {after}"))
    }

    pub(super) fn foreign_panic(&self, caught: &Caught) -> ParkReason {
        let place = caught.place.as_deref().unwrap_or("an unknown place");
        self.foreign_reason(&format!("at {place}: {}", caught.message))
    }

    pub(super) fn foreign_reason(&self, detail: &str) -> ParkReason {
        ParkReason {
            code: code::FOREIGN_AWAIT.to_owned(),
            message: format!(
                "workflow {} ({}) awaits a future that is not journaled: wrap it in ctx.step(..)\n  {detail}\n  ways \
                 out: timers are ctx.sleep(..), timeouts are .timeout(..) on the operation, spawned work is join! or \
                 ctx.invoke(..), everything else goes into a step; then deploy, and the run goes on",
                self.inner.info.workflow, self.inner.info.place
            ),
        }
    }
}
