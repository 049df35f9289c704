//! The replay machine of `workflow`: what a workflow's code may ask for, what is journaled of it, and what a database
//! has to do. No runtime, no clock, no IO: core decides, the executor acts.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod ctx;
pub mod failure;
pub mod ids;
pub mod journal;
pub mod memory;
pub mod payload;
pub mod retry;
pub mod store;
pub mod workflow;

pub use ctx::Ctx;
pub use failure::{Failure, FailureError, FailureKind, Result};
pub use ids::{ExecutorId, RunId, Timestamp};
pub use memory::{ManualClock, MemoryStore};
pub use payload::{Codec, Payload, PayloadError};
pub use retry::RetryPolicy;
pub use store::{Store, StoreError};
pub use workflow::{Workflow, WorkflowFuture};
