//! `client.invoke(..).within(&mut tx)`: a run that exists if and only if the user's transaction commits.

use sqlx::{Connection, PgConnection, SqliteConnection};
use workflow::prelude::*;

use crate::support::{Place, Stage, soon};

#[workflow(name = "within_double")]
async fn double(_ctx: Ctx, n: u32) -> Result<u32> {
    Ok(n * 2)
}

/// The same with either database's connection: they share no trait that begins a transaction of a known type.
macro_rules! exists_if_and_only_if_committed {
    ($name:ident, $stage:expr, $connection:ty) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let stage = $stage;
            let url: String = url(&stage.place);
            let executor = stage.executor().register(double).start().await.expect("starts");
            let client = executor.client();
            let mut user = <$connection>::connect(&url).await.expect("connects");

            let mut tx = user.begin().await.expect("begins");
            let refused = client.invoke(double, 1).id("one").within(&mut tx).await.expect("creates");
            tx.rollback().await.expect("rolls back");
            assert!(!stage.exists(refused.id()).await, "it was rolled back");

            let mut tx = user.begin().await.expect("begins");
            let run = client.invoke(double, 21).id("one").within(&mut tx).await.expect("creates");
            assert!(!stage.exists(run.id()).await, "nobody sees it before the commit");
            tx.commit().await.expect("commits");
            assert_eq!(soon("its result", run.result()).await.expect("ends well"), 42);

            let mut tx = user.begin().await.expect("begins");
            let same = client.invoke(double, 21).id("one").within(&mut tx).await.expect("attaches");
            assert_eq!(same.id(), run.id());
            let other = client.invoke(double, 22).id("one").within(&mut tx).await.expect_err("another input");
            assert_eq!(other.code(), "ID_CONFLICT");
            tx.rollback().await.expect("rolls back");
            executor.shutdown().await.expect("shuts down");
        }
    };
}

exists_if_and_only_if_committed!(on_postgres, Stage::postgres().await, PgConnection);
exists_if_and_only_if_committed!(on_sqlite, Stage::sqlite().await, SqliteConnection);

fn url(place: &Place) -> String {
    match place {
        Place::Postgres(database) => database.url().to_owned(),
        Place::Sqlite(directory) => format!("sqlite:{}", directory.file().display()),
        Place::Memory(_) => unreachable!("memory has no connections"),
    }
}
