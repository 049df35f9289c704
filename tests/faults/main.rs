//! What the executor and the client do when the store fails: every call of every method once, before it was applied
//! and after, and at random. Whatever was acknowledged ends, with the right result.

#![expect(clippy::disallowed_methods, reason = "tests wait, with limits, in real time")]

#[path = "../support/faulty.rs"]
mod faulty;
mod random;
mod single;
mod sites;
mod workload;
