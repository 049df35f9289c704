//! Randomness for names and passwords, from the standard library's hash seeds.

use std::hash::{BuildHasher, Hasher, RandomState};

/// 64 random bits. The seed of `RandomState` comes from the system once a thread; the clock and the process tell calls apart.
#[expect(clippy::disallowed_methods, reason = "a test server's names, not a durable decision")]
pub(crate) fn bits() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u128(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_nanos()));
    hasher.finish()
}

/// A random word of 16 letters and digits.
pub(crate) fn word() -> String {
    format!("{:016x}", bits())
}
