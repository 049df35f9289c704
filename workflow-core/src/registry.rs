//! Workflows without their types, as the machine runs them.

use std::future::Future;
use std::pin::Pin;

use crate::ctx::Ctx;
use crate::failure::Failure;
use crate::payload::{Payload, PayloadError};
use crate::workflow::Workflow;

/// The code of a run: a future of its encoded output.
pub type Code = Pin<Box<dyn Future<Output = Result<Payload, Failure>>>>;

/// A workflow whose types are erased.
pub trait AnyWorkflow: Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Its version.
    fn version(&self) -> i32;
    /// The queue its runs are put in by default.
    fn queue(&self) -> &'static str;
    /// Where it is defined.
    fn place(&self) -> &'static str;

    /// Makes the code of a run; nothing of it runs yet.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] when `input` isn't the workflow's input.
    fn start(&self, ctx: Ctx, input: &Payload) -> Result<Code, PayloadError>;
}

/// A [`Workflow`] as an [`AnyWorkflow`].
#[derive(Debug, Clone, Copy)]
pub struct Erased<W>(pub W);

impl<W: Workflow> AnyWorkflow for Erased<W> {
    fn name(&self) -> &'static str {
        W::NAME
    }

    fn version(&self) -> i32 {
        W::VERSION
    }

    fn queue(&self) -> &'static str {
        W::QUEUE
    }

    fn place(&self) -> &'static str {
        W::PLACE
    }

    fn start(&self, ctx: Ctx, input: &Payload) -> Result<Code, PayloadError> {
        let input: W::Input = input.decode()?;
        let workflow = self.0;
        let env = ctx.inner.env.clone();
        Ok(Box::pin(async move {
            let output = workflow.call(ctx, input).await?;
            let options = env.options();
            Payload::round_trip(options.codec, &output, options.max_payload_bytes)
                .map(|(payload, _)| payload)
                .map_err(|error| Failure::misuse(format!("the workflow ran, but its output can't be stored: {error}")))
        }))
    }
}
