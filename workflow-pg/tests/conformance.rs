//! The Postgres store keeps the rules of every store: with all accelerators; and with none, on a pool of the user's, when
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

    const SERIALIZABLE: &str = "ALTER DATABASE %I SET default_transaction_isolation = serializable";

    async fn plain() -> Harness {
        Harness::start(Capabilities::NONE, SERIALIZABLE).await.on_a_pool_of_the_users().await
    }

    workflow_core::store_conformance!(plain());
}
