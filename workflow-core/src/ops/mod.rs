//! The list of operations: what a workflow may ask for.
//!
//! An operation is a file here with a struct that implements [`Operation`] and a method on [`Ctx`](crate::Ctx) that
//! makes one. The list at the end of this file is the only other place that knows it.

use std::time::Duration;

use crate::failure::Failure;
use crate::ids::Timestamp;
use crate::journal::{OpKey, Phase};
use crate::payload::Payload;
use crate::store::{NewEvent, NewRun, Subscription};

/// The kind of the entry that records a cancellation. It belongs to no operation.
pub const CANCEL: &str = "cancel";

/// What has to happen in the transaction that records a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Effect {
    /// Nothing.
    #[default]
    None,
    /// A child is created.
    Start(Box<NewRun>),
    /// The run subscribes to an event.
    Subscribe(Subscription),
    /// An event is emitted.
    Emit(NewEvent),
}

/// When the store's clock ends an operation by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Due {
    /// At an instant.
    At(Timestamp),
    /// This long after its request was recorded.
    After(Duration),
}

/// One kind of operation.
pub trait Operation: Sized {
    /// The stored word for it.
    const KIND: &'static str;

    /// The name in its identity; empty when its kind says it all.
    fn name(&self) -> &str {
        ""
    }

    /// What is recorded when the code asks for it. `None`: only its outcome is.
    fn asked(&self) -> Option<Payload> {
        None
    }

    /// Whether a recorded request is this one; else the sentence that says what is recorded instead.
    fn check(&self, _recorded: &Payload) -> Result<(), String> {
        Ok(())
    }

    /// Whether recording the request is its end: [`Operation::asked`] is the outcome then.
    fn immediate(&self) -> bool {
        false
    }

    /// Whether asking for it does something even if its future is dropped at once.
    fn binding(&self) -> bool {
        false
    }

    /// What happens together with the recording.
    fn effect(&self, _key: &OpKey) -> Effect {
        Effect::None
    }

    /// When the clock ends it.
    fn due(&self) -> Option<Due> {
        None
    }

    /// The outcome when the clock ends it.
    fn at_due(&self) -> (Phase, Payload) {
        (Phase::Failed, Failure::of(crate::FailureKind::TimedOut, "timed out").to_payload())
    }

    /// Whether a subscription is left over when the code stops waiting for it.
    fn subscribed(&self) -> bool {
        false
    }

    /// The child that a cancellation goes to, if it has one.
    fn child(&self, _key: &OpKey) -> Option<crate::RunId> {
        None
    }
}

/// Makes the enum of all operations, and hands each method on to the operation.
macro_rules! operations {
    ($($module:ident :: $name:ident),* $(,)?) => {
        $(pub mod $module;)*

        /// What the code asks for.
        #[derive(Debug, Clone)]
        pub enum Command {
            $(#[doc = concat!("See [`", stringify!($module), "::", stringify!($name), "`].")] $name($module::$name),)*
        }

        $(impl From<$module::$name> for Command {
            fn from(operation: $module::$name) -> Self {
                Command::$name(operation)
            }
        })*

        /// The stored words of all operations.
        pub const KINDS: &[&str] = &[$($module::$name::KIND),*];

        impl Command {
            pub(crate) fn kind(&self) -> &'static str {
                match self { $(Command::$name(_) => $module::$name::KIND,)* }
            }
            pub(crate) fn name(&self) -> &str {
                match self { $(Command::$name(o) => o.name(),)* }
            }
            pub(crate) fn asked(&self) -> Option<Payload> {
                match self { $(Command::$name(o) => o.asked(),)* }
            }
            pub(crate) fn check(&self, recorded: &Payload) -> Result<(), String> {
                match self { $(Command::$name(o) => o.check(recorded),)* }
            }
            pub(crate) fn immediate(&self) -> bool {
                match self { $(Command::$name(o) => o.immediate(),)* }
            }
            pub(crate) fn binding(&self) -> bool {
                match self { $(Command::$name(o) => o.binding(),)* }
            }
            pub(crate) fn effect(&self, key: &OpKey) -> Effect {
                match self { $(Command::$name(o) => o.effect(key),)* }
            }
            pub(crate) fn due(&self) -> Option<Due> {
                match self { $(Command::$name(o) => o.due(),)* }
            }
            pub(crate) fn at_due(&self) -> (Phase, Payload) {
                match self { $(Command::$name(o) => o.at_due(),)* }
            }
            pub(crate) fn subscribed(&self) -> bool {
                match self { $(Command::$name(o) => o.subscribed(),)* }
            }
            pub(crate) fn child(&self, key: &OpKey) -> Option<crate::RunId> {
                match self { $(Command::$name(o) => o.child(key),)* }
            }
        }
    };
}

operations! {
    step::Step,
    transaction::Transaction,
    sleep::Sleep,
    sleep_until::SleepUntil,
    invoke::Invoke,
    wait::Wait,
    emit::Emit,
}

/// The value recorded for operations that have none.
pub(crate) fn unit() -> Payload {
    Payload { codec: 0, bytes: b"null".to_vec() }
}

/// Reads a recorded request.
pub(crate) fn recorded<T: serde::de::DeserializeOwned>(payload: &Payload) -> Result<T, String> {
    payload.decode().map_err(|e| format!("a request that can't be read ({e})"))
}

/// Encodes a request: plain data that always can be.
pub(crate) fn request<T: serde::Serialize>(value: &T) -> Payload {
    Payload { codec: 0, bytes: serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec()) }
}

/// Checks a duration that the user gave.
pub(crate) fn check_duration(what: &str, duration: Duration) -> Result<(), Failure> {
    if duration > crate::retry::MAX_DURATION {
        let years = duration.as_secs() / (365 * 24 * 3600);
        return Err(Failure::misuse(format!("{what} of {years} years is more than the limit of 100 years")));
    }
    Ok(())
}

/// Microseconds of a checked duration, rounded up, so that nothing is early.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(i64::MAX)
}
