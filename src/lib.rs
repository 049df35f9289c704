//! Durable execution for Rust: ordinary `async fn`s that survive crashes, deploys and long waits.
//!
//! Put `#[workflow]` on an `async fn`, invoke it from your application, and run an embedded [`Executor`]. Every
//! [`Ctx::step`], [`Ctx::sleep`], [`Ctx::invoke`] and [`Ctx::wait_for_event`] is journaled in the Postgres you already
//! have, or in an SQLite file. A run that waits hangs up and costs nothing; when what it waits for comes, any executor
//! replays the journal through the same code and goes on.
//!
//! ```
//! use std::time::Duration;
//! use workflow::prelude::*;
//!
//! #[workflow]
//! async fn greet(ctx: Ctx, name: String) -> Result<String> {
//!     let loud = ctx.step("shout", || async { Ok(name.to_uppercase()) }).await?;
//!     ctx.sleep(Duration::from_millis(10)).await?;
//!     Ok(format!("Hello, {loud}!"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), workflow::Error> {
//! let store = workflow::connect("memory:").await?;
//! let executor = Executor::builder(store).register(greet).start().await?;
//! let run = executor.client().invoke(greet, "Ada".to_owned()).id("first").await?;
//! assert_eq!(run.result().await?, "Hello, ADA!");
//! executor.shutdown().await?;
//! # Ok(()) }
//! ```

mod batch;
mod client;
mod connect;
mod error;
mod executor;
mod seeded;

pub use client::{Client, Invocation, InvokeMany, List, RunHandle, RunStatus, UserTransaction};
pub use connect::connect;
pub use error::{Error, Misuse};
pub use executor::{Builder, Executor, Queue};
pub use workflow_core::env::MachineOptions;
pub use workflow_core::ids::InvalidName;
pub use workflow_core::memory;
pub use workflow_core::ops::invoke::{Child, Detached};
pub use workflow_core::ops::step::StepOp;
pub use workflow_core::ops::wait::EventWait;
pub use workflow_core::store::{self, ParkReason, Status, Store, StoreError};
pub use workflow_core::{
    Codec, Ctx, ExecutorId, Failure, FailureError, FailureKind, MemoryStore, Op, Payload, PayloadError, Result,
    RetryPolicy, RunId, StepCtx, Timestamp, Workflow, WorkflowFuture,
};
pub use workflow_macros::workflow;

/// The Postgres store (feature `postgres`).
#[cfg(feature = "postgres")]
pub use workflow_pg as postgres;
/// The SQLite store (feature `sqlite`).
#[cfg(feature = "sqlite")]
pub use workflow_sqlite as sqlite;

/// `join!`, `select!` and `try_join!` as they are in `tokio`: in a workflow they replay as they ran.
pub use tokio::{join, select, try_join};

/// What most programs need.
pub mod prelude {
    pub use crate::{Client, Ctx, Executor, Failure, Queue, Result, RetryPolicy, RunHandle, RunId, workflow};
}

/// What the macro's output refers to. Not public API.
#[doc(hidden)]
pub mod __private {
    pub use workflow_core::workflow::{FromCtx, IntoOutcome, run};
    pub use workflow_core::{Ctx, Failure, Workflow, WorkflowFuture};
}

/// The program in the readme compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
