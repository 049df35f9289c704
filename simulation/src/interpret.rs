//! The one workflow of the simulation: does what its program says, and tells what it has seen.

use std::time::Duration;

use futures::future::{FutureExt, LocalBoxFuture};
use workflow::prelude::*;
use workflow::{Failure, RetryPolicy};

use crate::probe::Probe;
use crate::program::{ATTEMPTS, At, End, Node, Program, Seen, Trouble};

/// The queue that not every executor serves.
pub const OTHER_QUEUE: &str = "other";

/// The step that runs after a cancellation.
pub const CLEANUP: &str = "cleanup";

/// How long an attempt may take, and how long one takes that hangs.
const LIMIT: Duration = Duration::from_millis(400);
const HANGS: Duration = Duration::from_secs(3_600);

/// How long after a failed attempt the next one begins.
const RETRY: Duration = Duration::from_millis(25);

/// The name of a topic.
pub fn topic_name(topic: u8) -> String {
    format!("topic-{topic}")
}

/// Runs a program.
#[workflow]
pub async fn interpret(ctx: Ctx, program: Program) -> Result<Seen> {
    match run(&ctx, &program).await {
        Ok(seen) => Ok(seen),
        Err(failure) if ctx.is_cancelled() => {
            let shield = ctx.shield();
            step(&shield, CLEANUP, 0, 0, Trouble::Error, 0).await?;
            Err(failure)
        }
        Err(failure) => Err(failure),
    }
}

async fn run(ctx: &Ctx, program: &Program) -> Result<Seen> {
    let at = At::new(program.name);
    let mut all = Vec::new();
    for node in &program.nodes {
        all.push(execute(ctx, node, at).await?);
    }
    match program.end {
        End::Well => Ok(Seen::All(all)),
        End::Failure => Err(Failure::fatal("as the program says")),
        End::Never => loop {
            ctx.sleep(Duration::from_millis(700)).await?;
        },
    }
}

/// Only a cancellation of this run is an error; any other failure is something seen.
fn seen<T>(ctx: &Ctx, result: Result<T>, seen: impl FnOnce(T) -> Seen) -> Result<Seen> {
    match result {
        Ok(value) => Ok(seen(value)),
        Err(failure) if failure.is_cancelled() && ctx.is_cancelled() => Err(failure),
        Err(failure) => Ok(Seen::Failed(failure.code().to_owned())),
    }
}

async fn step(ctx: &Ctx, name: &str, ms: u16, fails: u8, trouble: Trouble, value: u64) -> Result<u64> {
    let body = async move |step: workflow::StepCtx| {
        let _running = step.state::<Probe>().begin(&step);
        pass(Duration::from_millis(u64::from(ms))).await;
        if step.attempt() > u32::from(fails) {
            return Ok(value);
        }
        match trouble {
            Trouble::Error => Err(Failure::new("as the program says")),
            Trouble::Panic => panic!("as the program says"),
            Trouble::Hang => {
                pass(HANGS).await;
                Err(Failure::new("it was to hang"))
            }
        }
    };
    let policy = RetryPolicy::fixed(RETRY).attempts(u32::from(ATTEMPTS));
    ctx.step_with(name, body).retry(policy).timeout(LIMIT).await
}

#[expect(clippy::disallowed_methods, reason = "virtual time")]
async fn pass(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn execute<'a>(ctx: &'a Ctx, node: &'a Node, at: At) -> LocalBoxFuture<'a, Result<Seen>> {
    let millis = |ms: &u16| Duration::from_millis(u64::from(*ms));
    async move {
        match node {
            Node::Step { id, ms, fails, trouble } => {
                let result = step(ctx, &format!("step-{id}"), *ms, *fails, *trouble, at.value(*id)).await;
                seen(ctx, result, Seen::Value)
            }
            Node::Sleep { ms } => seen(ctx, ctx.sleep(millis(ms)).await, |()| Seen::Done),
            Node::SleepUntil { ms } => seen(ctx, ctx.sleep_until(ctx.now() + millis(ms)).await, |()| Seen::Done),
            Node::Wait { topic, timeout_ms } => {
                let wait = ctx.wait_for_event::<u64>(&topic_name(*topic));
                let result = match timeout_ms {
                    Some(ms) => wait.timeout(millis(ms)).await,
                    None => wait.await,
                };
                seen(ctx, result, Seen::Event)
            }
            Node::Emit { id, topic } => {
                let result = ctx.emit(&topic_name(*topic), &at.value(*id)).await;
                seen(ctx, result, |()| Seen::Done)
            }
            Node::Child(child) => {
                let mut run = ctx.invoke(interpret, (**child).clone());
                if child.other_queue {
                    run = run.queue(OTHER_QUEUE);
                }
                seen(ctx, run.await, |seen| seen)
            }
            Node::Detached(child) => {
                let mut run = ctx.invoke(interpret, (**child).clone());
                if child.other_queue {
                    run = run.queue(OTHER_QUEUE).delay(Duration::from_millis(100));
                }
                seen(ctx, run.detached().await, Seen::Started)
            }
            Node::Join(nodes) => {
                let all = ctx.join(nodes.iter().map(|node| execute(ctx, node, at))).await;
                all.into_iter().collect::<Result<_>>().map(Seen::All)
            }
            Node::Race(nodes) => {
                let (index, first) = ctx.race(nodes.iter().map(|node| execute(ctx, node, at))).await;
                Ok(Seen::First(index, Box::new(first?)))
            }
            Node::Each(nodes) => {
                let mut all = Vec::new();
                for node in nodes {
                    all.push(execute(ctx, node, at).await?);
                }
                Ok(Seen::All(all))
            }
            Node::Loop(times, node) => {
                let mut all = Vec::new();
                for n in 0..*times {
                    all.push(execute(ctx, node, at.round(n)).await?);
                }
                Ok(Seen::All(all))
            }
        }
    }
    .boxed_local()
}
