//! A user's transaction commits an entry by itself: the machine polls its commit, and takes the entry.

use crate::guard;
use crate::ops::Effect;
use crate::slot::Slot;
use crate::table::Pending;

use super::Machine;

impl Machine {
    /// What a user's transaction has committed by itself becomes part of the journal.
    pub(super) fn collect_slot(&mut self) {
        // Polled outside of the table: it calls the store and the runtime.
        let Some(mut slot) = self.inner.table.borrow_mut().slot.take() else { return };
        let committed = slot.commit.as_mut().and_then(|commit| commit.poll(&*self.inner.env));
        let Slot { op, position, commit: Some(commit), .. } = &slot else {
            let mut table = self.inner.table.borrow_mut();
            table.slot = Some(slot).filter(|slot| table.ops[slot.op].is_open());
            return;
        };
        let Some(committed) = committed else {
            self.inner.table.borrow_mut().slot = Some(slot);
            return;
        };
        let (op, position) = (*op, *position);
        commit.result.replace(Some(committed.clone()));
        if let Ok(now) = committed {
            let fact = commit.fact.clone();
            self.keep(position, &fact, now);
            let pending = Pending { fact, op: Some(op), effect: Effect::None, not_before: None };
            let mut table = self.inner.table.borrow_mut();
            table.ops[op].settled = true;
            table.apply(position, pending, now);
            self.position = position + 1;
        }
        let waker = self.inner.table.borrow_mut().slot_waker.take();
        guard::wake(&self.root, waker);
    }
}
