//! What the ledger holds: one [`Line`] of JSON for each [`Record`].
//!
//! A record is evidence of one thing that one party saw. What is recorded *before* it is done (a call that is asked, a
//! body that starts, an effect) proves that it may have happened; what is recorded *after* it, that it has.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An instant, in microseconds.
pub type Time = DateTime<Utc>;

/// A record with its place in the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// From 1, without gaps. A record that was acknowledged before another was sent has the lower one.
    pub seq: u64,
    /// The ledger's own clock, which never jumps, in microseconds.
    pub mono_us: u64,
    /// The ledger's wall time when it took the record.
    pub at: Time,
    /// Who sent it.
    pub from: String,
    /// The sender's wall time just before it sent the record: earlier than `at` by long when it was frozen in between.
    /// As wrong as the sender's clock.
    pub sent_at: Time,
    /// What is recorded.
    pub record: Record,
}

/// One operation of a run: its kind, name (with its scope) and the how-manieth of that name it is, as in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Step {
    /// The run.
    pub run: Uuid,
    /// `step` or `transaction`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// 1 for the first of its name.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub nth: u32,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_one(n: &u32) -> bool {
    *n == 1
}

impl Step {
    /// The first step of that name.
    pub fn new(run: Uuid, name: impl Into<String>) -> Self {
        Self { run, kind: "step".to_owned(), name: name.into(), nth: 1 }
    }

    /// The first transaction of that name.
    pub fn transaction(run: Uuid, name: impl Into<String>) -> Self {
        Self { run, kind: "transaction".to_owned(), name: name.into(), nth: 1 }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)?;
        if self.nth > 1 { write!(f, " #{}", self.nth) } else { Ok(()) }
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// A run, to exist.
    Invoke {
        /// The user's own id.
        id: Option<String>,
        /// The workflow's name.
        workflow: String,
        /// A digest of the input: equal for equal inputs. Any function will do, as long as it is always the same.
        input: String,
    },
    /// An event, to everyone who waits for it.
    Emit {
        /// Its name.
        name: String,
        /// Its key, or empty.
        key: String,
        /// What no other event has: the payload is this string, or an object whose field `token` is it.
        token: String,
    },
    /// A run, to end.
    Cancel {
        /// The run.
        run: Uuid,
    },
    /// A run's outcome.
    Result {
        /// The run.
        run: Uuid,
    },
    /// What the store knows about a run.
    Status {
        /// The run.
        run: Uuid,
    },
}

/// What a client was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// It was done, and this is what came of it.
    Ok {
        /// What came of it.
        reply: Reply,
    },
    /// It was refused, and nothing was done.
    Failed {
        /// The stable code.
        code: String,
    },
    /// Nobody knows: the connection was lost, the caller gave up or was killed. A call without any answer counts as one
    /// with this.
    Unknown {
        /// Why.
        why: String,
    },
}

/// What came of a call that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Of an invocation: the run.
    Run {
        /// Its id.
        run: Uuid,
    },
    /// Of an emission or a cancellation.
    Done,
    /// Of a look at a run, or of waiting for its result.
    Seen {
        /// What was seen.
        #[serde(flatten)]
        status: Observation,
    },
}

/// What a reader saw of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// `ready`, `running`, `waiting`, `completed`, `failed`, `cancelled` or `parked`.
    pub status: String,
    /// A digest of its output or failure, once it has ended: equal for equal outcomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// What a fault did to whom it hit: decides which runs and steps it excuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hit {
    /// A process was killed (F1). Recorded before the signal.
    Kill,
    /// A process was frozen (F2). Recorded *before* the signal, so that no record of it can be missed.
    Freeze,
    /// A frozen process goes on. Recorded *before* the signal.
    Thaw,
    /// A process was asked to end in good order (F12). Recorded before the signal.
    Terminate,
    /// Connections were disturbed (F4, F5).
    Connection,
    /// The database crashed, restarted, went read-only or full (F3, F7, F8).
    Database,
    /// A statement got an error (F6).
    Statement,
    /// Notifications were lost, doubled or late (F10).
    Notification,
    /// A process's clock is off (F9): its `sent_at` means nothing.
    Clock,
    /// Anything else.
    Other,
}

/// What happened in the life of an executor's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "life", rename_all = "snake_case")]
pub enum Life {
    /// The process began.
    Born,
    /// It learned that its lease is lost, or begins a new life under another id for any other reason.
    LeaseLost,
    /// The process is gone.
    Exited {
        /// Whether it ended in good order, with everything handed over.
        graceful: bool,
    },
}

/// What was found in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// A panic that no workload asked for.
    Panic,
    /// The secret that is in the payloads.
    Secret,
}

/// One thing that one party saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// How the campaign is run: the first record.
    Campaign {
        /// The seed of everything random.
        seed: u64,
        /// The command that repeats it.
        command: String,
        /// `postgres` or `sqlite`.
        store: String,
        /// The executors' lease.
        lease_ms: u64,
    },
    /// What all accounts held at the beginning: `(account, balance)`.
    Accounts {
        /// The accounts.
        balances: Vec<(i64, i64)>,
    },
    /// A client is about to call.
    Asked {
        /// Joins it with its answer.
        call: Uuid,
        /// What it asks for.
        op: Op,
    },
    /// A client was told.
    Answered {
        /// The call.
        call: Uuid,
        /// What it was told.
        answer: Answer,
    },
    /// A reader saw a run by other means than a call.
    Observed {
        /// The run.
        run: Uuid,
        /// What it saw.
        #[serde(flatten)]
        status: Observation,
    },
    /// A body begins: sent before it does anything. The `seq` of this record is the body's id.
    BodyStarted {
        /// Which step.
        step: Step,
        /// The attempt's number as the body was told, or 0 when it wasn't.
        attempt: u32,
        /// The idempotency key as the body was told, or nothing when it wasn't.
        key: String,
        /// The process: a name that is never used by a later life.
        process: String,
        /// Whether it cleans up under a shield after a cancellation.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cleanup: bool,
    },
    /// A body has its effect: sent when the effect is certain to be made, before it is made.
    BodyEffect {
        /// The body.
        body: u64,
        /// What it does.
        what: String,
    },
    /// A body is about to return.
    BodyEnded {
        /// The body.
        body: u64,
        /// Whether with a value.
        ok: bool,
    },
    /// Rows that a transactional body has written and not yet committed. They are in the table `chaos_effect` with
    /// `token` = the body's id.
    TxWrote {
        /// The body.
        body: u64,
        /// `(account, amount)`, a row each; an effect without money is `(0, 0)`.
        rows: Vec<(i64, i64)>,
    },
    /// A run is about to sleep: the body before the sleep read the database's clock.
    TimerAsked {
        /// The run.
        run: Uuid,
        /// The timer: a name of its own within the run.
        timer: String,
        /// How long.
        for_us: i64,
        /// The database's time.
        db_at: Time,
    },
    /// A run has slept: the body after the sleep read the database's clock.
    TimerFired {
        /// The run.
        run: Uuid,
        /// The timer.
        timer: String,
        /// The database's time.
        db_at: Time,
    },
    /// A body of the run emitted the event before it, or is about to.
    Emitted {
        /// The run.
        run: Uuid,
        /// The event's name.
        name: String,
        /// Its key, or empty.
        key: String,
        /// As in [`Op::Emit`].
        token: String,
    },
    /// A run got an event.
    Received {
        /// The run.
        run: Uuid,
        /// The event's name.
        name: String,
        /// Its key, or empty.
        key: String,
        /// As in [`Op::Emit`].
        token: String,
    },
    /// A run got a child's outcome.
    ChildEnded {
        /// The parent.
        parent: Uuid,
        /// The child.
        child: Uuid,
        /// Whether it ended well.
        ok: bool,
    },
    /// A run was told that it is cancelled, and goes on to run this step under a shield.
    CleanupBegun {
        /// The step.
        step: Step,
    },
    /// The journal of a run, as a reader saw it.
    Journal {
        /// The run.
        run: Uuid,
        /// A digest of each prefix, beginning with that of length 1: see `dump::prefixes`.
        prefixes: Vec<String>,
    },
    /// A fault landed.
    Fault {
        /// `F1` to `F13`.
        class: String,
        /// What it did.
        hit: Hit,
        /// The process that it hit, if it was one.
        process: Option<String>,
        /// For people: what exactly.
        note: String,
    },
    /// No fault begins after this, and all that lasted are over.
    FaultsStopped,
    /// Something happened in the life of an executor's process.
    Executor {
        /// The process.
        process: String,
        /// What.
        #[serde(flatten)]
        life: Life,
    },
    /// A place within a limit was taken.
    PlaceTaken {
        /// The limit.
        limit: String,
        /// How many places it has.
        most: u32,
        /// Who took it.
        holder: String,
        /// Its process: its death frees the place.
        process: String,
    },
    /// A place within a limit is about to be free.
    PlaceLeft {
        /// The limit.
        limit: String,
        /// Who had it.
        holder: String,
    },
    /// A schedule is there: these are the ticks it must have.
    Schedule {
        /// Its name.
        schedule: String,
        /// Its ticks.
        ticks: Vec<Time>,
    },
    /// A run began for a tick.
    Tick {
        /// The schedule.
        schedule: String,
        /// The tick.
        tick: Time,
        /// The run.
        run: Uuid,
    },
    /// A measurement of a soak.
    Gauge {
        /// Of which process.
        process: String,
        /// Of what: `connections`, `tasks`, `files`, `memory_bytes`, ..
        what: String,
        /// How much.
        value: f64,
    },
    /// An error that a party saw.
    ErrorSeen {
        /// The process.
        process: String,
        /// The stable code.
        code: String,
    },
    /// Something was found in a log.
    LogFound {
        /// Whose log.
        process: String,
        /// What.
        finding: Finding,
        /// The line, without the secret.
        line: String,
    },
    /// For people.
    Note {
        /// The text.
        text: String,
    },
}
