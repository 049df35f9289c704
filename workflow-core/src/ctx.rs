//! The context that a workflow's code talks to.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::env::{Env, Notify};
use crate::failure::Failure;
use crate::ids::{RunId, Timestamp, check_name};
use crate::leaf::Leaf;
use crate::ops::Command;
use crate::table::{Op, Table};

/// What a run is told about itself.
#[derive(Debug, Clone)]
pub struct RunInfo {
    /// Its id.
    pub id: RunId,
    /// The name of its workflow.
    pub workflow: String,
    /// The version of its workflow.
    pub version: i32,
    /// Its queue.
    pub queue: String,
    /// 0 for a run from outside, one more than its parent for a child.
    pub depth: i32,
    /// When it was created.
    pub created_at: Timestamp,
    /// Where its workflow is defined: `file:line`.
    pub place: &'static str,
}

pub(crate) struct Inner {
    pub info: RunInfo,
    pub env: Arc<dyn Env>,
    pub notify: Notify,
    pub table: RefCell<Table>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {} of {}", self.info.id, self.info.workflow)
    }
}

/// What a workflow's code talks to: every operation is a method on it.
///
/// Clones are the same context. It isn't `Send`: a workflow lives on one thread, and its operations can't be moved
/// into `tokio::spawn`.
#[derive(Clone)]
pub struct Ctx {
    pub(crate) inner: Rc<Inner>,
    pub(crate) scope: Rc<str>,
    pub(crate) shielded: bool,
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ctx({:?})", self.inner)
    }
}

impl Ctx {
    pub(crate) fn new(inner: Rc<Inner>) -> Self {
        Self { inner, scope: Rc::from(""), shielded: false }
    }

    /// The id of this run.
    ///
    /// # Replay
    ///
    /// Always the same.
    pub fn run_id(&self) -> RunId {
        self.inner.info.id
    }

    /// The name of this run's workflow.
    ///
    /// # Replay
    ///
    /// Always the same.
    pub fn workflow_name(&self) -> &str {
        &self.inner.info.workflow
    }

    /// The version of this run's workflow.
    ///
    /// # Replay
    ///
    /// Always the same.
    pub fn workflow_version(&self) -> i32 {
        self.inner.info.version
    }

    /// The time of the run's last progress, by the store's clock: when the last outcome that this code has seen was
    /// recorded, or when the run was created.
    ///
    /// It stands still between two operations. To measure how long something takes, or for a fresher time, take the
    /// time in a step.
    ///
    /// # Replay
    ///
    /// The same at the same place; nothing is recorded for it.
    pub fn now(&self) -> Timestamp {
        self.inner.table.borrow().now
    }

    /// A uniformly random number, the same on every replay.
    ///
    /// It is derived from the run's id, the number of outcomes seen, the [`scope`](Ctx::scope) and the number of calls
    /// in it since the last outcome (SHA-256), so it is no secret: keys and tokens belong into a step. Branches of a
    /// `tokio::select!`, which polls them in random order, draw from scopes of their own.
    ///
    /// # Replay
    ///
    /// The same at the same place; nothing is recorded for it.
    pub fn random(&self) -> u64 {
        let bytes = self.random_bytes();
        u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
    }

    /// A random UUID (version 4), the same on every replay.
    ///
    /// # Replay
    ///
    /// The same at the same place; nothing is recorded for it.
    pub fn uuid(&self) -> Uuid {
        let bytes = self.random_bytes();
        let mut half = [0u8; 16];
        half.copy_from_slice(&bytes[..16]);
        uuid::Builder::from_random_bytes(half).into_uuid()
    }

    fn random_bytes(&self) -> [u8; 32] {
        let mut table = self.inner.table.borrow_mut();
        if table.in_body {
            // A body's outcome is journaled, so what it draws needn't be repeatable, and mustn't move the sequence.
            return Sha256::digest(crate::random::bits().to_le_bytes()).into();
        }
        let drawn = table.randoms.entry(self.scope.clone()).or_insert(0);
        *drawn += 1;
        let drawn = *drawn;
        let mut hash = Sha256::new();
        hash.update(self.inner.info.id.0.as_bytes());
        hash.update(self.scope.as_bytes());
        hash.update(table.releases.to_le_bytes());
        hash.update(drawn.to_le_bytes());
        hash.finalize().into()
    }

    /// Whether this code is running over recorded ground: everything it sees now it has seen before.
    ///
    /// For logging and metrics only; a workflow that decides by it diverges.
    pub fn is_replaying(&self) -> bool {
        self.inner.table.borrow().replaying
    }

    /// Whether a cancellation of this run has been seen.
    ///
    /// # Replay
    ///
    /// The same at the same place.
    pub fn is_cancelled(&self) -> bool {
        self.inner.table.borrow().cancelled
    }

    /// The application's state of type `S`, as given to the executor's `state(..)`.
    ///
    /// Use it in steps: outside of them, what it holds isn't recorded.
    ///
    /// # Panics
    ///
    /// When the executor has no state of this type; the run (or the step) fails with a message that says so.
    pub fn state<S: Send + Sync + 'static>(&self) -> Arc<S> {
        state(&*self.inner.env)
    }

    /// A context whose operations are named within `scope`: `scope/name`.
    ///
    /// Helpers that run several times side by side keep their steps apart with it.
    ///
    /// # Panics
    ///
    /// When `scope` isn't a valid name.
    #[track_caller]
    pub fn scope(&self, scope: impl AsRef<str>) -> Ctx {
        let scope = scope.as_ref();
        if let Err(error) = check_name("scope", scope) {
            panic!("{error}");
        }
        let path = if self.scope.is_empty() { scope.to_owned() } else { format!("{}/{scope}", self.scope) };
        Ctx { scope: path.into(), ..self.clone() }
    }

    /// A context whose operations a cancellation of the run leaves alone: for what must be put in order afterwards.
    ///
    /// ```
    /// # use workflow_core::{Ctx, Result};
    /// async fn guarded(ctx: Ctx) -> Result<()> {
    ///     let work = ctx.sleep(std::time::Duration::from_secs(3600)).await;
    ///     if work.is_err() {
    ///         ctx.shield().step("release", async || Ok(())).await?;
    ///     }
    ///     work
    /// }
    /// ```
    pub fn shield(&self) -> Ctx {
        Ctx { shielded: true, ..self.clone() }
    }

    /// Registers an operation: it is identified at the end of the current poll.
    pub(crate) fn register(&self, site: &'static Location<'static>, command: impl Into<Command>) -> Leaf {
        let command = command.into();
        let misuse = |failure| Leaf { inner: self.inner.clone(), op: Err(Some(failure)) };
        let mut table = self.inner.table.borrow_mut();
        if table.in_body {
            return misuse(Failure::misuse(format!(
                "a durable operation ({}) inside a step's body at {}:{}: move it out of the step",
                command.kind(),
                site.file(),
                site.line()
            )));
        }
        let options = self.inner.env.options();
        if table.open >= options.max_pending {
            return misuse(Failure::misuse(format!(
                "more than {} operations are pending at {}:{}: await some before asking for more, or raise `max_pending`",
                options.max_pending,
                site.file(),
                site.line()
            )));
        }
        let index = table.ops.len();
        table.ops.push(Op {
            command,
            site,
            scope: self.scope.clone(),
            shielded: self.shielded,
            key: None,
            asked_at: None,
            retries: 0,
            retry_at: None,
            outcome: None,
            settled: false,
            resolved: false,
            dropped: false,
            awaited: false,
            awaits_permission: false,
            open: false,
            running: false,
            withdrawn: false,
            waker: None,
        });
        table.fresh.push(index);
        table.open += 1;
        drop(table);
        Leaf { inner: self.inner.clone(), op: Ok(index) }
    }

    /// Registers an operation with a name that the user gave.
    pub(crate) fn register_named(
        &self,
        site: &'static Location<'static>,
        what: &'static str,
        name: &str,
        command: impl Into<Command>,
    ) -> Leaf {
        let mut leaf = self.register(site, command);
        let scoped = self.scope.len() + name.len() + 1;
        if let Err(error) = check_name(what, name) {
            leaf.refuse(Failure::misuse(error));
        } else if !self.scope.is_empty() && scoped > crate::ids::MAX_NAME_BYTES {
            leaf.refuse(Failure::misuse(format!("{what} {name:?} with its scope has {scoped} bytes, more than 200")));
        }
        leaf
    }
}

/// The application's state of type `S`.
pub(crate) fn state<S: Send + Sync + 'static>(env: &dyn Env) -> Arc<S> {
    let found: Option<Arc<dyn Any + Send + Sync>> = env.state(TypeId::of::<S>());
    match found.and_then(|any| any.downcast::<S>().ok()) {
        Some(state) => state,
        None => panic!(
            "no application state of type {}: give it to the executor with `.state(value)`",
            std::any::type_name::<S>()
        ),
    }
}
