//! The system tests: every operation and every topic on every store, through executor and client as users have them.

mod support;

mod bad_input;
mod batch;
mod blocking;
mod cancel;
mod child;
mod client;
mod damaged;
mod destructor;
mod event;
mod executor;
mod parked;
mod queue;
mod regression;
mod retention;
mod runtime;
mod secrets;
mod sleep;
mod step;
mod transaction;
mod within;
