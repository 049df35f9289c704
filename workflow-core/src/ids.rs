//! Identifiers and names, and the rules they keep.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// An instant in UTC with microsecond precision, always read from the store's clock.
pub type Timestamp = DateTime<Utc>;

/// Identifies a run: a time-ordered UUID (version 7, RFC 9562 section 5.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl RunId {
    /// A new id from the process's clock. The clock only decides where the row lands in the index.
    pub fn generate() -> Self {
        Self(crate::random::ordered_uuid())
    }

    /// The id of the child that `parent` starts under `key`: the same on every replay.
    ///
    /// The first 48 bits are `at` in milliseconds, so that children stay time-ordered; the rest is SHA-256 of
    /// the parent's id and the key.
    pub fn child(parent: RunId, key: &str, at: Timestamp) -> Self {
        let mut hash = Sha256::new();
        hash.update(parent.0.as_bytes());
        hash.update(key.as_bytes());
        let digest = hash.finalize();
        let mut random = [0u8; 10];
        random.copy_from_slice(&digest[..10]);
        let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Uuid::from_str(s).map(Self)
    }
}

/// Identifies one life of an executor. Never used twice: an executor that lost its lease gets a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExecutorId(pub Uuid);

impl ExecutorId {
    /// A new id.
    pub fn generate() -> Self {
        Self(crate::random::ordered_uuid())
    }
}

impl fmt::Display for ExecutorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ExecutorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The longest name of a workflow, step, queue, event or key, in bytes.
pub const MAX_NAME_BYTES: usize = 200;

/// A name that breaks the rule `[A-Za-z0-9_.:/-]{1,200}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {shown:?} is not a valid name: {why}; use 1 to {MAX_NAME_BYTES} characters of A-Z a-z 0-9 _ . : / -")]
pub struct InvalidName {
    /// What was named: "step", "event", "queue", ..
    pub what: &'static str,
    /// The name, shortened to 80 characters.
    pub shown: String,
    /// What is wrong with it.
    pub why: String,
}

/// Checks a name of a workflow, step, queue or event.
///
/// # Errors
///
/// [`InvalidName`] when `name` is empty, longer than [`MAX_NAME_BYTES`], or holds another character.
pub fn check_name(what: &'static str, name: &str) -> Result<(), InvalidName> {
    let why = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.len() > MAX_NAME_BYTES {
        format!("it has {} bytes", name.len())
    } else if let Some(c) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || "_.:/-".contains(*c))) {
        format!("it holds {c:?}")
    } else {
        return Ok(());
    };
    Err(InvalidName { what, shown: name.chars().take(80).collect(), why })
}

/// Checks an id or key that comes from the user's data: 1 to 200 bytes, no control characters.
///
/// # Errors
///
/// [`InvalidName`] when it is empty, too long, or holds a control character.
pub fn check_id(what: &'static str, id: &str) -> Result<(), InvalidName> {
    let why = if id.is_empty() {
        "it is empty".to_owned()
    } else if id.len() > MAX_NAME_BYTES {
        format!("it has {} bytes", id.len())
    } else if let Some(c) = id.chars().find(|c| c.is_control()) {
        format!("it holds the control character {c:?}")
    } else {
        return Ok(());
    };
    Err(InvalidName { what, shown: id.chars().take(80).collect(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(check_name("step", "charge-card_2.a:b/c").is_ok());
        for bad in ["", "a b", "a\"b", "a\nb", "a\u{200b}b", "'; DROP TABLE", &"x".repeat(201)] {
            assert!(check_name("step", bad).is_err(), "{bad:?}");
        }
        let message = check_name("step", "a b").expect_err("has a space").to_string();
        assert_eq!(
            message,
            "step \"a b\" is not a valid name: it holds ' '; use 1 to 200 characters of A-Z a-z 0-9 _ . : / -"
        );
    }

    #[test]
    fn child_ids_are_stable_and_ordered() {
        let parent = RunId::generate();
        let at = DateTime::from_timestamp_millis(1_700_000_000_000).expect("valid");
        let later = DateTime::from_timestamp_millis(1_700_000_000_001).expect("valid");
        let id = RunId::child(parent, "invoke/a#1", at);
        assert_eq!(id, RunId::child(parent, "invoke/a#1", at));
        assert_ne!(id, RunId::child(parent, "invoke/a#2", at));
        assert!(id < RunId::child(parent, "invoke/a#1", later));
        assert_eq!(id.0.get_version_num(), 7);
    }
}
