//! When a failed step is tried again.

use std::time::Duration;

/// The longest delay, timeout or sleep that is accepted: 100 years.
pub const MAX_DURATION: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// How often and after which delay a failed step is tried again.
///
/// The delay before attempt `n + 1` is `min(cap, base * factor^(n-1))`, and with jitter a uniformly random part of
/// it ("full jitter", <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
/// The default is 5 attempts, 1 s base, factor 2, 5 min cap, full jitter.
///
/// ```
/// use std::time::Duration;
/// use workflow_core::RetryPolicy;
/// let policy = RetryPolicy::exponential(Duration::from_millis(100)).attempts(3).cap(Duration::from_secs(1));
/// assert!(policy.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    pub(crate) attempts: u32,
    pub(crate) base: Duration,
    pub(crate) factor: f64,
    pub(crate) cap: Duration,
    pub(crate) jitter: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 5, base: Duration::from_secs(1), factor: 2.0, cap: Duration::from_secs(300), jitter: true }
    }
}

impl RetryPolicy {
    /// One attempt, no retry.
    pub fn none() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// Exponential backoff that starts with `base`.
    pub fn exponential(base: Duration) -> Self {
        Self { base, ..Self::default() }
    }

    /// The same delay before every attempt, without jitter.
    pub fn fixed(delay: Duration) -> Self {
        Self { base: delay, factor: 1.0, cap: delay, jitter: false, ..Self::default() }
    }

    /// How many attempts there are in all, the first one counted. At least 1.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Tries without end.
    pub fn forever(mut self) -> Self {
        self.attempts = u32::MAX;
        self
    }

    /// What the delay is multiplied with after each attempt. At least 1.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// The longest delay.
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// The full delay each time, instead of a random part of it.
    pub fn no_jitter(mut self) -> Self {
        self.jitter = false;
        self
    }

    /// Whether the numbers make sense.
    ///
    /// # Errors
    ///
    /// A sentence that names the offending value.
    pub fn check(&self) -> Result<(), String> {
        if self.attempts == 0 {
            return Err("a retry policy of 0 attempts would never run the step: use RetryPolicy::none() for 1".into());
        }
        if !self.factor.is_finite() || self.factor < 1.0 {
            return Err(format!("a retry factor of {} is not allowed: use a number of at least 1", self.factor));
        }
        for (what, value) in [("base", self.base), ("cap", self.cap)] {
            if value > MAX_DURATION {
                return Err(format!("a retry {what} of {} s is more than 100 years", value.as_secs()));
            }
        }
        Ok(())
    }

    /// The delay after the failed attempt number `attempt` (from 1), or `None` when it was the last.
    ///
    /// `random` is uniform in 0..1.
    pub fn delay(&self, attempt: u32, random: f64) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        if self.base.is_zero() {
            // Zero times an overflow would be no number, and that the cap.
            return Some(Duration::ZERO);
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = (self.base.as_secs_f64() * self.factor.powi(exponent)).min(self.cap.as_secs_f64());
        let seconds = if self.jitter { seconds * random.clamp(0.0, 1.0) } else { seconds };
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(self.cap).min(self.cap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap_and_end() {
        let policy =
            RetryPolicy::exponential(Duration::from_secs(1)).attempts(5).cap(Duration::from_secs(3)).no_jitter();
        let delays: Vec<_> = (1..=5).map(|n| policy.delay(n, 0.5).map(|d| d.as_secs())).collect();
        assert_eq!(delays, [Some(1), Some(2), Some(3), Some(3), None]);
        let forever = RetryPolicy::default().forever();
        assert_eq!(forever.delay(u32::MAX - 1, 1.0), Some(Duration::from_secs(300)));
        assert_eq!(RetryPolicy::exponential(Duration::ZERO).forever().delay(5_000, 1.0), Some(Duration::ZERO));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            RetryPolicy::default().attempts(0),
            RetryPolicy::default().factor(f64::NAN),
            RetryPolicy::default().factor(0.5),
            RetryPolicy::default().cap(Duration::MAX),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
