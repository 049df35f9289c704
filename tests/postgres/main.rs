//! Postgres as it is in production: roles, TLS, poolers, settings, outages. What an executor does there, and what it says.

#![cfg(feature = "postgres")]
#![expect(clippy::disallowed_methods, reason = "tests wait, with limits, in real time")]

#[path = "../support/docs.rs"]
mod docs;
#[path = "../support/faulty.rs"]
mod faulty;
mod flow;
mod lane;
#[path = "../support/log.rs"]
mod log;
mod pooler;
mod roles;
mod server;
mod settings;
mod support;
mod tls;
mod transaction;
mod url;
