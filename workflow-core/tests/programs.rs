//! Random programs, lived in a random world with cancels, hang-ups and refusals, and replayed: command by command the
//! same, gapless, no body twice, never stuck, never parked.

mod sim;
mod support;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{Either, FutureExt, LocalBoxFuture, join_all, select};
use futures::stream::{FuturesUnordered, StreamExt};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sim::world::started;
use sim::{Habits, Sim, chaos, gate, trace};
use support::Closure;
use workflow_core::{Ctx, Failure, Result, RetryPolicy, Workflow, WorkflowFuture};

/// A program.
#[derive(Debug, Clone)]
enum Node {
    /// A step that fails `fails` times; its body waits for the world, or not.
    Step {
        name: u8,
        fails: u8,
        waits: bool,
        timeout: bool,
    },
    /// A step that fails for good.
    Fatal(u8),
    Sleep(u8),
    Event {
        name: u8,
        timeout: Option<u8>,
    },
    Invoke(u8),
    Detached(u8),
    Emit(u8),
    Yield,
    /// One after the other.
    Seq(Vec<Node>),
    /// `join_all`.
    Join(Vec<Node>),
    /// As `tokio::join!`: every poll begins with another branch.
    Rotate(Vec<Node>),
    /// `FuturesUnordered`, with something after each of them.
    Unordered(Vec<Node>, Box<Node>),
    /// As `tokio::select!`: polls its branches in random order.
    Select(Vec<Node>),
    /// `future::select`, and the loser is awaited afterwards.
    Keep(Box<Node>, Box<Node>),
    /// Two branches await one operation; then each goes on.
    Shared(Box<Node>, Box<Node>),
    /// Branches that take turns with a mutex.
    Lock(Vec<Node>),
    /// One branch waits for a word of the other.
    Tell(Box<Node>, Box<Node>),
    Loop(u8, Box<Node>),
    /// The second when the first fails.
    Try(Box<Node>, Box<Node>),
    Shield(Box<Node>),
    /// Operations that are made, and awaited only after something else.
    Early(u8, Box<Node>),
    /// Operations that are dropped: never polled, or polled once.
    Abandon(u8, bool),
}

fn leaf() -> impl Strategy<Value = Node> {
    let name = 0..3u8;
    prop_oneof![
        4 => (name.clone(), 0..4u8, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(name, fails, waits, timeout)| Node::Step { name, fails: fails.saturating_sub(1), waits, timeout }),
        1 => name.clone().prop_map(Node::Fatal),
        2 => (0..40u8).prop_map(Node::Sleep),
        2 => (name.clone(), prop::option::of(0..40u8)).prop_map(|(name, timeout)| Node::Event { name, timeout }),
        2 => name.clone().prop_map(Node::Invoke),
        1 => name.clone().prop_map(Node::Detached),
        1 => name.clone().prop_map(Node::Emit),
        1 => Just(Node::Yield),
        1 => (0..5u8, any::<bool>()).prop_map(|(what, polled)| Node::Abandon(what, polled)),
    ]
}

fn program() -> impl Strategy<Value = Node> {
    leaf().prop_recursive(4, 16, 3, |inner| {
        let several = || prop::collection::vec(inner.clone(), 1..4);
        let one = || inner.clone().prop_map(Box::new);
        prop_oneof![
            3 => several().prop_map(Node::Seq),
            2 => several().prop_map(Node::Join),
            2 => several().prop_map(Node::Rotate),
            1 => (several(), one()).prop_map(|(all, then)| Node::Unordered(all, then)),
            3 => several().prop_map(Node::Select),
            1 => (one(), one()).prop_map(|(a, b)| Node::Keep(a, b)),
            1 => (one(), one()).prop_map(|(a, b)| Node::Shared(a, b)),
            1 => several().prop_map(Node::Lock),
            1 => (one(), one()).prop_map(|(a, b)| Node::Tell(a, b)),
            1 => (1..4u8, one()).prop_map(|(n, node)| Node::Loop(n, node)),
            2 => (one(), one()).prop_map(|(a, b)| Node::Try(a, b)),
            1 => one().prop_map(Node::Shield),
            1 => (0..5u8, one()).prop_map(|(what, node)| Node::Early(what, node)),
        ]
    })
}

#[derive(Clone, Copy)]
struct ChildFlow;

impl Workflow for ChildFlow {
    type Input = u8;
    type Output = u64;
    const NAME: &'static str = "child";
    fn call(self, _: Ctx, _: u8) -> WorkflowFuture<u64> {
        Box::pin(async { Ok(0) })
    }
}

/// Where in the program, for the trace.
#[derive(Clone)]
struct At {
    ctx: Ctx,
    path: Rc<str>,
}

impl At {
    fn child(&self, part: impl std::fmt::Display) -> Self {
        Self { ctx: self.ctx.clone(), path: format!("{}.{part}", self.path).into() }
    }

    fn scoped(&self, part: impl std::fmt::Display) -> Self {
        let part = part.to_string();
        Self { ctx: self.ctx.scope(&part), ..self.child(part) }
    }

    fn saw<T: std::fmt::Debug>(&self, value: Result<T>) -> Result<T> {
        let (now, random) = (self.ctx.now().timestamp_micros(), self.ctx.random() % 1000);
        trace(format!("{} {value:?} @{now} ~{random}", self.path));
        value
    }

    fn step(&self, name: u8, fails: u8, waits: bool) -> workflow_core::ops::step::StepOp<'static, u64> {
        let shielded = if self.path.contains("shielded") { "-shielded" } else { "" };
        let step = self.ctx.step_with(&format!("s{name}{shielded}"), async move |step| {
            started(&step);
            let value = if waits { gate().await } else { u64::from(step.attempt()) };
            if step.attempt() <= u32::from(fails) { Err(Failure::new(format!("no {value}"))) } else { Ok(value) }
        });
        step.retry(RetryPolicy::fixed(Duration::from_millis(10)).attempts(3))
    }

    fn operation(&self, what: u8) -> LocalBoxFuture<'static, Result<u64>> {
        match what {
            0 => self.step(0, 0, true).boxed_local(),
            1 => self.ctx.sleep(Duration::from_millis(5)).map(|r| r.map(|()| 0)).boxed_local(),
            2 => self.ctx.wait_for_event::<u64>("e0").timeout(Duration::from_millis(20)).boxed_local(),
            3 => self.ctx.invoke(ChildFlow, 0).boxed_local(),
            _ => self.ctx.emit("e1", &1u64).map(|r| r.map(|()| 0)).boxed_local(),
        }
    }
}

fn execute(node: &Node, at: At) -> LocalBoxFuture<'_, Result<u64>> {
    async move {
        let millis = |n: u8| Duration::from_millis(u64::from(n));
        match node {
            Node::Step { name, fails, waits, timeout } => {
                let step = at.step(*name, *fails, *waits);
                let step = if *timeout { step.timeout(millis(50)) } else { step };
                at.saw(step.await)
            }
            Node::Fatal(name) => {
                let step =
                    at.ctx.step_with(&format!("f{name}-shielded"), async |_| Err::<u64, _>(Failure::fatal("never")));
                at.saw(step.await)
            }
            Node::Sleep(n) => at.saw(at.ctx.sleep(millis(*n)).await).map(|()| 0),
            Node::Event { name, timeout } => {
                let wait = at.ctx.wait_for_event::<u64>(&format!("e{name}"));
                match timeout {
                    Some(n) => at.saw(wait.timeout(millis(*n)).await),
                    None => at.saw(wait.await),
                }
            }
            Node::Invoke(n) => {
                let child = at.ctx.invoke(ChildFlow, *n);
                let id = child.id().await?;
                let at = at.child(id);
                at.saw(child.await)
            }
            Node::Detached(n) => {
                let id = at.saw(at.ctx.invoke(ChildFlow, *n).detached().await)?;
                Ok(id.0.as_u128() as u64)
            }
            Node::Emit(name) => at.saw(at.ctx.emit(&format!("e{name}"), &u64::from(*name)).await).map(|()| 0),
            Node::Yield => {
                tokio::task::yield_now().await;
                Ok(0)
            }
            Node::Seq(nodes) => {
                let mut last = 0;
                for (i, node) in nodes.iter().enumerate() {
                    last = execute(node, at.child(i)).await?;
                }
                Ok(last)
            }
            Node::Join(nodes) => {
                let all = nodes.iter().enumerate().map(|(i, node)| execute(node, at.child(i)));
                first_failure(join_all(all).await)
            }
            Node::Rotate(nodes) => {
                let all = nodes.iter().enumerate().map(|(i, node)| execute(node, at.child(i)));
                first_failure(Rotate { round: 0, branches: all.map(Branch::Running).collect() }.await)
            }
            Node::Unordered(nodes, then) => {
                let one = |(i, node)| execute(node, at.child(i)).map(move |result| (i, result));
                let mut all: FuturesUnordered<_> = nodes.iter().enumerate().map(one).collect();
                while let Some((i, result)) = all.next().await {
                    trace(format!("{} {i} {result:?}", at.path));
                    execute(then, at.child("then")).await?;
                }
                Ok(0)
            }
            Node::Select(nodes) => {
                let one = |(i, node)| {
                    let at = at.scoped(i);
                    async move {
                        // A branch that is ready at once would be a choice by chance.
                        at.saw(at.step(9, 0, false).await)?;
                        execute(node, at).await
                    }
                    .boxed_local()
                };
                let (i, result) = Race(nodes.iter().enumerate().map(one).collect()).await;
                trace(format!("{} {i} won with {result:?}", at.path));
                result
            }
            Node::Keep(a, b) => match select(execute(a, at.child("a")), execute(b, at.child("b"))).await {
                Either::Left((first, loser)) => first_failure([first, loser.await]),
                Either::Right((first, loser)) => {
                    trace(format!("{} right", at.path));
                    first_failure([first, loser.await])
                }
            },
            Node::Shared(a, b) => {
                let step = at.step(1, 0, true).map(|result| result.map_err(|f| f.message().to_owned())).shared();
                let branch = |node, part: &str| {
                    let (step, at) = (step.clone(), at.child(part));
                    async move {
                        step.await.map_err(Failure::new)?;
                        execute(node, at).await
                    }
                };
                let (x, y) = futures::join!(branch(a, "a"), branch(b, "b"));
                first_failure([x, y])
            }
            Node::Lock(nodes) => {
                let lock = tokio::sync::Mutex::new(0);
                let one = |(i, node)| {
                    let (at, lock) = (at.child(i), &lock);
                    async move {
                        for round in 0..2 {
                            let mut held = lock.lock().await;
                            *held += 1;
                            trace(format!("{} is number {held}", at.path));
                            execute(node, at.child(round)).await?;
                        }
                        Ok(0)
                    }
                    .boxed_local()
                };
                let all = nodes.iter().enumerate().map(one);
                first_failure(Rotate { round: 0, branches: all.map(Branch::Running).collect() }.await)
            }
            Node::Tell(a, b) => {
                let (sender, receiver) = futures::channel::oneshot::channel();
                // Both go on at once, in an order that is chance: the same names need scopes of their own.
                let (hearer, teller) = (at.scoped("hearer"), at.scoped("teller"));
                let listening = async { if receiver.await.is_ok() { execute(a, hearer).await } else { Ok(0) } };
                let telling = async {
                    at.saw(teller.step(2, 0, true).await)?;
                    let _ = sender.send(());
                    at.saw(teller.step(2, 0, true).await)?;
                    execute(b, teller).await
                };
                let branches = vec![Branch::Running(listening.boxed_local()), Branch::Running(telling.boxed_local())];
                first_failure(Rotate { round: 0, branches }.await)
            }
            Node::Loop(n, node) => {
                for i in 0..*n {
                    execute(node, at.child(i)).await?;
                }
                Ok(0)
            }
            Node::Try(a, b) => match execute(a, at.child("try")).await {
                Ok(value) => Ok(value),
                Err(failure) => {
                    trace(format!("{} caught {failure:?}", at.path));
                    execute(b, at.child("catch")).await
                }
            },
            Node::Shield(node) => {
                let ctx = at.ctx.shield();
                execute(node, At { ctx, ..at.child("shielded") }).await
            }
            Node::Early(what, node) => {
                let early = at.operation(*what);
                execute(node, at.child("between")).await?;
                at.saw(early.await)
            }
            Node::Abandon(what, polled) => {
                let mut abandoned = at.operation(*what);
                if *polled {
                    assert!(futures::poll!(&mut abandoned).is_pending());
                }
                drop(abandoned);
                Ok(0)
            }
        }
    }
    .boxed_local()
}

fn first_failure(results: impl IntoIterator<Item = Result<u64>>) -> Result<u64> {
    results.into_iter().try_fold(0, |sum, result| Ok(sum + result? % 1000))
}

enum Branch<'a> {
    Running(LocalBoxFuture<'a, Result<u64>>),
    Ended(Option<Result<u64>>),
}

struct Rotate<'a> {
    round: usize,
    branches: Vec<Branch<'a>>,
}

impl Future for Rotate<'_> {
    type Output = Vec<Result<u64>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (n, first) = (self.branches.len(), self.round);
        self.round += 1;
        for i in 0..n {
            let branch = &mut self.branches[(first + i) % n];
            if let Branch::Running(future) = branch
                && let Poll::Ready(result) = future.as_mut().poll(cx)
            {
                *branch = Branch::Ended(Some(result));
            }
        }
        let mut ended = Vec::new();
        if self.branches.iter().any(|branch| matches!(branch, Branch::Running(_))) {
            return Poll::Pending;
        }
        for branch in &mut self.branches {
            if let Branch::Ended(result) = branch {
                ended.extend(result.take());
            }
        }
        Poll::Ready(ended)
    }
}

struct Race<'a>(Vec<LocalBoxFuture<'a, Result<u64>>>);

impl Future for Race<'_> {
    type Output = (usize, Result<u64>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let n = self.0.len();
        let (first, backwards) = (chaos(n), chaos(2) == 0);
        for i in 0..n {
            let i = (first + if backwards { n - i } else { i }) % n;
            if let Poll::Ready(result) = self.0[i].as_mut().poll(cx) {
                return Poll::Ready((i, result));
            }
        }
        Poll::Pending
    }
}

/// Lives and replays one program. Returns how many entries its journal has, and whether it was cancelled.
fn check(node: &Arc<Node>, habits: Habits, seed: u64) -> std::result::Result<usize, String> {
    let node = node.clone();
    let workflow = Closure(move |ctx: Ctx| {
        let node = node.clone();
        async move {
            let result = execute(&node, At { ctx: ctx.clone(), path: "".into() }).await;
            trace(format!("end {result:?}"));
            Ok(serde_json::json!(result?))
        }
    });
    let mut sim = Sim::new(Arc::new(workflow), habits, seed);
    sim.live()?;
    sim.replays(4)?;
    Ok(sim.length())
}

/// Every program of a thread; the shrunk failure and its seed are in the panic's message.
fn hold(cases: u32, habits: Habits) {
    // PROPTEST_CASES asks for more.
    let default = Config { failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    let config = Config { cases: default.cases.max(cases), ..default };
    let entries = Cell::new(0);
    let result = TestRunner::new(config).run(&(program(), any::<u64>()), |(node, seed)| {
        let length = check(&Arc::new(node), habits, seed).map_err(TestCaseError::fail)?;
        entries.set(entries.get() + length);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{habits:?}\n{error}");
    }
    assert!(entries.get() > cases as usize, "only {} entries in {cases} journals", entries.get());
}

#[test]
fn programs_replay_as_they_lived() {
    hold(3_000, Habits { burst: 3, ..Habits::default() });
}

#[test]
fn programs_replay_as_they_lived_through_hang_ups_and_refusals() {
    hold(3_000, Habits { burst: 3, hangs_up: true, refuses: true, ..Habits::default() });
}

#[test]
fn programs_replay_as_they_lived_when_cancelled() {
    hold(4_000, Habits { burst: 2, hangs_up: true, refuses: true, cancels: true, ..Habits::default() });
}

#[test]
fn verification_after_each_commit_raises_no_false_alarm() {
    hold(1_000, Habits { burst: 3, cancels: true, verifies: true, ..Habits::default() });
}
