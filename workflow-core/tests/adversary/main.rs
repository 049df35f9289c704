//! Attempts to break the machine: each ends in a documented way, and never in a panic, a hang or a silent divergence.

#[path = "../support/mod.rs"]
mod support;

mod alike;
mod cancelled;
mod destructors_and_serialisers;
mod dropped_and_kept;
mod journals_edited_by_hand;
mod limits;
mod messages;
mod misuse;
mod transactions;
mod wakers;

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::future::{Either, join_all, select};
use futures::stream::{FuturesUnordered, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::{Closure, Run, State};
use workflow_core::env::MachineOptions;
use workflow_core::journal::{Fact, OpKey, Phase};
use workflow_core::replay::{Next, cancel};
use workflow_core::store::Then;
use workflow_core::{Ctx, Failure, FailureKind, Payload, RetryPolicy, Workflow, WorkflowFuture};

const HOUR: Duration = Duration::from_secs(3600);

/// A body that waits until a test opens it.
#[derive(Clone, Default)]
struct Latch(Arc<Mutex<(bool, Option<Waker>)>>);

impl Latch {
    async fn wait(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.0.lock().expect("no panic holds it");
            if state.0 {
                return Poll::Ready(());
            }
            state.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn open(&self) {
        let waker = {
            let mut state = self.0.lock().expect("no panic holds it");
            state.0 = true;
            state.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Counts, from inside of workflows and bodies.
#[derive(Clone, Default)]
struct Count(Arc<AtomicU32>);

impl Count {
    fn up(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    fn get(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Two clones of what the closure captures: one for each time the code runs.
fn run_with<T, Fut>(shared: &T, code: impl Fn(Ctx, T) -> Fut + Send + Sync + 'static) -> Run
where
    T: Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, Failure>> + 'static,
{
    let shared = shared.clone();
    Run::new(move |ctx| code(ctx, shared.clone()))
}

fn failure(result: Result<Value, Failure>, kind: FailureKind) -> String {
    let failure = result.expect_err("fails");
    assert_eq!(failure.kind(), kind, "{failure:?}");
    failure.message().to_owned()
}

fn parked(state: State, code: &str) -> String {
    match state {
        State::Parked(reason) => {
            assert_eq!(reason.code, code, "{}", reason.message);
            reason.message
        }
        other => panic!("not parked: {other:?}"),
    }
}

fn event(name: &str, nth: u32, seq: i64) -> Fact {
    Fact {
        key: OpKey::new("event", name, nth),
        phase: Phase::Ok,
        payload: Payload::json(&seq).expect("JSON"),
        mark: Some(seq),
    }
}

#[derive(Clone, Copy)]
struct Nothing;

impl Workflow for Nothing {
    type Input = u32;
    type Output = u32;
    const NAME: &'static str = "nothing";
    fn call(self, _: Ctx, n: u32) -> WorkflowFuture<u32> {
        Box::pin(async move { Ok(n) })
    }
}
