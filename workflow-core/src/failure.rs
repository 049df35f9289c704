//! What the user's code fails with: data that is stored, shown and sent to parents, not our own error.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::{self, Refusal};
use crate::payload::{Payload, PayloadError};

/// The result of steps, operations and workflows.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why something failed, as far as the engine can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The user's code returned an error.
    Failed,
    /// The user's code panicked.
    Panicked,
    /// A wait or a step took longer than its timeout.
    TimedOut,
    /// The run was cancelled.
    Cancelled,
    /// An operation was used in a way that can't work.
    Misuse,
}

impl FailureKind {
    /// The stable code of this kind, for logs, CLI and dashboard.
    pub const fn code(self) -> &'static str {
        match self {
            FailureKind::Failed => "FAILED",
            FailureKind::Panicked => "PANICKED",
            FailureKind::TimedOut => "TIMED_OUT",
            FailureKind::Cancelled => "CANCELLED",
            FailureKind::Misuse => "MISUSE",
        }
    }
}

/// A failure of a step, a child or a run, with everything that is kept of it.
///
/// Any [`std::error::Error`] converts into it with `?`; its chain of sources is kept as text. It is retryable unless
/// made with [`Failure::fatal`]. (It doesn't implement `std::error::Error` itself: that is what makes the conversion
/// from every error possible. [`Failure::into_error`] gives one that does.)
///
/// ```
/// use workflow_core::Failure;
/// fn parse(s: &str) -> Result<u32, Failure> {
///     Ok(s.parse::<u32>()?)
/// }
/// assert_eq!(parse("x").unwrap_err().message(), "invalid digit found in string");
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct Failure {
    kind: FailureKind,
    message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    retryable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<Duration>,
    /// The error it was made from: in memory only.
    #[serde(skip)]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl PartialEq for Failure {
    // Two failures are equal when the same is stored of them.
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.message, &self.causes, &self.details, self.retryable, self.retry_after)
            == (other.kind, &other.message, &other.causes, &other.details, other.retryable, other.retry_after)
    }
}

fn yes() -> bool {
    true
}

/// The most levels of arrays and objects in details: JSON is read up to 127, and a failure may be inside of others.
const MAX_DETAILS_DEPTH: usize = 100;

impl Failure {
    /// A retryable failure with this message.
    pub fn new(message: impl fmt::Display) -> Self {
        Self::of(FailureKind::Failed, message)
    }

    /// A failure that is never retried: the step fails at once.
    pub fn fatal(message: impl fmt::Display) -> Self {
        Self::new(message).not_retryable()
    }

    /// A failure of a certain kind.
    pub fn of(kind: FailureKind, message: impl fmt::Display) -> Self {
        let retryable = matches!(kind, FailureKind::Failed | FailureKind::Panicked | FailureKind::TimedOut);
        Self {
            kind,
            message: message.to_string(),
            causes: Vec::new(),
            details: None,
            retryable,
            retry_after: None,
            source: None,
        }
    }

    /// The cancellation of a run, for this reason.
    pub fn cancelled(reason: impl fmt::Display) -> Self {
        Self::of(FailureKind::Cancelled, reason)
    }

    /// An operation that was used in a way that can't work.
    pub fn misuse(message: impl fmt::Display) -> Self {
        Self::of(FailureKind::Misuse, message)
    }

    /// The same failure, never retried.
    pub fn not_retryable(mut self) -> Self {
        self.retryable = false;
        self
    }

    /// The same failure, retried no earlier than `delay` from now (an HTTP `Retry-After`, say). It overrides the
    /// policy's delay, not its number of attempts.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Attaches a typed value that [`Failure::details`] gives back to whoever catches the failure.
    ///
    /// A value that can't be serialised, or nests too deep to be read back, is noted among the causes instead.
    pub fn with_details<T: Serialize>(mut self, details: &T) -> Self {
        let value = json::encode(details, MAX_DETAILS_DEPTH, usize::MAX).map_err(|refusal| match refusal {
            Refusal::TooDeep => {
                format!("its details are left out: they nest deeper than {MAX_DETAILS_DEPTH} levels")
            }
            Refusal::TooLarge(size_bytes) => format!("its details are left out: they have {size_bytes} bytes"),
            Refusal::Serde(reason) => format!("its details can't be serialised: {reason}"),
        });
        let value = value.and_then(|bytes| {
            serde_json::from_slice(&bytes).map_err(|e| format!("its details can't be read back: {e}"))
        });
        match value {
            Ok(value) => self.details = Some(value),
            Err(cause) => self.causes.push(cause),
        }
        self
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The chain of sources, outermost first.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// Why it failed, as far as the engine can tell.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The stable code: `FAILED`, `PANICKED`, `TIMED_OUT`, `CANCELLED`, `MISUSE`.
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// The value given to [`Failure::with_details`], if it has this type.
    pub fn details<T: DeserializeOwned>(&self) -> Option<T> {
        self.details.as_ref().and_then(|v| T::deserialize(v).ok())
    }

    /// The error it was made from, if it is of this type and the failure hasn't been stored yet: a failure that comes
    /// out of a step or a child has none.
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.source.as_deref().and_then(|source| source.downcast_ref())
    }

    /// Whether a retry policy may try again.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// The delay asked for by [`Failure::retry_after`].
    pub fn retry_delay(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether a wait or a step ran into its timeout.
    pub fn is_timeout(&self) -> bool {
        self.kind == FailureKind::TimedOut
    }

    /// Whether the run was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.kind == FailureKind::Cancelled
    }

    /// As a [`std::error::Error`], to hand on to code that wants one.
    pub fn into_error(self) -> FailureError {
        FailureError(self)
    }

    /// Encodes it for a journal row: always JSON.
    pub fn to_payload(&self) -> Payload {
        Payload { codec: 0, bytes: serde_json::to_vec(self).unwrap_or_else(|_| b"{}".to_vec()) }
    }

    /// As [`Failure::to_payload`]; one that is larger than `limit_bytes` loses its details, causes and the end of its
    /// message.
    pub(crate) fn to_payload_within(&self, limit_bytes: usize) -> Payload {
        let payload = self.to_payload();
        if payload.bytes.len() <= limit_bytes {
            return payload;
        }
        let short: String = self.message.chars().take(1_000).collect();
        let short = Self { message: format!("{short} .. (shortened)"), ..Self::of(self.kind, "") };
        Self { retryable: self.retryable, ..short }.to_payload()
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] when the row isn't a failure.
    pub fn from_payload(payload: &Payload) -> std::result::Result<Self, PayloadError> {
        payload.decode()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {self}", self.code())
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut failure = Failure::new(&error);
        let mut source = error.source();
        while let Some(cause) = source.take() {
            failure.causes.push(cause.to_string());
            source = cause.source();
        }
        failure.source = Some(Arc::new(error));
        failure
    }
}

/// A [`Failure`] as a [`std::error::Error`].
#[derive(Debug, Clone, PartialEq)]
pub struct FailureError(pub Failure);

impl fmt::Display for FailureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for FailureError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_converts_and_survives_a_round_trip() {
        let error: Failure = std::io::Error::other("disk on fire").into();
        let failure = error.with_details(&("a", 1)).retry_after(Duration::from_secs(3));
        let back = Failure::from_payload(&failure.to_payload()).expect("round trip");
        assert_eq!(back, failure);
        assert_eq!(back.details::<(String, i32)>(), Some(("a".into(), 1)));
        assert!(back.is_retryable());
        assert_eq!(format!("{back:?}"), "[FAILED] disk on fire");
        assert!(!Failure::from_payload(&Failure::fatal("no").to_payload()).expect("round trip").is_retryable());
    }
}
