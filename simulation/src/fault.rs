//! What goes wrong between an executor and its store.

use std::time::Duration;

use workflow::StoreError;

use crate::random::Random;

/// How often what goes wrong, out of 1,000 times.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    /// The longest time that a call takes to the store, and its answer back, in milliseconds.
    pub delay_ms: u64,
    /// Calls that fail.
    pub errors: u64,
    /// Wake-ups that are lost.
    pub lost: u64,
    /// Wake-ups that come twice.
    pub doubled: u64,
    /// Wake-ups that come late.
    pub late: u64,
    /// One call of all, by its number, and what becomes of it.
    pub single: Option<(u64, Verdict)>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// What it should.
    Pass,
    /// It isn't applied, and says so.
    Unavailable,
    /// It isn't applied, as others were in its way.
    Contention,
    /// It isn't applied, and nobody is told whether it was.
    UnknownBefore,
    /// It is applied, and nobody is told whether it was.
    UnknownAfter,
    /// It is applied some time after its caller was told that nobody knows.
    UnknownLate,
}

impl Verdict {
    /// What can go wrong with every call.
    pub const ALL: [Verdict; 5] = [
        Verdict::Unavailable,
        Verdict::Contention,
        Verdict::UnknownBefore,
        Verdict::UnknownAfter,
        Verdict::UnknownLate,
    ];

    /// The error that the caller gets.
    pub fn error(self) -> StoreError {
        let reason = "injected".to_owned();
        match self {
            Verdict::Unavailable => StoreError::Unavailable(reason),
            Verdict::Contention => StoreError::Contention(reason),
            _ => StoreError::Unknown(reason),
        }
    }
}

impl Faults {
    /// Decides about a call.
    pub fn verdict(&self, number: u64, random: &mut Random) -> Verdict {
        match self.single {
            Some((single, verdict)) if single == number => verdict,
            _ if random.chance(self.errors, 1_000) => random.pick(&Verdict::ALL),
            _ => Verdict::Pass,
        }
    }

    /// How long a call is on its way. Most are quick.
    pub fn delay(&self, random: &mut Random) -> Duration {
        let most = if random.chance(7, 8) { self.delay_ms.min(3) } else { self.delay_ms };
        Duration::from_millis(random.between(0, most))
    }
}
