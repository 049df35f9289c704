//! The system tests: every operation and every topic on every store, through executor and client as users have them.

mod support;

mod executor;
mod queue;
mod sleep;
mod step;
