//! `ctx.wait_for_event`: until somebody emits it, or a timeout.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Command, Due, Effect, Operation, check_duration, micros, request};
use crate::ctx::Ctx;
use crate::failure::{Failure, FailureKind};
use crate::ids::check_id;
use crate::journal::{OpKey, Phase};
use crate::leaf::Op;
use crate::payload::Payload;
use crate::store::Subscription;

/// A wait for an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Wait {
    name: String,
    key: String,
    after: u64,
    timeout: Option<Duration>,
}

#[derive(Serialize, Deserialize)]
struct Asked {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    key: String,
    after: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_us: Option<i64>,
}

impl Wait {
    pub(crate) fn topic(&self) -> (String, String) {
        (self.name.clone(), self.key.clone())
    }
}

impl Operation for Wait {
    const KIND: &'static str = "event";

    fn name(&self) -> &str {
        &self.name
    }

    fn asked(&self) -> Option<Payload> {
        Some(request(&Asked { key: self.key.clone(), after: self.after, timeout_us: self.timeout.map(micros) }))
    }

    fn check(&self, recorded: &Payload) -> Result<(), String> {
        let recorded: Asked = super::recorded(recorded)?;
        if recorded.key == self.key {
            return Ok(());
        }
        Err(format!("event {} with key {:?} (the code waits for key {:?})", self.name, recorded.key, self.key))
    }

    fn effect(&self, key: &OpKey) -> Effect {
        Effect::Subscribe(Subscription {
            name: self.name.clone(),
            key: self.key.clone(),
            after: self.after,
            op: key.clone(),
        })
    }

    fn due(&self) -> Option<Due> {
        self.timeout.map(Due::After)
    }

    fn at_due(&self) -> (Phase, Payload) {
        let seconds = self.timeout.unwrap_or_default().as_secs_f64();
        let message = format!("event {} did not come within {seconds} s", self.name);
        (Phase::Failed, Failure::of(FailureKind::TimedOut, message).to_payload())
    }

    fn subscribed(&self) -> bool {
        true
    }
}

impl Ctx {
    /// Waits for the event `name`.
    ///
    /// An event that was emitted earlier and is still kept (7 days by default) counts; events that this run has
    /// already received under the same name and key don't, so that waiting in a loop gives one after the other, in
    /// the order in which they were emitted. Every waiter gets every event.
    ///
    /// [`EventWait::key`] waits for events with that key only; [`EventWait::timeout`] bounds the wait.
    ///
    /// # Replay
    ///
    /// The recorded event, or the recorded timeout.
    ///
    /// # Errors
    ///
    /// A failure of kind `TimedOut` after the timeout ([`Failure::is_timeout`]), of kind `Cancelled` when the run is
    /// cancelled, of kind `Misuse` for a bad name or key. A payload of another type parks the run.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the wait: an event that came meanwhile is given to the next wait of this run.
    ///
    /// # Examples
    ///
    /// ```
    /// # use workflow_core::{Ctx, Result};
    /// # use std::time::Duration;
    /// async fn approve(ctx: Ctx, order: u32) -> Result<bool> {
    ///     let day = Duration::from_secs(24 * 3600);
    ///     match ctx.wait_for_event::<bool>("decision").key(order.to_string()).timeout(day).await {
    ///         Err(failure) if failure.is_timeout() => Ok(false),
    ///         decision => decision,
    ///     }
    /// }
    /// ```
    #[track_caller]
    pub fn wait_for_event<T: DeserializeOwned>(&self, name: &str) -> EventWait<T> {
        let after = self.cursor(name, "");
        let command = Wait { name: name.to_owned(), key: String::new(), after, timeout: None };
        EventWait(Op::new(self.register_named(Location::caller(), "event", name, command)))
    }

    fn cursor(&self, name: &str, key: &str) -> u64 {
        let table = self.inner.table.borrow();
        if table.cursors.is_empty() {
            return 0;
        }
        table.cursors.get(&(name.to_owned(), key.to_owned())).copied().unwrap_or(0)
    }
}

/// A wait for an event, as a future of its payload. Made by [`Ctx::wait_for_event`].
#[derive(Debug)]
#[must_use = "an event that is never awaited is never received"]
pub struct EventWait<T>(Op<T>);

impl<T> EventWait<T> {
    /// Only events with this key: any text of 1 to 200 bytes.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        let key = key.into();
        let inner = self.0.leaf.inner.clone();
        self.0.leaf.configure(|command| {
            let Command::Wait(wait) = command else { return Ok(()) };
            check_id("event key", &key).map_err(Failure::misuse)?;
            // `configure` holds the table: the cursor is looked up when it is free again.
            wait.key = key;
            Ok(())
        });
        if let Ok(index) = self.0.leaf.op {
            let mut table = inner.table.borrow_mut();
            let topic = match &table.ops[index].command {
                Command::Wait(wait) => wait.topic(),
                _ => return self,
            };
            let after = table.cursors.get(&topic).copied().unwrap_or(0);
            if let Command::Wait(wait) = &mut table.ops[index].command {
                wait.after = after;
            }
        }
        self
    }

    /// Gives up after `timeout`, by the store's clock, with a failure of kind `TimedOut`. At most 100 years.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.leaf.configure(|command| {
            check_duration("a timeout", timeout)?;
            if let Command::Wait(wait) = command {
                wait.timeout = Some(timeout);
            }
            Ok(())
        });
        self
    }
}

impl<T: DeserializeOwned> Future for EventWait<T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}
