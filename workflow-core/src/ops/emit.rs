//! `ctx.emit`: tells everyone who waits, and everyone who will.

use std::panic::Location;

use serde::Serialize;
use uuid::Uuid;

use super::{Effect, Operation, unit};
use crate::ctx::Ctx;
use crate::failure::Failure;
use crate::ids::{RunId, check_id};
use crate::journal::OpKey;
use crate::leaf::Op;
use crate::payload::Payload;
use crate::store::NewEvent;

/// An emission of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Emit {
    run: RunId,
    event: NewEvent,
}

impl Operation for Emit {
    const KIND: &'static str = "emit";

    fn name(&self) -> &str {
        &self.event.name
    }

    fn asked(&self) -> Option<Payload> {
        Some(unit())
    }

    fn immediate(&self) -> bool {
        true
    }

    fn binding(&self) -> bool {
        true
    }

    fn effect(&self, key: &OpKey) -> Effect {
        // The id makes it the same event when the turn is made again after a crash.
        let id = RunId::child(self.run, &key.to_string(), crate::Timestamp::UNIX_EPOCH).0;
        Effect::Emit(NewEvent { id, ..self.event.clone() })
    }
}

impl Ctx {
    /// Emits the event `name` with `payload` to every run that waits for it, and keeps it for runs that will
    /// (7 days by default). [`Op::key`] restricts it to waiters with that key.
    ///
    /// # Replay
    ///
    /// Emitted once; a recorded emission isn't repeated.
    ///
    /// # Errors
    ///
    /// A failure of kind `Cancelled` when the run is cancelled, of kind `Misuse` for a bad name or a payload that
    /// can't be encoded or is too large.
    ///
    /// # Cancel safety
    ///
    /// The event is emitted even if the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # use workflow_core::{Ctx, Result};
    /// async fn ship(ctx: Ctx, order: u32) -> Result<()> {
    ///     ctx.emit("shipped", &order).key(order.to_string()).await
    /// }
    /// ```
    #[track_caller]
    pub fn emit<P: Serialize + ?Sized>(&self, name: &str, payload: &P) -> Op<()> {
        let options = self.inner.env.options();
        let encoded = Payload::encode(options.codec, payload, options.max_payload_bytes);
        let event = NewEvent {
            id: Uuid::nil(),
            name: name.to_owned(),
            key: String::new(),
            payload: encoded.as_ref().cloned().unwrap_or_default(),
            retain: options.retain,
        };
        let command = Emit { run: self.run_id(), event };
        let mut leaf = self.register_named(Location::caller(), "event", name, command);
        if let Err(error) = encoded {
            leaf.refuse(Failure::misuse(error));
        }
        Op::new(leaf)
    }
}

impl Op<()> {
    /// Emits to the waiters with this key only. Set where the operation is made; only events have keys.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        let key = key.into();
        self.leaf.configure(|command| match command {
            super::Command::Emit(emit) => {
                check_id("event key", &key).map_err(Failure::misuse)?;
                emit.event.key = key;
                Ok(())
            }
            _ => Err(Failure::misuse("only events have a key")),
        });
        self
    }
}
