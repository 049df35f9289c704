//! Rows of journals and inboxes as the database has them, before anybody has looked at what they say.

use sqlx::postgres::PgRow;
use workflow_core::journal::{ENTRY_VERSION, Entry, Fact, OpKey, Phase};
use workflow_core::{Payload, Timestamp};

use crate::row::{Unreadable, column};

/// What a row of the journal or an inbox says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredFact {
    pub kind: String,
    pub name: String,
    pub nth: i32,
    pub phase: String,
    pub codec: i16,
    pub payload: Vec<u8>,
    pub mark: Option<i64>,
}

/// A row of the journal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub position: i32,
    pub fact: StoredFact,
    pub version: i16,
    pub recorded_at: Timestamp,
}

impl StoredFact {
    pub(crate) fn of(row: &PgRow) -> Result<Self, Unreadable> {
        Ok(Self {
            kind: column(row, "kind")?,
            name: column(row, "name")?,
            nth: column(row, "nth")?,
            phase: column(row, "phase")?,
            codec: column(row, "codec")?,
            payload: column(row, "payload")?,
            mark: column(row, "mark")?,
        })
    }

    pub(crate) fn read(self) -> Result<Fact, Unreadable> {
        let Self { kind, name, nth, phase, codec, payload, mark } = self;
        Ok(Fact {
            key: OpKey { kind, name, nth: unsigned("nth", nth.into())? },
            phase: Phase::parse(&phase).ok_or_else(|| format!("its phase {phase:?} is unknown"))?,
            payload: Payload { codec, bytes: payload },
            mark,
        })
    }
}

impl Stored {
    pub(crate) fn of(row: &PgRow) -> Result<Self, Unreadable> {
        Ok(Self {
            position: column(row, "position")?,
            fact: StoredFact::of(row)?,
            version: column(row, "version")?,
            recorded_at: column(row, "recorded_at")?,
        })
    }

    /// The entry, which must be at `position`.
    pub(crate) fn read(self, position: u32) -> Result<Entry, Unreadable> {
        let Self { position: stored, fact, version, recorded_at } = self;
        if i64::from(stored) != i64::from(position) {
            return Err(format!("position {position} of the journal is missing, the next one is {stored}"));
        }
        let at = |reason| format!("position {position} of the journal: {reason}");
        if !(0..=ENTRY_VERSION).contains(&version) {
            return Err(at(format!(
                "its format is version {version}, and this build reads up to {ENTRY_VERSION}: deploy a newer one"
            )));
        }
        Ok(Entry { position, fact: fact.read().map_err(at)?, version, recorded_at })
    }
}

pub(crate) fn unsigned<T: TryFrom<i64>>(what: &str, value: i64) -> Result<T, Unreadable> {
    T::try_from(value).map_err(|_| format!("{what} is {value}"))
}
