//! The answer to "what did my code do differently?": the recorded journal beside what the code asks for.

use std::fmt::Write;

use crate::env::MachineOptions;
use crate::journal::{Entry, OpKey};
use crate::store::{ParkReason, StoreError};
use crate::table::Unreadable;

/// Why a run can't go on, as the stable code it is parked with.
pub mod code {
    /// The code asks for something else than the journal holds.
    pub const DIVERGED: &str = "DIVERGED";
    /// The workflow awaits a future that isn't journaled.
    pub const FOREIGN_AWAIT: &str = "FOREIGN_AWAIT";
    /// The input or a recorded value is no value of the type the code wants.
    pub const PAYLOAD: &str = "PAYLOAD";
    /// The journal is damaged.
    pub const CORRUPT: &str = "CORRUPT";
    /// The journal has reached its largest length.
    pub const JOURNAL_FULL: &str = "JOURNAL_FULL";
    /// Executors died with this run again and again.
    pub const POISONED: &str = "POISONED";
    /// The database refuses to store what the run did.
    pub const REFUSED: &str = "REFUSED";

    /// The codes that a new deployment may have mended.
    pub const MENDED_BY_CODE: [&str; 4] = [DIVERGED, FOREIGN_AWAIT, PAYLOAD, JOURNAL_FULL];
}

/// The run's input is none of its workflow.
pub(crate) fn input(workflow: &str, place: &str, why: &str) -> ParkReason {
    ParkReason {
        code: code::PAYLOAD.to_owned(),
        message: format!(
            "the input of the run can't be read by workflow {workflow} ({place}): {why}\n  ways out: deploy a type that can \
             read it, then resume the run; or cancel it and invoke it with another input"
        ),
    }
}

/// The run's journal can't be taken in.
pub(crate) fn unreadable(why: &Unreadable) -> ParkReason {
    let (code, message) = match why {
        Unreadable::Damaged(reason) => (
            code::CORRUPT,
            format!(
                "the journal of the run is damaged: {reason}\n  the engine never writes such a journal: somebody edited \
                 it, or a restore is incomplete\n  ways out: restore the entries and resume the run; or cancel it and \
                 invoke it again"
            ),
        ),
        Unreadable::Newer(reason) => (
            code::PAYLOAD,
            format!(
                "the journal of the run was written by a newer version of this library: {reason}\n  way out: deploy \
                 the newer version everywhere; the run goes on with the next executor of it that starts, or after \
                 `client.resume(run)`"
            ),
        ),
    };
    ParkReason { code: code.to_owned(), message }
}

/// The run's journal has reached a limit.
pub(crate) fn journal_full(entries: u32, bytes: usize, options: &MachineOptions) -> ParkReason {
    ParkReason {
        code: code::JOURNAL_FULL.to_owned(),
        message: format!(
            "the journal of the run would have {entries} entries and {bytes} bytes, the limits are {} and {}: hand \
             parts of the work to children (ctx.invoke), or raise the executor's `max_journal(..)`, then resume",
            options.max_entries, options.max_journal_bytes
        ),
    }
}

/// The store takes other turns, but not the one that this run has come to.
pub fn refused(error: &StoreError) -> ParkReason {
    ParkReason {
        code: code::REFUSED.to_owned(),
        // Postgres has no text with NUL.
        message: format!(
            "the database refuses to store what the run did last: {error}\n  ways out: mend what the message names, or \
             deploy code that does something else, then resume the run: what wasn't stored is done again"
        )
        .replace('\0', "\u{fffd}"),
    }
}

/// A difference between journal and code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The entry it is about, or the first that is left over.
    pub position: Option<u32>,
    /// What is recorded.
    pub recorded: String,
    /// What the code asks for.
    pub asked: String,
    /// Where the code asks for it.
    pub place: Option<String>,
    /// What may have happened to the code.
    pub hint: Option<String>,
    /// Found by the replay right after a commit, so with unchanged code.
    pub at_once: bool,
}

const NOT_JOURNALED: &str =
    "it decides by something that isn't journaled (time, randomness, the environment, the order of a HashMap)";

impl Mismatch {
    /// The whole message: what, where, the entries around it, likely causes and ways out.
    pub fn park(&self, workflow: &str, journal: &[Entry], asked: &[(OpKey, String)]) -> ParkReason {
        let mut text = if self.at_once {
            format!("workflow {workflow}, replayed right after its commit, didn't do the same again: {NOT_JOURNALED}\n")
        } else {
            format!("the code of workflow {workflow} no longer matches the run's journal\n")
        };
        let _ = writeln!(text, "  recorded: {}", self.recorded);
        let place = self.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
        let _ = writeln!(text, "  asked:    {}{place}", self.asked);
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "  so:       {hint}");
        }
        self.around(&mut text, journal);
        if !asked.is_empty() {
            text.push_str("  the code's last operations:\n");
            for (key, place) in asked.iter().rev().take(4).rev() {
                let _ = writeln!(text, "                {key} ({place})");
            }
        }
        text.push_str(if self.at_once { AT_ONCE } else { CHANGED });
        ParkReason { code: code::DIVERGED.to_owned(), message: text }
    }

    /// Three entries before and after.
    fn around(&self, text: &mut String, journal: &[Entry]) {
        let Some(position) = self.position else { return };
        text.push_str("  journal:\n");
        let at = position as usize;
        for entry in journal.iter().skip(at.saturating_sub(3)).take(at.min(3) + 4) {
            let mark = if entry.position == position { '>' } else { ' ' };
            let phase = entry.fact.phase.as_str();
            let _ = writeln!(text, "  {mark} {:>5} {phase:<7} {}", entry.position, entry.fact.key);
        }
    }
}

const CHANGED: &str = "  ways out:
    the code was changed: roll it back; or give the changed workflow a new version (#[workflow(version = 2)]) and keep \
the old one registered
    it wasn't: then it decides by something that isn't journaled (time, randomness, the environment, the order of a \
HashMap); move that into a step, or use ctx.now() and ctx.random()
  The run is parked and its journal untouched. The next executor that starts tries it again, or `client.resume(run)`.";

const AT_ONCE: &str = "  ways out:
    move what isn't journaled into a step, or use ctx.now() and ctx.random()
    if branches of a `tokio::select!` or `tokio::join!` run steps of the same name: give them names of their own, or \
contexts of their own with ctx.scope(..)
    if several branches can be ready at once, or race for a lock: write `biased;`, or use futures::join!
  The run is parked and its journal untouched. The next executor that starts tries it again, or `client.resume(run)`.";
