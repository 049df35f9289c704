//! The journal: the facts of one run, in the order in which they were recorded.

use std::fmt;

use crate::ids::Timestamp;
use crate::payload::Payload;

/// The version of the entry format, stored with every row. A reader parks a run with a higher version.
pub const ENTRY_VERSION: i16 = 1;

/// The identity of an operation in its run: its kind, its name, and the how-manieth of that name it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpKey {
    /// `step`, `sleep`, `invoke`, `event`, ..: [`crate::ops`] has the list.
    pub kind: String,
    /// The name given by the user (with the scope before it: `scope/name`), or empty.
    pub name: String,
    /// 1 for the first operation of that kind and name, 2 for the second, ..
    pub nth: u32,
}

impl OpKey {
    /// A key from its parts.
    pub fn new(kind: impl Into<String>, name: impl Into<String>, nth: u32) -> Self {
        Self { kind: kind.into(), name: name.into(), nth }
    }
}

impl fmt::Display for OpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if self.nth > 1 { write!(f, " #{}", self.nth) } else { Ok(()) }
    }
}

/// What an entry says about its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The code asked for it, and what was asked is recorded (a sleep, a child, a wait).
    Asked,
    /// An attempt failed and there will be another one. `mark`: the delay in microseconds.
    Retry,
    /// It ended well. The payload is the value.
    Ok,
    /// It failed. The payload is a [`Failure`](crate::Failure).
    Failed,
}

impl Phase {
    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Asked => "asked",
            Phase::Retry => "retry",
            Phase::Ok => "ok",
            Phase::Failed => "failed",
        }
    }

    /// The phase of a stored word.
    pub fn parse(word: &str) -> Option<Self> {
        [Phase::Asked, Phase::Retry, Phase::Ok, Phase::Failed].into_iter().find(|p| p.as_str() == word)
    }

    /// Whether the operation is over.
    pub const fn is_outcome(self) -> bool {
        matches!(self, Phase::Ok | Phase::Failed)
    }
}

/// One fact about one operation: what an entry says, and what a message in an inbox becomes when it is consumed.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Which operation.
    pub key: OpKey,
    /// What about it.
    pub phase: Phase,
    /// The value, the failure or the arguments.
    pub payload: Payload,
    /// A number that belongs to the fact: an event's sequence, the delay of a retry in microseconds.
    pub mark: Option<i64>,
}

/// A journaled fact: row `(run, position)` of the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// 0 for the first entry of the run; without gaps.
    pub position: u32,
    /// What is recorded.
    pub fact: Fact,
    /// [`ENTRY_VERSION`] of its writer.
    pub version: i16,
    /// When it was committed, by the store's clock. All entries of one commit have the same time.
    pub recorded_at: Timestamp,
}
