//! `ctx.invoke`: another run, and its outcome.

use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Command, Effect, Operation, check_duration, request};
use crate::ctx::Ctx;
use crate::failure::Failure;
use crate::ids::{RunId, Timestamp, check_name};
use crate::journal::OpKey;
use crate::leaf::Op;
use crate::payload::Payload;
use crate::store::{NewRun, ParentRef};
use crate::workflow::Workflow;

/// The invocation of a child.
#[derive(Debug, Clone, PartialEq)]
pub struct Invoke {
    parent: RunId,
    workflow: &'static str,
    version: i32,
    queue: String,
    input: Payload,
    depth: i32,
    at: Timestamp,
    delay: Option<Duration>,
    retain: Duration,
    detached: bool,
}

#[derive(Serialize, Deserialize)]
struct Asked {
    /// SHA-256 of the input's canonical form, in hexadecimal digits.
    input: String,
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

impl Invoke {
    fn id(&self, key: &OpKey) -> RunId {
        RunId::child(self.parent, &key.to_string(), self.at)
    }
}

impl Operation for Invoke {
    const KIND: &'static str = "invoke";

    fn name(&self) -> &str {
        self.workflow
    }

    fn asked(&self) -> Option<Payload> {
        if self.detached {
            return Some(super::unit());
        }
        Some(request(&Asked { input: hex(&self.input.digest()[..16]) }))
    }

    fn check(&self, recorded: &Payload) -> Result<(), String> {
        let recorded: Asked = super::recorded(recorded)?;
        let asked = hex(&self.input.digest()[..16]);
        if recorded.input == asked {
            return Ok(());
        }
        Err(format!(
            "invoke {} with another input (its fingerprint is {:.12}, that of the code's input {asked:.12}; for inputs \
             that serialise in random order, as a HashSet does, set `lenient_inputs`)",
            self.workflow, recorded.input
        ))
    }

    fn immediate(&self) -> bool {
        self.detached
    }

    fn binding(&self) -> bool {
        true
    }

    fn effect(&self, key: &OpKey) -> Effect {
        Effect::Start(Box::new(NewRun {
            id: self.id(key),
            workflow: self.workflow.to_owned(),
            version: self.version,
            queue: self.queue.clone(),
            input_digest: self.input.digest(),
            input: self.input.clone(),
            invoke_id: None,
            parent: (!self.detached).then(|| ParentRef { run: self.parent, key: key.clone() }),
            depth: self.depth,
            delay: self.delay,
            retain: self.retain,
            owner: None,
        }))
    }

    fn child(&self, key: &OpKey) -> Option<RunId> {
        (!self.detached).then(|| self.id(key))
    }
}

impl Ctx {
    /// Invokes `workflow` as a child of this run: a future of its output.
    ///
    /// The child is created when this line is reached, whether or not the future is awaited at once, so that several
    /// run side by side. It is cancelled when this run ends or is cancelled before it; [`Child::detached`] makes it
    /// independent. Limits: 10,000 children of a run, 32 generations.
    ///
    /// # Replay
    ///
    /// The same child. A workflow or input that differs from the recorded one parks the run.
    ///
    /// # Errors
    ///
    /// The child's failure; one of kind `Cancelled` when the child or this run is cancelled, of kind `Misuse` for an
    /// input that can't be encoded or when a limit is reached.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the child alone until this run ends.
    ///
    /// # Examples
    ///
    /// ```
    /// # use workflow_core::{Ctx, Result, Workflow};
    /// async fn both<W: Workflow<Input = u32, Output = u32>>(ctx: Ctx, work: W) -> Result<u32> {
    ///     let (a, b) = (ctx.invoke(work, 1), ctx.invoke(work, 2));
    ///     Ok(a.await? + b.await?)
    /// }
    /// ```
    #[track_caller]
    pub fn invoke<W: Workflow>(&self, workflow: W, input: W::Input) -> Child<W::Output> {
        self.invoke_at(Location::caller(), workflow, &input)
    }

    /// Starts `workflow` as a child and gives a handle to await later: the same as [`Ctx::invoke`], named for it.
    #[track_caller]
    pub fn start<W: Workflow>(&self, workflow: W, input: W::Input) -> Child<W::Output> {
        self.invoke_at(Location::caller(), workflow, &input)
    }

    fn invoke_at<W: Workflow>(&self, site: &'static Location<'static>, _: W, input: &W::Input) -> Child<W::Output> {
        let options = self.inner.env.options();
        let encoded = Payload::round_trip(options.codec, input, options.max_payload_bytes).map(|(payload, _)| payload);
        let depth = self.inner.info.depth + 1;
        let command = Invoke {
            parent: self.run_id(),
            workflow: W::NAME,
            version: W::VERSION,
            queue: W::QUEUE.to_owned(),
            input: encoded.as_ref().cloned().unwrap_or_default(),
            depth,
            at: self.now(),
            delay: None,
            retain: options.retain,
            detached: false,
        };
        let mut leaf = self.register_named(site, "workflow", W::NAME, command);
        let mut table = self.inner.table.borrow_mut();
        let refusal = if let Err(error) = encoded {
            Some(Failure::misuse(error))
        } else if depth > options.max_depth {
            Some(Failure::misuse(format!(
                "{} would be a child of generation {depth}, the limit is {}: let a run continue in its own loop, or \
                 raise `max_depth`",
                W::NAME,
                options.max_depth
            )))
        } else if table.children >= options.max_children {
            Some(Failure::misuse(format!(
                "run {} has {} children, the limit is {}: hand batches to children of their own, or raise `max_children`",
                self.run_id(),
                table.children,
                options.max_children
            )))
        } else {
            table.children += 1;
            None
        };
        drop(table);
        if let Some(failure) = refusal {
            leaf.refuse(failure);
        }
        Child { op: Op::new(leaf), output: PhantomData }
    }
}

/// A child, as a future of its output. Made by [`Ctx::invoke`].
#[derive(Debug)]
#[must_use = "the outcome of a child that is never awaited is lost"]
pub struct Child<O> {
    op: Op<O>,
    output: PhantomData<fn() -> O>,
}

impl<O> Child<O> {
    /// Puts the child into this queue, instead of its workflow's.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        let queue = queue.into();
        self.configure(|invoke| {
            check_name("queue", &queue).map_err(Failure::misuse)?;
            invoke.queue = queue;
            Ok(())
        });
        self
    }

    /// The child begins no earlier than `delay` from now, by the store's clock.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.configure(|invoke| {
            check_duration("a delay", delay)?;
            invoke.delay = Some(delay);
            Ok(())
        });
        self
    }

    /// Makes the child independent: nobody waits for it, and it goes on whatever becomes of this run. The future is
    /// ready with the child's id once the child exists.
    pub fn detached(mut self) -> Detached {
        self.configure(|invoke| {
            invoke.detached = true;
            Ok(())
        });
        Detached(self.op.leaf)
    }

    fn configure(&mut self, change: impl FnOnce(&mut Invoke) -> Result<(), Failure>) {
        self.op.leaf.configure(|command| match command {
            Command::Invoke(invoke) => change(invoke),
            _ => Ok(()),
        });
    }
}

impl<O: serde::de::DeserializeOwned> Child<O> {
    /// The child's id: ready at once, whether or not the child exists already.
    pub async fn id(&self) -> Result<RunId, Failure> {
        std::future::poll_fn(|cx| {
            let Ok(index) = self.op.leaf.op else {
                return Poll::Ready(Err(Failure::misuse("this child was refused: await it for the reason")));
            };
            let known = {
                let table = self.op.leaf.inner.table.borrow();
                let op = &table.ops[index];
                op.key.as_ref().and_then(|key| op.command.child(key))
            };
            if let Some(id) = known {
                return Poll::Ready(Ok(id));
            }
            // Identities are given when nothing moves any more, without an outcome: another poll follows at once.
            let waker = cx.waker().clone();
            self.op.leaf.inner.table.borrow_mut().unnamed.push(waker);
            Poll::Pending
        })
        .await
    }
}

impl<O: serde::de::DeserializeOwned> Future for Child<O> {
    type Output = Result<O, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.op).poll(cx)
    }
}

/// The start of an independent run, as a future of its id. Made by [`Child::detached`].
#[derive(Debug)]
#[must_use = "await it to be sure that the run exists"]
pub struct Detached(crate::leaf::Leaf);

impl Future for Detached {
    type Output = Result<RunId, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let index = self.0.op.as_ref().ok().copied();
        let outcome = match self.0.poll_outcome(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
            Poll::Ready(Ok(outcome)) => outcome,
        };
        if let Err(payload) = outcome.result {
            return match self.0.decode(&payload) {
                Some(failure) => Poll::Ready(Err(failure)),
                None => Poll::Pending,
            };
        }
        let table = self.0.inner.table.borrow();
        let op = index.map(|i| &table.ops[i]);
        match op.map(|op| (&op.command, &op.key)) {
            Some((Command::Invoke(invoke), Some(key))) => Poll::Ready(Ok(invoke.id(key))),
            _ => Poll::Ready(Err(Failure::misuse("polled after its end"))),
        }
    }
}
