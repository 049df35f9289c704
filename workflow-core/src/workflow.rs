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
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a workflow",
    label = "not a workflow",
    note = "put `#[workflow]` on its `async fn`, and name the function here without calling it"
)]
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

/// What a workflow's function may return: a [`Result`] whose error converts into [`Failure`].
///
/// Macros see a return type as text, and `Result<T>` may be anyone's alias: this trait is how `#[workflow]` learns
/// the output behind it.
#[diagnostic::on_unimplemented(
    message = "a workflow can't return `{Self}`",
    label = "not a `Result`",
    note = "write `-> workflow::Result<T>`, or `-> Result<T, E>` where `E` implements `std::error::Error`"
)]
pub trait IntoOutcome {
    /// What the workflow gives back when it succeeds.
    type Output: Serialize + DeserializeOwned + 'static;

    /// Converts the error.
    ///
    /// # Errors
    ///
    /// The function's own error, as a [`Failure`].
    fn into_outcome(self) -> Result<Self::Output, Failure>;
}

impl<O: Serialize + DeserializeOwned + 'static, E: IntoFailure> IntoOutcome for Result<O, E> {
    type Output = O;

    fn into_outcome(self) -> Result<O, Failure> {
        self.map_err(IntoFailure::into_failure)
    }
}

/// What a workflow's function may fail with: whatever converts into [`Failure`].
#[diagnostic::on_unimplemented(
    message = "a workflow can't fail with `{Self}`",
    label = "its error doesn't convert into `workflow::Failure`",
    note = "write `-> workflow::Result<T>`: `?` makes a `Failure` of every `std::error::Error`",
    note = "or implement `std::error::Error` for `{Self}`"
)]
pub trait IntoFailure {
    /// Converts the error.
    fn into_failure(self) -> Failure;
}

#[diagnostic::do_not_recommend]
impl<E: Into<Failure>> IntoFailure for E {
    fn into_failure(self) -> Failure {
        self.into()
    }
}

/// What a workflow's first parameter may be: [`Ctx`].
#[diagnostic::on_unimplemented(
    message = "the first parameter of a workflow is its context, not `{Self}`",
    label = "write `ctx: Ctx` here, and the input behind it"
)]
pub trait FromCtx {
    /// The context itself.
    fn from_ctx(ctx: Ctx) -> Self;
}

impl FromCtx for Ctx {
    fn from_ctx(ctx: Ctx) -> Self {
        ctx
    }
}

/// Boxes the future of a workflow's function.
pub fn run<T: IntoOutcome>(function: impl Future<Output = T> + 'static) -> WorkflowFuture<T::Output> {
    Box::pin(async move { function.await.into_outcome() })
}
