//! How a store connects and which accelerators it uses.

use std::time::Duration;

/// What a [`PgStore`](crate::PgStore) may use of the server beyond plain SQL. All of it only saves time: a store with
/// everything switched off is as correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Hear of other processes' wake-ups through `LISTEN`, on a connection of its own. Poolers in transaction mode and
    /// some engines that speak Postgres don't have it.
    pub listen: bool,
    /// Tell other processes through `NOTIFY`, at most about 100 times a second, on a connection of its own.
    pub notify: bool,
    /// Notice within a moment when the process of another executor dies, instead of when its lease ends: by session locks
    /// (`pg_advisory_lock`), on a connection of its own. Needs [`Capabilities::listen`].
    pub presence: bool,
}

impl Capabilities {
    /// Everything Postgres has.
    pub const ALL: Self = Self { listen: true, notify: true, presence: true };
    /// Plain SQL only.
    pub const NONE: Self = Self { listen: false, notify: false, presence: false };
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::ALL
    }
}

/// How a [`PgStore`](crate::PgStore) connects.
#[derive(Clone)]
#[must_use]
pub struct PgOptions {
    pub(crate) url: String,
    pub(crate) pool_size: u32,
    pub(crate) acquire_timeout: Duration,
    pub(crate) capabilities: Capabilities,
}

impl PgOptions {
    /// Options for `postgres://user:password@host:5432/database`, with a pool of 8 connections.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            pool_size: 8,
            acquire_timeout: Duration::from_secs(5),
            capabilities: Capabilities::default(),
        }
    }

    /// How many connections at most (default 8). Up to six more are used: two for leases, so that a busy pool
    /// never makes an executor look dead, two for wake-ups, one that watches another executor, and one for a moment when that
    /// seems to be gone; and one for each driver thread.
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections.max(1);
        self
    }

    /// How long to wait for a connection (default 5 s).
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout;
        self
    }

    /// Whether to use `LISTEN` and `NOTIFY`, and what needs them (default: yes).
    pub fn listen(mut self, on: bool) -> Self {
        self.capabilities.listen = on;
        self.capabilities.notify = on;
        self.capabilities.presence = on;
        self
    }

    /// Which accelerators to use (default: all).
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }
}

impl std::fmt::Debug for PgOptions {
    // The URL holds the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgOptions")
            .field("pool_size", &self.pool_size)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}
