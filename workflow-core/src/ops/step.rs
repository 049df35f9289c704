//! `ctx.step`: a closure with side effects, whose outcome is journaled.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Command, Operation, check_duration};
use crate::body::{self, BodyOp, StepCtx};
use crate::ctx::Ctx;
use crate::failure::Failure;
use crate::retry::RetryPolicy;

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    name: String,
    retry: RetryPolicy,
    timeout: Option<Duration>,
}

impl Operation for Step {
    const KIND: &'static str = "step";

    fn name(&self) -> &str {
        &self.name
    }
}

impl Ctx {
    /// Runs `body` and journals its outcome; on replay the outcome is read and the body doesn't run.
    ///
    /// The body may do anything: call services, sleep, spawn. It may borrow the workflow's locals and runs
    /// concurrently with others in a `join!`. It runs on the thread that drives the workflow, so work for the CPU of
    /// more than about 10 ms belongs into `tokio::task::spawn_blocking`. It runs at least once: a crash before its
    /// outcome is journaled runs it again, so give services the [`StepCtx::idempotency_key`] ([`Ctx::step_with`]), or
    /// use a transaction for rows in the same database.
    ///
    /// A failure is tried again by the default [`RetryPolicy`] (5 attempts, from 1 s to 5 min);
    /// [`StepOp::retry`] and [`StepOp::timeout`] change that. [`Failure::fatal`] is never tried again.
    ///
    /// # Replay
    ///
    /// The recorded value or failure. Steps are told apart by their name and the how-manieth of that name they are.
    ///
    /// # Errors
    ///
    /// The body's last failure; one of kind `Panicked` or `TimedOut` for an attempt that panicked or took too long;
    /// `Cancelled` when the run is cancelled; `Misuse` for a bad name, or an outcome that can't be encoded or is too
    /// large (the body isn't run again for that).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the body where it stands; its outcome is never journaled.
    ///
    /// # Examples
    ///
    /// ```
    /// # use workflow_core::{Ctx, Result};
    /// async fn greet(ctx: Ctx, name: String) -> Result<usize> {
    ///     let bytes = ctx.step("read", || async { Ok(std::fs::read(&name)?) }).await?;
    ///     Ok(bytes.len())
    /// }
    /// ```
    #[track_caller]
    pub fn step<'a, T, F>(&self, name: &str, mut body: F) -> StepOp<'a, T>
    where
        T: Serialize + DeserializeOwned + 'a,
        F: AsyncFnMut() -> Result<T, Failure> + 'a,
    {
        self.step_at(Location::caller(), name, async move |_: StepCtx| body().await)
    }

    /// As [`Ctx::step`], for a body that wants to know its attempt, its idempotency key or the application's state.
    ///
    /// # Examples
    ///
    /// ```
    /// # use workflow_core::{Ctx, Result};
    /// # struct Http; impl Http { async fn post(&self, _key: String) -> std::io::Result<u32> { Ok(1) } }
    /// async fn charge(ctx: Ctx) -> Result<u32> {
    ///     ctx.step_with("charge", async |step| {
    ///         let http = step.state::<Http>();
    ///         Ok(http.post(step.idempotency_key()).await?)
    ///     })
    ///     .await
    /// }
    /// ```
    #[track_caller]
    pub fn step_with<'a, T, F>(&self, name: &str, body: F) -> StepOp<'a, T>
    where
        T: Serialize + DeserializeOwned + 'a,
        F: AsyncFnMut(StepCtx) -> Result<T, Failure> + 'a,
    {
        self.step_at(Location::caller(), name, body)
    }

    fn step_at<'a, T, F>(&self, site: &'static Location<'static>, name: &str, mut body: F) -> StepOp<'a, T>
    where
        T: Serialize + DeserializeOwned + 'a,
        F: AsyncFnMut(StepCtx) -> Result<T, Failure> + 'a,
    {
        let command = Step { name: name.to_owned(), retry: RetryPolicy::default(), timeout: None };
        let leaf = self.register_named(site, "step", name, command);
        StepOp(BodyOp::new(leaf, |inner, index, value| {
            Box::pin(async move {
                loop {
                    let step = body::permission(&inner, index).await;
                    let settings = match &inner.table.borrow().ops[index].command {
                        Command::Step(step) => step.clone(),
                        _ => return,
                    };
                    let attempt = step.attempt();
                    let result = body::attempt(&inner.env, async { body(step).await }, settings.timeout).await;
                    let result = result.and_then(|v| body::round_trip(&*inner.env, &v));
                    body::conclude(&inner, index, &settings.retry, attempt, result, &value);
                }
            })
        }))
    }
}

/// A step, as a future of its value. Made by [`Ctx::step`].
#[derive(Debug)]
#[must_use = "a step that is never awaited never runs"]
pub struct StepOp<'a, T>(BodyOp<'a, T>);

impl<T> StepOp<'_, T> {
    /// When a failed attempt is tried again. A policy without sense is `Misuse`.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.configure(|step| {
            policy.check().map_err(Failure::misuse)?;
            step.retry = policy;
            Ok(())
        });
        self
    }

    /// How long one attempt may take. At most 100 years.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.configure(|step| {
            check_duration("a timeout", timeout)?;
            step.timeout = Some(timeout);
            Ok(())
        });
        self
    }

    fn configure(&mut self, change: impl FnOnce(&mut Step) -> Result<(), Failure>) {
        self.0.leaf.configure(|command| match command {
            Command::Step(step) => change(step),
            _ => Ok(()),
        });
    }
}

impl<T: DeserializeOwned> Future for StepOp<'_, T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}
