//! The determinism matrix: unmodified combinators, lived with outcomes in random order and batches of any size, then
//! replayed from their journals. Whatever the code saw live, in whatever order, it must see again.

mod sim;
mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, Shared, join_all, select};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, future::LocalBoxFuture};
use sim::{Habits, Sim, gate, trace};
use support::Closure;
use workflow_core::{Ctx, Failure};

const SEEDS: u64 = 300;
const REPLAYS: usize = 5;

type Value = LocalBoxFuture<'static, u64>;

/// An operation as the workflows below use it: named, with a value that no other one has.
#[derive(Clone)]
struct Run {
    ctx: Ctx,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Step,
    Event,
    Sleep,
    Mixed,
}

const KINDS: [Kind; 4] = [Kind::Step, Kind::Event, Kind::Sleep, Kind::Mixed];

impl Run {
    #[track_caller]
    fn op(&self, name: impl AsRef<str>) -> Value {
        let name = name.as_ref();
        let hash = name.bytes().fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let kind = match self.kind {
            Kind::Mixed => KINDS[hash as usize % 3],
            kind => kind,
        };
        let ctx = self.ctx.clone();
        match kind {
            Kind::Event => {
                let event = ctx.wait_for_event::<u64>(name);
                async move { event.await.expect("nothing cancels it") }.boxed_local()
            }
            Kind::Sleep => {
                let sleep = ctx.scope(name).sleep(Duration::from_millis(hash % 50));
                async move {
                    sleep.await.expect("nothing cancels it");
                    u64::try_from(ctx.now().timestamp_micros()).expect("after 1970")
                }
                .boxed_local()
            }
            Kind::Step | Kind::Mixed => {
                let step = ctx.step(name, async || Ok(gate().await));
                async move { step.await.expect("nothing cancels it") }.boxed_local()
            }
        }
    }

    fn trace(&self, line: String) {
        trace(format!("{line} @{} ~{}", self.ctx.now().timestamp_micros(), self.ctx.random() % 1000));
    }
}

fn hold(name: &str, code: impl Fn(Run) -> LocalBoxFuture<'static, ()> + Send + Sync + Copy + 'static) {
    let mut replays = 0;
    for burst in [1, 4] {
        for seed in 0..SEEDS {
            let kind = KINDS[seed as usize % KINDS.len()];
            let workflow = Closure(move |ctx: Ctx| {
                let done = code(Run { ctx, kind });
                async move {
                    done.await;
                    Ok(serde_json::Value::Null)
                }
            });
            let mut sim = Sim::new(Arc::new(workflow), Habits { burst, ..Habits::default() }, seed);
            let verdict = sim.live().and_then(|()| sim.replays(REPLAYS));
            if let Err(reason) = verdict {
                panic!("{name}: {kind:?}, {burst} outcomes at once, seed {seed}: {reason}");
            }
            replays += REPLAYS as u64;
        }
    }
    assert_eq!(replays, 2 * SEEDS * REPLAYS as u64);
}

#[test]
fn tokio_select_of_operations() {
    hold("tokio::select! of operations", |run| {
        Box::pin(async move {
            for _ in 0..4 {
                tokio::select! {
                    v = run.op("a") => { run.trace(format!("a{v}")); run.op("after_a").await; }
                    v = run.op("b") => { run.trace(format!("b{v}")); run.op("after_b").await; }
                }
            }
        })
    });
}

#[test]
fn tokio_select_of_async_blocks() {
    hold("tokio::select! of async blocks", |run| {
        Box::pin(async move {
            for _ in 0..4 {
                tokio::select! {
                    v = async { let x = run.op("a1").await; x + run.op("a2").await } => run.trace(format!("a{v}")),
                    v = async { let x = run.op("b1").await; x + run.op("b2").await } => run.trace(format!("b{v}")),
                }
            }
        })
    });
}

#[test]
fn tokio_select_of_async_blocks_with_the_same_names() {
    hold("tokio::select! of async blocks, same names", |run| {
        Box::pin(async move {
            for _ in 0..4 {
                tokio::select! {
                    v = async { let x = run.op("x").await; x + run.op("x").await } => run.trace(format!("a{v}")),
                    v = async { let x = run.op("x").await; x * 2 + run.op("x").await } => run.trace(format!("b{v}")),
                }
            }
        })
    });
}

#[test]
fn futures_select() {
    hold("futures::select!", |run| {
        Box::pin(async move {
            for _ in 0..4 {
                let (mut a, mut b) = (run.op("a").fuse(), run.op("b").fuse());
                futures::select! {
                    v = a => run.trace(format!("a{v}")),
                    v = b => run.trace(format!("b{v}")),
                }
            }
        })
    });
}

#[test]
fn tokio_join_of_operations() {
    hold("tokio::join! of operations", |run| {
        Box::pin(async move {
            let (x, y) = tokio::join!(run.op("a"), run.op("b"));
            run.trace(format!("{x},{y}"));
            let z = run.op("z").await;
            run.trace(format!("{z}"));
        })
    });
}

#[test]
fn tokio_join_of_branches() {
    hold("tokio::join! of branches", |run| {
        Box::pin(async move {
            let branch = |name: &'static str| {
                let run = run.clone();
                async move {
                    let mut sum = 0;
                    for i in 0..3 {
                        sum += run.op(format!("{name}{i}")).await;
                        run.trace(format!("{name}{i}"));
                    }
                    sum
                }
            };
            let (x, y, z) = tokio::join!(branch("a"), branch("b"), branch("c"));
            run.trace(format!("{x},{y},{z}"));
        })
    });
}

#[test]
fn tokio_join_of_branches_with_the_same_names() {
    hold("tokio::join! of branches, same names", |run| {
        Box::pin(async move {
            let branch = |n: usize| {
                let run = run.clone();
                async move {
                    let mut seen = Vec::new();
                    for _ in 0..3 {
                        seen.push(run.op("x").await);
                    }
                    run.trace(format!("{n}:{seen:?}"));
                }
            };
            tokio::join!(branch(0), branch(1), branch(2));
        })
    });
}

#[test]
fn join_all_of_64_futures_with_two_steps() {
    hold("join_all(64)", |run| {
        Box::pin(async move {
            let one = |i: usize| {
                let run = run.clone();
                async move {
                    let first = run.op(format!("s{i}")).await;
                    first + run.op(format!("t{i}")).await
                }
            };
            let values = join_all((0..64).map(one)).await;
            run.trace(format!("{values:?}"));
        })
    });
}

#[test]
fn futures_unordered_with_a_follow_up_step() {
    hold("FuturesUnordered with a follow-up step", |run| {
        Box::pin(async move {
            let one = |i: usize| {
                let run = run.clone();
                async move { (i, run.op(format!("s{i}")).await) }
            };
            let mut all: FuturesUnordered<_> = (0..8).map(one).collect();
            while let Some((i, v)) = all.next().await {
                run.trace(format!("{i}={v}"));
                run.op(format!("after{i}")).await;
            }
        })
    });
}

#[test]
fn shared_and_join() {
    hold("Shared and join!", |run| {
        Box::pin(async move {
            let first: Shared<Value> = run.op("a").shared();
            let second = first.clone();
            let (x, y) =
                futures::join!(async { first.await + run.op("p").await }, async { second.await + run.op("q").await });
            run.trace(format!("{x},{y}"));
        })
    });
}

#[test]
fn select_over_completed_handles() {
    hold("select! over completed handles", |run| {
        Box::pin(async move {
            let (mut a, mut b) = (run.op("a").fuse(), run.op("b").fuse());
            run.op("gate").await;
            run.op("gate2").await;
            futures::select! {
                v = a => { run.trace(format!("a{v}")); run.op("A").await; }
                v = b => { run.trace(format!("b{v}")); run.op("B").await; }
            }
        })
    });
}

#[test]
fn select_of_a_deadline_and_work_in_a_loop() {
    hold("select!(&mut deadline, work) loop", |run| {
        Box::pin(async move {
            let mut deadline = run.op("deadline");
            for i in 0..5 {
                tokio::select! {
                    v = &mut deadline => {
                        run.trace(format!("deadline{v} in round {i}"));
                        run.op("cleanup").await;
                        return;
                    }
                    v = run.op("work") => {
                        run.trace(format!("w{i}={v}"));
                        run.op("side").await;
                    }
                }
            }
            let v = deadline.await;
            run.trace(format!("late{v}"));
        })
    });
}

#[test]
fn future_select_with_the_loser_kept() {
    hold("future::select, the loser kept", |run| {
        Box::pin(async move {
            for i in 0..3 {
                let work = Box::pin({
                    let run = run.clone();
                    async move { run.op("p1").await + run.op("p2").await }
                }) as Pin<Box<dyn Future<Output = u64>>>;
                match select(work, run.op("timer")).await {
                    Either::Left((v, _)) => run.trace(format!("{i}:ok{v}")),
                    Either::Right((_, work)) => {
                        run.trace(format!("{i}:timeout"));
                        if i == 1 {
                            let v = work.await;
                            run.trace(format!("late{v}"));
                        }
                    }
                }
            }
        })
    });
}

/// Beyond the matrix: how many polls it takes until a message has gone from one branch to another depends on which of
/// them is polled first, and `tokio::join!` begins with another branch at each poll.
#[test]
fn tokio_join_of_branches_that_talk_to_each_other() {
    hold("tokio::join! with a channel between the branches", |run| {
        Box::pin(async move {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            tokio::join!(
                async {
                    while let Some(v) = receiver.recv().await {
                        let w = run.op("x").await;
                        run.trace(format!("got {v}, {w}"));
                    }
                },
                async {
                    run.op("busy").await;
                    run.op("busy").await;
                },
                async {
                    for _ in 0..3 {
                        let v = run.op("y").await;
                        let _ = sender.send(v);
                        let w = run.op("x").await;
                        run.trace(format!("sent {v}, {w}"));
                    }
                    drop(sender);
                }
            );
        })
    });
}

/// Beyond the matrix: a branch that is ready at once may or may not be polled before one that makes operations.
#[test]
fn tokio_select_with_a_branch_that_is_ready_at_once() {
    hold("tokio::select! with a ready branch", |run| {
        Box::pin(async move {
            let first = run.op("a").shared();
            first.clone().await;
            for _ in 0..3 {
                tokio::select! {
                    v = first.clone() => run.trace(format!("a{v}")),
                    v = async { run.op("b").await + run.op("c").await } => run.trace(format!("b{v}")),
                }
                let v = run.op("b").await;
                run.trace(format!("then b{v}"));
            }
        })
    });
}

#[test]
fn a_divergence_would_be_seen() {
    let code = |ctx: Ctx| async move {
        let (a, b) = (ctx.step("a", async || Ok(gate().await)), ctx.step("b", async || Ok(gate().await)));
        // Not deterministic, on purpose.
        let v = if sim::chaos(2) == 0 { a.await? } else { b.await? };
        trace(format!("{v}"));
        Ok::<_, Failure>(serde_json::Value::Null)
    };
    let caught = (0..20).filter(|&seed| {
        let mut sim = Sim::new(Arc::new(Closure(code)), Habits { burst: 1, ..Habits::default() }, seed);
        sim.live().and_then(|()| sim.replays(REPLAYS)).is_err()
    });
    assert!(caught.count() > 10);
}
