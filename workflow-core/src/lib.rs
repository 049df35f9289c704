//! The replay machine of `workflow`: what a workflow's code may ask for, what is journaled of it, and what a database
//! has to do. No runtime, no clock, no IO: core decides, the executor acts.

mod body;
mod combine;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod ctx;
pub mod env;
pub mod failure;
mod guard;
pub mod ids;
pub mod journal;
mod json;
mod leaf;
mod limit;
pub mod memory;
pub mod mismatch;
pub mod ops;
pub mod payload;
#[doc(hidden)]
pub mod random;
pub mod registry;
pub mod replay;
pub mod retry;
#[doc(hidden)]
pub mod seeded;
pub mod store;
mod table;
pub mod workflow;

pub use body::StepCtx;
pub use ctx::Ctx;
pub use failure::{Failure, FailureError, FailureKind, Result};
pub use ids::{ExecutorId, RunId, Timestamp};
pub use leaf::Op;
pub use memory::{ManualClock, MemoryStore};
pub use payload::{Codec, Payload, PayloadError};
pub use retry::RetryPolicy;
pub use store::{Store, StoreError};
pub use workflow::{Workflow, WorkflowFuture};
