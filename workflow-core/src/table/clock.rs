//! What the store's clock does to a run's operations: timers, retries, and bodies that may begin.

use std::task::Waker;

use crate::ids::Timestamp;
use crate::ops::Due;
use crate::seeded::{self, Bug};

use super::{Table, after_micros};

impl Table {
    /// Sets the timer of an operation whose request is recorded.
    pub(super) fn schedule(&mut self, index: usize) {
        let op = &self.ops[index];
        if let (false, Some(asked_at), Some(due)) = (op.settled, op.asked_at, op.command.due()) {
            let at = match due {
                Due::At(at) => at,
                Due::After(delay) => after_micros(asked_at, crate::ops::micros(delay)),
            };
            let at = if seeded::is(Bug::EarlyTimer) { at - chrono::TimeDelta::milliseconds(200) } else { at };
            self.timers.insert((at, index));
        }
    }

    /// What the clock has ended by `now` goes into the turn.
    pub(crate) fn pass_time(&mut self, now: Timestamp) {
        while let Some(&(due, index)) = self.timers.first() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            let op = &self.ops[index];
            if !op.is_open() || op.settled {
                continue;
            }
            let (phase, payload) = op.command.at_due();
            self.withdraw(index);
            self.settle(index, phase, payload, None);
            if let Some(pending) = self.pending.last_mut() {
                pending.not_before = Some(due);
            }
        }
    }

    /// When the clock matters next: the earliest timer or retry of what is recorded.
    pub(crate) fn next_wake(&mut self) -> Option<Timestamp> {
        while let Some(&(_, index)) = self.timers.first() {
            let op = &self.ops[index];
            if op.is_open() && !op.settled {
                break;
            }
            self.timers.pop_first();
        }
        while let Some(&(_, index)) = self.retries.first() {
            if self.ops[index].awaits_attempt() {
                break;
            }
            self.retries.pop_first();
        }
        let timer = self.timers.first().map(|&(due, _)| due);
        let retry = self.retries.first().map(|&(due, _)| due);
        let starting = self.starting.iter().filter_map(|&i| self.ops[i].retry_at).min();
        timer.into_iter().chain(retry).chain(starting).min()
    }

    /// Lets the bodies begin whose time has come. Returns who is to be woken.
    pub(crate) fn open_bodies(&mut self, now: Timestamp) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if self.dry {
            return wakers;
        }
        while let Some(&(due, index)) = self.retries.first() {
            if due > now {
                break;
            }
            self.retries.pop_first();
            self.starting.push(index);
        }
        let mut later = Vec::new();
        for index in std::mem::take(&mut self.starting) {
            let barred = self.cancelling && !self.ops[index].shielded && !seeded::is(Bug::IgnoredCancel);
            let op = &mut self.ops[index];
            if !op.awaits_attempt() {
                op.awaits_permission = false;
                continue;
            }
            if let Some(due) = op.retry_at.filter(|&due| due > now) {
                self.retries.insert((due, index));
                continue;
            }
            if barred || op.key.is_none() {
                later.push(index);
                continue;
            }
            op.open = true;
            self.opened.push(index);
            wakers.extend(op.waker.take());
        }
        self.starting = later;
        wakers
    }
}
