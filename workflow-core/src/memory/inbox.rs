//! Messages to runs.

use super::state::Life;
use super::tx::Tx;
use crate::ids::{ExecutorId, RunId};
use crate::journal::Fact;
use crate::store::{Mail, Message, NewEvent, NewMessage, SendOutcome, StoreError, Wakeup};

impl Tx<'_> {
    pub(super) fn deliver(
        &mut self,
        sends: &[NewMessage],
        emits: &[NewEvent],
        max_buffered: u64,
    ) -> Result<Vec<SendOutcome>, StoreError> {
        self.check_buffers(emits, max_buffered)?;
        let outcomes = sends.iter().map(|message| self.send(message.to, message.fact.clone())).collect();
        for event in emits {
            self.emit(event);
        }
        Ok(outcomes)
    }

    /// Puts a message in the inbox of `to`.
    pub(super) fn send(&mut self, to: RunId, fact: Fact) -> SendOutcome {
        let Some(run) = self.state.runs.get_mut(&to) else { return SendOutcome::NoSuchRun };
        if let Life::Ended { status, .. } = run.life {
            return SendOutcome::Ended(status);
        }
        run.mail += 1;
        run.inbox.insert(run.mail, fact.clone());
        self.sent.push(Mail { run: to, message: Message { seq: run.mail, fact } });
        match run.life {
            Life::Waiting { .. } => self.make_ready(to),
            Life::Running { owner } => self.wake(Wakeup::Mail(owner)),
            Life::Ready { .. } | Life::Parked(_) | Life::Ended { .. } => {}
        }
        SendOutcome::Delivered
    }

    pub(super) fn mail(&self, executor: ExecutorId, limit: usize) -> Vec<Mail> {
        let owned = self.state.index.owned.get(&executor).into_iter().flatten();
        let runs = owned.filter_map(|id| self.state.runs.get(id));
        let mail = runs.flat_map(|run| {
            let message = |(seq, fact): (&u64, &Fact)| Message { seq: *seq, fact: fact.clone() };
            run.inbox.iter().map(move |row| Mail { run: run.new.id, message: message(row) })
        });
        mail.take(limit).collect()
    }
}
