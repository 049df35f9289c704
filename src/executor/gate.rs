//! A queue's concurrency: at most so many of its runs are active in this executor at once.
//!
//! A run holds a place from its claim until it is blocked, and asks for one again when it wakes. Blocked runs hold none,
//! so that a parent that waits for children of its own queue doesn't keep them out.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::seeded::{self, Bug};

/// Whom a free place is given to: a driver, and a run of it.
pub(crate) type Waiter = (usize, super::shared::Tag);

/// Places that somebody holds. They are void once the gate was cleared: whoever still has some gives back nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold(u64);

/// The places of one queue.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) name: String,
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How often the gate was cleared.
    cleared: u64,
    taken: usize,
    waiting: VecDeque<Waiter>,
}

impl Gate {
    pub(crate) fn new(name: String, limit: usize) -> Self {
        Self { name, limit, state: Mutex::default() }
    }

    /// Takes up to `max` places for runs to claim. Runs that wait for a place go first.
    pub(crate) fn reserve(&self, max: usize) -> (Hold, usize) {
        let mut state = self.lock();
        let free = if state.waiting.is_empty() { self.limit.saturating_sub(state.taken) } else { 0 };
        let free = if seeded::is(Bug::OpenGate) { max } else { free };
        let room = free.min(max);
        state.taken += room;
        (Hold(state.cleared), room)
    }

    /// Gives back places that weren't used. Returns who gets one of them, under the same hold.
    pub(crate) fn give_back(&self, hold: Hold, count: usize) -> Vec<Waiter> {
        let mut state = self.lock();
        if state.cleared != hold.0 {
            return Vec::new();
        }
        state.taken -= count;
        let free = self.limit.saturating_sub(state.taken).min(state.waiting.len());
        state.taken += free;
        state.waiting.drain(..free).collect()
    }

    /// Takes a place, or queues for one.
    pub(crate) fn enter(&self, waiter: Waiter) -> Option<Hold> {
        let mut state = self.lock();
        if state.taken < self.limit && state.waiting.is_empty() || seeded::is(Bug::OpenGate) {
            state.taken += 1;
            return Some(Hold(state.cleared));
        }
        state.waiting.push_back(waiter);
        None
    }

    /// Forgets everything: all runs were dropped.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        *state = State { cleared: state.cleared + 1, ..State::default() };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_from_before_a_clearing_are_void() {
        let gate = Gate::new("default".to_owned(), 3);
        let (old, room) = gate.reserve(2);
        assert_eq!(room, 2);
        gate.clear();
        let (new, room) = gate.reserve(5);
        assert_eq!(room, 3);
        assert!(gate.give_back(old, 2).is_empty());
        assert_eq!(gate.reserve(1).1, 0, "what was void made no room");
        gate.give_back(new, 1);
        assert_eq!(gate.reserve(5).1, 1);
    }
}
