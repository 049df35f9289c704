//! The Postgres store keeps the rules of every store: with all accelerators, with none on a pool of the user's, and when
//! every transaction is serializable.

mod support;

use support::Harness;
use workflow_pg::Capabilities;

async fn accelerated() -> Harness {
    Harness::start(Capabilities::ALL, "").await
}

workflow_core::store_conformance!(accelerated());

mod plain {
    use super::*;

    async fn plain() -> Harness {
        Harness::start(Capabilities::NONE, "").await.on_a_pool_of_the_users().await
    }

    workflow_core::store_conformance!(plain());
}

mod serializable {
    use super::*;

    async fn serializable() -> Harness {
        Harness::start(Capabilities::NONE, "ALTER DATABASE %I SET default_transaction_isolation = serializable").await
    }

    workflow_core::store_conformance!(serializable());
}
