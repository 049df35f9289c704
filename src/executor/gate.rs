//! A queue's concurrency: at most so many of its runs are active in this executor at once.
//!
//! A run holds a place from its claim until it is blocked, and asks for one again when it wakes. Blocked runs hold none,
//! so that a parent that waits for children of its own queue doesn't keep them out.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whom a free place is given to: a driver, and a run of it.
pub(crate) type Waiter = (usize, super::shared::Tag);

/// The places of one queue.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) name: String,
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    waiting: VecDeque<Waiter>,
}

impl Gate {
    pub(crate) fn new(name: String, limit: usize) -> Self {
        Self { name, limit, state: Mutex::default() }
    }

    /// Takes up to `max` places for runs to claim. Runs that wait for a place go first.
    pub(crate) fn reserve(&self, max: usize) -> usize {
        let mut state = self.lock();
        if !state.waiting.is_empty() {
            return 0;
        }
        let room = self.limit.saturating_sub(state.taken).min(max);
        state.taken += room;
        room
    }

    /// Gives back places that weren't used. Returns who gets one of them.
    pub(crate) fn give_back(&self, count: usize) -> Vec<Waiter> {
        let mut state = self.lock();
        state.taken -= count;
        let free = self.limit.saturating_sub(state.taken).min(state.waiting.len());
        state.taken += free;
        state.waiting.drain(..free).collect()
    }

    /// Takes a place, or queues for one.
    pub(crate) fn enter(&self, waiter: Waiter) -> bool {
        let mut state = self.lock();
        if state.taken < self.limit && state.waiting.is_empty() {
            state.taken += 1;
            return true;
        }
        state.waiting.push_back(waiter);
        false
    }

    /// Forgets everything: all runs were dropped.
    pub(crate) fn clear(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
