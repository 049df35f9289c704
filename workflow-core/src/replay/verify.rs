//! The second replay right after a commit: what isn't deterministic shows at once.

use std::sync::Arc;

use crate::env::Notify;
use crate::failure::Failure;
use crate::ids::Timestamp;
use crate::journal::OpKey;
use crate::mismatch::Mismatch;
use crate::payload::Payload;
use crate::store::ParkReason;
use crate::table::Table;

use super::{Load, Machine};

impl Machine {
    /// Replays the journal through the code once more and compares: what isn't deterministic shows at once.
    ///
    /// For long journals not after every commit, but each time they have grown by a tenth, and at the end.
    pub(super) fn verify(&mut self, now: Timestamp) {
        let due = match self.verified_at {
            u32::MAX => self.position > 0,
            at if self.finished.is_some() => self.position > at || self.in_flight.is_none(),
            at => self.position > at && self.position >= at + at.saturating_sub(100) / 10,
        };
        let parked = self.inner.table.borrow().park.is_some();
        if !due || parked || self.in_flight.is_some() || self.inner.table.borrow().slot.is_some() {
            return;
        }
        self.verified_at = self.position;
        let load = Load {
            info: self.inner.info.clone(),
            input: self.input.clone(),
            parent: None,
            journal: self.journal.clone(),
            inbox: Vec::new(),
            mail: 0,
        };
        self.replays += 1;
        let quiet: Notify = Arc::new(|_| {});
        let second = Machine::new(self.workflow.clone(), self.inner.env.clone(), quiet, load);
        let reason = match second {
            Err(reason) => Some(reason),
            Ok(mut second) => second.dry_run(now).err().or_else(|| self.compare(&second)),
        };
        if let Some(reason) = reason {
            self.inner.table.borrow_mut().park.get_or_insert(reason);
        }
    }

    /// Replays without letting any body begin.
    pub(super) fn dry_run(&mut self, now: Timestamp) -> Result<(), ParkReason> {
        self.inner.table.borrow_mut().dry = true;
        self.run(now)
    }

    pub(super) fn compare(&self, second: &Machine) -> Option<ParkReason> {
        let (live, replay) = (self.inner.table.borrow(), second.inner.table.borrow());
        let difference = |recorded: String, asked: String| {
            let mismatch = Mismatch { position: None, recorded, asked, place: None, hint: None, at_once: true };
            Some(self.diverged(mismatch, &live))
        };
        let place = |table: &Table, key: &OpKey| table.by_key.get(key).map(|&i| table.ops[i].place());
        if let Some(key) = live.by_key.keys().find(|key| !replay.by_key.contains_key(*key)) {
            let place = place(&live, key).unwrap_or_default();
            return difference(format!("{key} ({place})"), "no such operation on replay".to_owned());
        }
        if let Some(key) = replay.by_key.keys().find(|key| !live.by_key.contains_key(*key)) {
            let place = place(&replay, key).unwrap_or_default();
            return difference("no such operation".to_owned(), format!("{key} ({place}) on replay"));
        }
        let site = |table: &Table, key: &OpKey| table.by_key.get(key).map(|&i| table.ops[i].site);
        let moved = live.by_key.keys().find(|key| site(&live, key) != site(&replay, key));
        if let Some(key) = moved {
            let (live, replay) = (place(&live, key).unwrap_or_default(), place(&replay, key).unwrap_or_default());
            return difference(format!("{key} ({live})"), format!("{key} ({replay}) on replay"));
        }
        match (&self.finished, &second.finished) {
            (None, None) => None,
            (Some(a), Some(b)) if same_end(a, b) => None,
            (a, b) => {
                let end = |end: &Option<Result<Payload, Failure>>| match end {
                    None => "still running".to_owned(),
                    Some(Ok(output)) => format!("ended well with a value of {} bytes", output.bytes.len()),
                    Some(Err(failure)) => format!("failed: {failure}"),
                };
                difference(end(a), format!("{} on replay", end(b)))
            }
        }
    }
}

fn same_end(a: &Result<Payload, Failure>, b: &Result<Payload, Failure>) -> bool {
    match (a, b) {
        (Ok(a), Ok(b)) => a == b || a.digest() == b.digest(),
        (Err(a), Err(b)) => a.kind() == b.kind() && a.message() == b.message(),
        _ => false,
    }
}
