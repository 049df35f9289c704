//! What the code of a run and the world around it share.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use workflow_core::env::{Env, MachineOptions, SendFuture};
use workflow_core::{ExecutorId, MemoryStore, StepCtx, Store};

/// A small generator of numbers that look random (xorshift64*, after SplitMix64 for the seed).
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((z ^ (z >> 31)) | 1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What bodies and workflow share with the world. Only used by the thread of one test.
#[derive(Default)]
pub(super) struct World {
    pub gates: BTreeMap<usize, GateState>,
    next: usize,
    value: u64,
    pub trace: Vec<String>,
    pub started: Vec<(String, u32)>,
    pub chaos: Option<Rng>,
    pub mute: bool,
}

#[derive(Default)]
pub(super) struct GateState {
    pub waker: Option<Waker>,
    pub value: Option<u64>,
}

thread_local! {
    pub(super) static WORLD: RefCell<World> = RefCell::new(World::default());
}

/// Ready when the world says so, with a value that nothing else has.
pub struct Gate(usize);

pub fn gate() -> Gate {
    WORLD.with_borrow_mut(|world| {
        world.next += 1;
        world.gates.insert(world.next, GateState::default());
        Gate(world.next)
    })
}

impl Future for Gate {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        WORLD.with_borrow_mut(|world| {
            let state = world.gates.get_mut(&self.0).expect("a gate lives as long as its future");
            state.waker = Some(cx.waker().clone());
            state.value.map_or(Poll::Pending, Poll::Ready)
        })
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = WORLD.try_with(|world| world.try_borrow_mut().map(|mut world| world.gates.remove(&self.0)));
    }
}

/// Notes what the code sees.
pub fn trace(line: String) {
    WORLD.with_borrow_mut(|world| {
        if !world.mute {
            world.trace.push(line);
        }
    });
}

/// Notes that a body has begun.
pub fn started(step: &StepCtx) {
    let shown = format!("{step:?}");
    let key = shown.trim_start_matches("StepCtx(").split(" of run").next().expect("never empty").to_owned();
    WORLD.with_borrow_mut(|world| world.started.push((key, step.attempt())));
}

/// A number that isn't the same on replay: what `select!` takes for the order of its branches.
pub fn chaos(n: usize) -> usize {
    WORLD.with_borrow_mut(|world| world.chaos.get_or_insert_with(|| Rng::new(99)).below(n))
}

pub(super) fn value() -> u64 {
    WORLD.with_borrow_mut(|world| {
        world.value += 1;
        world.value
    })
}

pub(super) struct SimEnv(pub MachineOptions);

impl Env for SimEnv {
    fn options(&self) -> &MachineOptions {
        &self.0
    }
    fn state(&self, _: TypeId) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
    fn enter(&self, f: &mut dyn FnMut()) {
        f();
    }
    fn timer(&self, _: Duration) -> SendFuture {
        let gate = gate();
        Box::pin(async move {
            gate.await;
        })
    }
    fn spawn(&self, _: SendFuture) {}
    fn random(&self) -> f64 {
        0.5
    }
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new(workflow_core::ManualClock::default()))
    }
    fn executor(&self) -> ExecutorId {
        ExecutorId::generate()
    }
}
