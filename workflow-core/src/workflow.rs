//! What `#[workflow]` makes of an annotated function: a typed handle of the same name.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ctx::Ctx;
use crate::failure::Failure;

/// The future of a workflow. It never leaves its thread, so it needn't be `Send`.
pub type WorkflowFuture<O> = Pin<Box<dyn Future<Output = Result<O, Failure>>>>;

/// The definition of a workflow. Implemented by `#[workflow]`.
///
/// ```
/// # use workflow_core as workflow;
/// # use workflow::{Ctx, Failure, Workflow};
/// # #[derive(Clone, Copy)] #[expect(non_camel_case_types)] struct double;
/// # impl Workflow for double {
/// #   type Input = i32; type Output = i32;
/// #   const NAME: &'static str = "double";
/// #   fn call(self, _: Ctx, n: i32) -> workflow::WorkflowFuture<i32> { Box::pin(async move { Ok(n * 2) }) }
/// # }
/// assert_eq!(<double as Workflow>::NAME, "double");
/// ```
pub trait Workflow: Copy + Send + Sync + 'static {
    /// What it is invoked with.
    type Input: Serialize + DeserializeOwned + 'static;
    /// What it gives back.
    type Output: Serialize + DeserializeOwned + 'static;
    /// Its name in the store. Default of `#[workflow]`: the function's name.
    const NAME: &'static str;
    /// Its version. Runs finish on the version they started with.
    const VERSION: i32 = 1;
    /// The queue its runs are put in.
    const QUEUE: &'static str = "default";
    /// Where it is defined: `file:line`.
    const PLACE: &'static str = "";

    /// Calls the annotated function.
    fn call(self, ctx: Ctx, input: Self::Input) -> WorkflowFuture<Self::Output>;
}
