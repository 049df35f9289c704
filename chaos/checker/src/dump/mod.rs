//! The tables of the engine and of the workloads, read by plain SQL in one snapshot.

mod tables;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::record::Time;
use tables::{postgres, sqlite};

/// Statements that make the tables `chaos_account` and `chaos_effect` of the workloads on Postgres.
pub const POSTGRES_TABLES: &str = include_str!("../../queries/pg/tables.sql");

/// The same on SQLite.
pub const SQLITE_TABLES: &str = include_str!("../../queries/sqlite/tables.sql");

/// Why the tables can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The database's matter.
    #[error("the tables can't be read: {0}")]
    Database(#[from] sqlx::Error),
    /// A URL of no database that is known here.
    #[error("{0:?} is neither postgres:.. nor sqlite:..")]
    Url(String),
}

/// Everything at one instant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dump {
    /// When, by the database's clock: what was committed before is here.
    pub taken_at: Time,
    /// All runs, by id.
    pub runs: BTreeMap<Uuid, Run>,
    /// All journals, each by position.
    pub journals: BTreeMap<Uuid, Vec<Entry>>,
    /// Messages that no commit has consumed, each run's by seq.
    pub inboxes: BTreeMap<Uuid, Vec<Message>>,
    /// Events that are kept, by topic and seq.
    pub events: Vec<Event>,
    /// Who waits for which.
    pub subscriptions: Vec<Subscription>,
    /// Lives of executors.
    pub executors: Vec<Executor>,
    /// What transactions wrote: `None` without the workloads' tables.
    pub effects: Option<Vec<Effect>>,
    /// The accounts: `(id, balance)`.
    pub accounts: Vec<(i64, i64)>,
}

/// The identity of an operation in its run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// `step`, `transaction`, `sleep`, `invoke`, `event`, `emit`, `cancel`, ..
    pub kind: String,
    /// Its name with its scope.
    pub name: String,
    /// 1 for the first of its kind and name.
    pub nth: i64,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} #{}", self.kind, self.name, self.nth)
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: Uuid,
    /// The user's id.
    pub invoke_id: Option<String>,
    /// Its workflow.
    pub workflow: String,
    /// The workflow's version.
    pub version: i64,
    /// Its queue.
    pub queue: String,
    /// The stored word.
    pub status: String,
    /// Codec and bytes of its output or failure.
    pub output: Option<(i64, Vec<u8>)>,
    /// Its parent, and the parent's operation.
    pub parent: Option<(Uuid, Key)>,
    /// The executor's life that owns it.
    pub owner: Option<Uuid>,
    /// When it wakes by itself.
    pub wake_at: Option<Time>,
    /// How many messages it ever got.
    pub mail: i64,
    /// How often it crashed without progress.
    pub crashes: i64,
    /// Why it is parked.
    pub parked: Option<(String, String)>,
    /// When it was created.
    pub created_at: Time,
    /// When it ended.
    pub finished_at: Option<Time>,
}

impl Run {
    /// Whether it has ended for ever.
    pub fn is_terminal(&self) -> bool {
        is_terminal(&self.status)
    }
}

/// Whether a stored status is the end.
pub fn is_terminal(status: &str) -> bool {
    matches!(status, "completed" | "failed" | "cancelled")
}

/// An entry of a journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its position.
    pub position: i64,
    /// Its operation.
    pub key: Key,
    /// `asked`, `retry`, `ok`, `failed`.
    pub phase: String,
    /// The tag of the payload's codec.
    pub codec: i64,
    /// The payload.
    pub payload: Vec<u8>,
    /// A number that belongs to it.
    pub mark: Option<i64>,
    /// When it was recorded.
    pub recorded_at: Time,
    /// When that was committed, by the database itself, where it knows.
    pub committed_at: Option<Time>,
}

impl Entry {
    /// Whether the operation is over.
    pub fn is_outcome(&self) -> bool {
        matches!(self.phase.as_str(), "ok" | "failed")
    }

    /// The payload, if it is JSON.
    pub fn json(&self) -> Option<serde_json::Value> {
        (self.codec == 0).then(|| serde_json::from_slice(&self.payload).ok()).flatten()
    }
}

/// A message in an inbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// From 1 per run.
    pub seq: i64,
    /// The operation it is for.
    pub key: Key,
    /// `ok` or `failed`.
    pub phase: String,
    /// The event's seq, if it brings one.
    pub mark: Option<i64>,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its key, or empty.
    pub key: String,
    /// From 1 per topic.
    pub seq: i64,
    /// Its id.
    pub id: Uuid,
    /// Its payload.
    pub payload: Vec<u8>,
    /// When it was emitted.
    pub emitted_at: Time,
    /// Until when it is kept.
    pub expires_at: Time,
}

/// A run that waits for an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// The run.
    pub run: Uuid,
    /// Its operation.
    pub key: Key,
    /// The event's name.
    pub topic_name: String,
    /// The event's key, or empty.
    pub topic_key: String,
    /// Only events with a higher seq.
    pub after: i64,
}

/// A life of an executor.
#[derive(Debug, Clone, PartialEq)]
pub struct Executor {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Whether nobody has declared it dead or closed.
    pub alive: bool,
    /// Its lease.
    pub lease_until: Time,
}

/// A row that a transaction of a workload wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The run.
    pub run: Uuid,
    /// The transaction's name.
    pub step: String,
    /// The how-manieth of that name.
    pub nth: i64,
    /// The body that wrote it.
    pub token: i64,
    /// The account that was changed, or 0.
    pub account: i64,
    /// By how much.
    pub amount: i64,
}

impl Dump {
    /// Reads `postgres:..` or `sqlite:..`.
    ///
    /// # Errors
    ///
    /// [`DumpError`].
    pub async fn read(url: &str) -> Result<Self, DumpError> {
        match url.split(':').next().unwrap_or_default() {
            "postgres" | "postgresql" => postgres::read(url).await,
            "sqlite" => sqlite::read(url).await,
            _ => Err(DumpError::Url(url.split("//").next().unwrap_or_default().to_owned())),
        }
    }

    /// The journal of a run.
    pub fn journal(&self, run: Uuid) -> &[Entry] {
        self.journals.get(&run).map_or(&[], Vec::as_slice)
    }
}

/// The journal of one run, for [`Record::Journal`](crate::record::Record::Journal).
///
/// # Errors
///
/// [`DumpError`].
pub async fn journal(url: &str, run: Uuid) -> Result<Vec<Entry>, DumpError> {
    match url.split(':').next().unwrap_or_default() {
        "postgres" | "postgresql" => postgres::journal(url, run).await,
        "sqlite" => sqlite::journal(url, run).await,
        _ => Err(DumpError::Url(url.split("//").next().unwrap_or_default().to_owned())),
    }
}

/// A digest of each prefix of a journal: 16 hexadecimal digits, the first of the first entry alone.
pub fn prefixes(journal: &[Entry]) -> Vec<String> {
    let mut before = Vec::new();
    let digest = |entry: &Entry| {
        let mut hash = Sha256::new();
        hash.update(&before);
        for part in [&entry.key.kind, &entry.key.name, &entry.phase] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(entry.position.to_le_bytes());
        hash.update(entry.key.nth.to_le_bytes());
        hash.update(entry.codec.to_le_bytes());
        hash.update(entry.mark.unwrap_or(i64::MIN).to_le_bytes());
        hash.update(entry.recorded_at.timestamp_micros().to_le_bytes());
        hash.update(&entry.payload);
        before = hash.finalize().to_vec();
        before[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    journal.iter().map(digest).collect()
}
