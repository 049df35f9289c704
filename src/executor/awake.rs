//! How a driver waits for the answer to the commit of a lone turn: awake, where that is soon over.
//!
//! A thread that sleeps has to be woken, and so has its processor when nothing else runs on it; that alone takes up to half
//! as long as a commit on a local disk. A driver that waits awake offers its processor to everybody else all the time.

use std::time::Duration;

/// Whether to wait awake, by how long the last commits took.
#[derive(Debug)]
pub(crate) struct Awake {
    /// For how long at most, each time.
    limit: Duration,
    /// How long commits take: an exponentially weighted mean.
    usual: Duration,
}

impl Awake {
    /// Whoever has one processor needs it for what is waited for.
    pub(crate) fn new(limit: Duration, processors: usize) -> Self {
        Self { limit: if processors > 1 { limit } else { Duration::ZERO }, usual: Duration::ZERO }
    }

    /// For how long to wait awake before going to sleep.
    pub(crate) fn time(&self) -> Option<Duration> {
        (self.usual < self.limit).then_some(self.limit)
    }

    /// A commit took this long.
    pub(crate) fn took(&mut self, time: Duration) {
        // One that hangs says nothing of the next ones.
        let time = time.min(self.limit * 2);
        self.usual = (self.usual * 3 + time) / 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(500);

    fn after(awake: &mut Awake, times: &[u64]) -> bool {
        times.iter().for_each(|&micros| awake.took(Duration::from_micros(micros)));
        awake.time().is_some()
    }

    #[test]
    fn who_waits_for_a_slow_database_sleeps_until_it_is_fast() {
        let mut awake = Awake::new(LIMIT, 2);
        assert_eq!(awake.time(), Some(LIMIT));
        assert!(after(&mut awake, &[200; 20]));
        assert!(after(&mut awake, &[60_000_000]), "one that hung");
        assert!(!after(&mut awake, &[1_000; 5]));
        assert!(after(&mut awake, &[200; 10]));
    }

    #[test]
    fn nobody_waits_awake_who_must_not() {
        assert_eq!(Awake::new(Duration::ZERO, 8).time(), None);
        assert_eq!(Awake::new(LIMIT, 1).time(), None);
    }
}
