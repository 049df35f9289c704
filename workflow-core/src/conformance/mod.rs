//! The rules every store keeps, as tests: one list of cases, one macro, called in one line by each store.
//!
//! A store's test crate, which needs `tokio` with its macros, writes a [`Harness`] and calls
//! [`store_conformance!`](crate::store_conformance) once per file. Each case becomes one `#[tokio::test]` in the
//! module `conformance`, on an empty store of its own.
//!
//! A case is an `async fn(&Bench)` whose name is the claim it tests, and one line in `cases.rs`. Cases ask
//! nothing of a runtime: what happens at once happens in one task, with `join_all`. They wait by [`Harness::advance`]
//! alone, and what has to run out has run out by then: nothing is tested by being quick. No case accepts
//! [`StoreError::Contention`](crate::StoreError): with so few at work, a store gets through by its order of locks or by
//! trying again itself.

mod bench;
#[doc(hidden)]
pub mod buffer;
mod cases;
#[doc(hidden)]
pub mod child;
#[doc(hidden)]
pub mod claim;
#[doc(hidden)]
pub mod commit;
#[doc(hidden)]
pub mod create;
#[doc(hidden)]
pub mod event;
#[doc(hidden)]
pub mod fact;
#[doc(hidden)]
pub mod hang_up;
#[doc(hidden)]
pub mod inbox;
#[doc(hidden)]
pub mod lease;
#[doc(hidden)]
pub mod race;
#[doc(hidden)]
pub mod read;
#[doc(hidden)]
pub mod rescue;
#[doc(hidden)]
pub mod sweep;
#[doc(hidden)]
pub mod turn;
#[doc(hidden)]
pub mod watch;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use bench::Bench;

use crate::store::Store;

/// What a case needs of the store under test.
///
/// Dropping it may delete the database.
#[async_trait]
pub trait Harness: Debug + Send + Sync + 'static {
    /// The store: empty when the case begins. It needn't be migrated yet.
    fn store(&self) -> Arc<dyn Store>;

    /// Another handle on the same database, as another process would have it, where there is such a thing.
    /// Cases that need two use the first one twice when there is none.
    async fn second(&self) -> Option<Arc<dyn Store>> {
        None
    }

    /// Moves the store's clock on by at least `by`: a virtual clock is advanced, a real one is slept through.
    async fn advance(&self, by: Duration);
}
