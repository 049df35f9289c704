//! Wake-ups of one batch, each once, and their form in a notification.

use std::collections::BTreeSet;

use uuid::Uuid;
use workflow_core::ids::check_name;
use workflow_core::store::Wakeup;
use workflow_core::{ExecutorId, RunId};

/// Wake-ups, each once.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    ready: BTreeSet<String>,
    mail: BTreeSet<Uuid>,
    ended: BTreeSet<Uuid>,
    /// Presences of processes that can be watched from now on. No wake-up of the store's.
    entered: BTreeSet<i64>,
    lost: bool,
}

/// Above this many ended runs a notification only says that something was lost: whoever waits looks by itself.
const MAX_ENDED: usize = 1_000;
/// Postgres refuses 8000 bytes.
const MAX_PAYLOAD_BYTES: usize = 7_000;

impl Wakes {
    pub(crate) fn ready(&mut self, queue: &str) {
        if !self.ready.contains(queue) {
            self.ready.insert(queue.to_owned());
        }
    }

    pub(crate) fn mail(&mut self, executor: Uuid) {
        self.mail.insert(executor);
    }

    pub(crate) fn ended(&mut self, run: Uuid) {
        self.ended.insert(run);
    }

    pub(crate) fn entered(&mut self, presence: i64) {
        self.entered.insert(presence);
    }

    /// Of whose presence they tell.
    pub(crate) fn presences(&self) -> impl Iterator<Item = i64> {
        self.entered.iter().copied()
    }

    pub(crate) fn add(&mut self, wakeup: Wakeup) {
        match wakeup {
            Wakeup::Ready(queue) => self.ready(&queue),
            Wakeup::Mail(executor) => self.mail(executor.0),
            Wakeup::Ended(run) => self.ended(run.0),
            Wakeup::Died | Wakeup::Lost => self.lost = true,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.mail.is_empty() && self.ended.is_empty() && self.entered.is_empty() && !self.lost
    }

    /// Adds those of `other`. What is already too much to tell is not kept.
    pub(crate) fn merge(&mut self, other: Self) {
        self.ready.extend(other.ready);
        self.mail.extend(other.mail);
        self.lost |= other.lost;
        self.entered.extend(other.entered);
        self.ended.extend(other.ended);
        if self.ended.len() > MAX_ENDED {
            self.ended.clear();
            self.lost = true;
        }
    }

    /// Each wake-up.
    pub(crate) fn each(&self, mut wake: impl FnMut(Wakeup)) {
        self.ready.iter().for_each(|queue| wake(Wakeup::Ready(queue.clone())));
        self.mail.iter().for_each(|id| wake(Wakeup::Mail(ExecutorId(*id))));
        self.ended.iter().for_each(|id| wake(Wakeup::Ended(RunId(*id))));
        if self.lost {
            wake(Wakeup::Lost);
        }
    }

    /// Payloads of notifications: the sender on the first line, then one wake-up a line, its kind as its first letter.
    pub(crate) fn encode(&self, sender: Uuid) -> Vec<String> {
        let mut lines = Vec::new();
        self.each(|wakeup| {
            lines.push(match wakeup {
                Wakeup::Ready(queue) => format!("\nr{queue}"),
                Wakeup::Mail(executor) => format!("\nm{}", executor.0.simple()),
                Wakeup::Ended(run) => format!("\ne{}", run.0.simple()),
                Wakeup::Died | Wakeup::Lost => "\nl".to_owned(),
            });
        });
        lines.extend(self.presences().map(|presence| format!("\np{presence}")));
        let mut payloads = Vec::new();
        let mut payload = sender.simple().to_string();
        for line in lines {
            if payload.len() + line.len() > MAX_PAYLOAD_BYTES {
                payloads.push(std::mem::replace(&mut payload, sender.simple().to_string()));
            }
            payload.push_str(&line);
        }
        payloads.push(payload);
        payloads
    }

    /// Reads a payload. `None` when `me` sent it. What can't be read counts as lost.
    pub(crate) fn decode(payload: &str, me: Uuid) -> Option<Self> {
        let mut wakes = Self::default();
        let mut lines = payload.lines();
        if lines.next().and_then(|id| Uuid::try_parse(id).ok()) == Some(me) {
            return None;
        }
        for line in lines {
            let kind = line.chars().next();
            let rest = kind.map_or("", |c| &line[c.len_utf8()..]);
            match (kind, Uuid::try_parse(rest)) {
                (Some('r'), _) if check_name("queue", rest).is_ok() => wakes.ready(rest),
                (Some('p'), _) if rest.parse::<i64>().is_ok() => wakes.entered.extend(rest.parse::<i64>()),
                (Some('m'), Ok(id)) => wakes.mail(id),
                (Some('e'), Ok(id)) => wakes.ended(id),
                _ => wakes.lost = true,
            }
        }
        // `NOTIFY workflow` by hand, or by a trigger: look at everything.
        wakes.lost |= wakes.is_empty();
        Some(wakes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(wakes: &Wakes) -> Vec<Wakeup> {
        let mut all = Vec::new();
        wakes.each(|w| all.push(w));
        all
    }

    #[test]
    fn wake_ups_survive_a_notification() {
        let (me, you) = (Uuid::new_v4(), Uuid::new_v4());
        let mut wakes = Wakes::default();
        wakes.ready("mails");
        wakes.mail(Uuid::from_u128(7));
        wakes.entered(-5);
        for n in 0..500 {
            wakes.ended(Uuid::from_u128(n));
        }
        let payloads = wakes.encode(me);
        assert!(payloads.len() > 1 && payloads.iter().all(|p| p.len() < 8_000));
        let mut read = Wakes::default();
        for payload in &payloads {
            assert!(Wakes::decode(payload, me).is_none());
            read.merge(Wakes::decode(payload, you).expect("from somebody else"));
        }
        assert_eq!(collect(&read), collect(&wakes));
        assert!(read.presences().eq([-5]));
    }

    #[test]
    fn what_is_too_much_or_unreadable_counts_as_lost() {
        for payload in ["", "x", "é", "00000000000000000000000000000001\nz", "x\nrno queue\r", "x\nr"] {
            assert_eq!(collect(&Wakes::decode(payload, Uuid::nil()).expect("foreign")), [Wakeup::Lost], "{payload:?}");
        }
        let mut wakes = Wakes::default();
        let mut many = Wakes::default();
        (0..2_000).for_each(|n| many.ended(Uuid::from_u128(n)));
        wakes.merge(many);
        assert_eq!(collect(&wakes), [Wakeup::Lost]);
    }
}
