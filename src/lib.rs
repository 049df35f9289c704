//! Durable execution for Rust.

pub use workflow_core::{Ctx, Failure, FailureKind, Result, RetryPolicy, RunId, Workflow, WorkflowFuture};
pub use workflow_macros::workflow;

/// What the macro's output refers to. Not public API.
#[doc(hidden)]
pub mod __private {
    pub use workflow_core::workflow::{FromCtx, IntoOutcome, run};
    pub use workflow_core::{Ctx, Failure, Workflow, WorkflowFuture};
}
