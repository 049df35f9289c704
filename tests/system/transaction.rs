//! `ctx.transaction`: the user's rows and the entry together, exactly once.

use std::time::Duration;

use sqlx::{Connection, PgConnection, Row, SqliteConnection};
use workflow::StoreError;
use workflow::prelude::*;
use workflow::store::Method;

use crate::support::{BRIEF, Faulty, Place, Probe, Stage, on_every_database, outlast, soon, until};

/// Workflows with the transactions of one store.
macro_rules! workflows {
    ($(#[$doc:meta])* $module:ident: $store:ident) => {
        $(#[$doc])*
        mod $module {
            use super::*;
            use workflow::$store::TransactionExt as _;

            #[workflow(name = "deposit")]
            pub async fn deposit(ctx: Ctx, (account, amount): (i64, i64)) -> Result<i64> {
                let probe = ctx.state::<Probe>();
                ctx.transaction("deposit", async |tx| {
                    probe.note("body");
                    let row = sqlx::query("UPDATE account SET balance = balance + $1 WHERE id = $2 RETURNING balance")
                        .bind(amount)
                        .bind(account)
                        .fetch_one(&mut **tx)
                        .await?;
                    sqlx::query("INSERT INTO ledger (account, amount) VALUES ($1, $2)")
                        .bind(account)
                        .bind(amount)
                        .execute(&mut **tx)
                        .await?;
                    if amount == 13 && probe.count("body") < 3 {
                        return Err(Failure::new("unlucky"));
                    }
                    Ok(row.get(0))
                })
                .retry(RetryPolicy::fixed(Duration::from_millis(1)))
                .await
            }

            #[workflow(name = "broken")]
            pub async fn broken(ctx: Ctx) -> Result<()> {
                let probe = ctx.state::<Probe>();
                ctx.transaction("broken", async |tx| {
                    probe.note("body");
                    sqlx::query("INSERT INTO ledger (account, amount) VALUES (1, 1)").execute(&mut **tx).await?;
                    sqlx::query("INSERT INTO nowhere VALUES (1)").execute(&mut **tx).await?;
                    Ok(())
                })
                .retry(RetryPolicy::fixed(Duration::from_millis(1)).attempts(2))
                .await
            }

            #[workflow(name = "slow")]
            pub async fn slow(ctx: Ctx, max_open_millis: u64) -> Result<String> {
                let probe = ctx.state::<Probe>();
                let result = ctx
                    .transaction("slow", async |tx| {
                        sqlx::query("INSERT INTO ledger (account, amount) VALUES (1, 1)").execute(&mut **tx).await?;
                        probe.pass("never").await;
                        Ok(())
                    })
                    .max_open(Duration::from_millis(max_open_millis))
                    .retry(RetryPolicy::none())
                    .await;
                let failure = result.expect_err("took too long");
                Ok(format!("{}: {failure}", failure.code()))
            }

            #[workflow(name = "held")]
            pub async fn held(ctx: Ctx) -> Result<()> {
                let probe = ctx.state::<Probe>();
                ctx.transaction("held", async |tx| {
                    probe.note("body");
                    sqlx::query("INSERT INTO ledger (account, amount) VALUES (1, 1)").execute(&mut **tx).await?;
                    probe.pass("held").await;
                    Ok(())
                })
                .await
            }
        }
    };
}

workflows! {
    /// On Postgres.
    pg: postgres
}

workflows! {
    /// On an SQLite file.
    lite: sqlite
}

mod serializable {
    //! With an isolation level that SQLite has no other than.
    use super::*;
    use workflow::postgres::TransactionExt as _;

    /// Reads both balances before it moves money: two of these at once can't both be right.
    #[workflow]
    pub async fn move_serializably(ctx: Ctx, (from, to): (i64, i64)) -> Result<i64> {
        let probe = ctx.state::<Probe>();
        ctx.transaction("move", async |tx| {
            sqlx::query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE").execute(&mut **tx).await?;
            let sum: i64 = sqlx::query("SELECT sum(balance)::bigint FROM account").fetch_one(&mut **tx).await?.get(0);
            probe.note("read");
            if probe.count("read") <= 2 {
                // Both have read before either writes.
                probe.noted("read", 2).await;
            }
            sqlx::query("UPDATE account SET balance = balance - 1 WHERE id = $1").bind(from).execute(&mut **tx).await?;
            sqlx::query("UPDATE account SET balance = balance + 1 WHERE id = $1").bind(to).execute(&mut **tx).await?;
            Ok(sum)
        })
        .retry(RetryPolicy::none())
        .await
    }
}

mod wrong {
    //! With the trait of another store.
    use super::*;

    pub mod pg {
        //! Postgres' trait.
        use super::*;
        use workflow::postgres::TransactionExt as _;
        #[workflow(name = "wrong-pg")]
        pub async fn wrong(ctx: Ctx) -> Result<()> {
            ctx.transaction("wrong", async |_| Ok(())).await
        }
    }

    pub mod lite {
        //! SQLite's trait.
        use super::*;
        use workflow::sqlite::TransactionExt as _;
        #[workflow(name = "wrong-lite")]
        pub async fn wrong(ctx: Ctx) -> Result<()> {
            ctx.transaction("wrong", async |_| Ok(())).await
        }
    }
}

/// A step that is held.
#[workflow]
async fn gated(ctx: Ctx) -> Result<()> {
    let probe = ctx.state::<Probe>();
    ctx.step("gated", async || {
        probe.note("step");
        probe.pass("step").await;
        Ok(())
    })
    .await
}

const TABLES: &str = "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL);
    CREATE TABLE ledger (account bigint NOT NULL, amount bigint NOT NULL);
    INSERT INTO account VALUES (1, 100), (2, 100)";

async fn tables(stage: &Stage) {
    stage.edit(TABLES, TABLES).await;
}

fn is_postgres(stage: &Stage) -> bool {
    matches!(stage.place, Place::Postgres(_))
}

/// All workflows of the stage's database.
fn registered(stage: &Stage, builder: workflow::Builder) -> workflow::Builder {
    let builder = builder.register(gated);
    if is_postgres(stage) {
        builder.register(pg::deposit).register(pg::broken).register(pg::slow).register(pg::held)
    } else {
        builder.register(lite::deposit).register(lite::broken).register(lite::slow).register(lite::held)
    }
}

/// The balance of account 1, and how many rows the ledger has.
async fn books(stage: &Stage) -> (i64, i64) {
    let query = "SELECT (SELECT balance FROM account WHERE id = 1), (SELECT count(*) FROM ledger)";
    match &stage.place {
        Place::Postgres(database) => {
            let mut server = PgConnection::connect(database.url()).await.expect("connects");
            let row = sqlx::query(query).fetch_one(&mut server).await.expect("reads");
            (row.get(0), row.get(1))
        }
        Place::Sqlite(directory) => {
            let url = format!("sqlite:{}", directory.file().display());
            let mut file = SqliteConnection::connect(&url).await.expect("connects");
            let row = sqlx::query(query).fetch_one(&mut file).await.expect("reads");
            (row.get(0), row.get(1))
        }
        Place::Memory(_) => unreachable!("memory has no tables"),
    }
}

on_every_database! {
    async fn rows_and_entry_are_there_once(stage: Stage) {
        tables(&stage).await;
        let executor = registered(&stage, stage.executor()).start().await.expect("starts");
        let calls = (0..20i64).map(|_| { let client = executor.client(); async move {
            let run = client.invoke_named("deposit", &(1, 1)).await.expect("invokes");
            soon("result", run.result()).await.expect("completes")
        }});
        futures::future::join_all(calls).await;
        assert_eq!(books(&stage).await, (120, 20));
        let run = executor.client().invoke_named("deposit", &(1, 5)).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 125);
        assert_eq!(stage.lines(run.id()).await, ["ok transaction deposit"]);
    }

    async fn a_failing_body_leaves_nothing_and_is_tried_again(stage: Stage) {
        tables(&stage).await;
        let executor = registered(&stage, stage.executor()).start().await.expect("starts");
        let run = executor.client().invoke_named("deposit", &(1, 13)).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 113);
        assert_eq!(books(&stage).await, (113, 1));
        assert_eq!(stage.lines(run.id()).await,
            ["retry transaction deposit", "retry transaction deposit", "ok transaction deposit"]);
    }

    async fn a_refused_statement_leaves_nothing(stage: Stage) {
        tables(&stage).await;
        let executor = registered(&stage, stage.executor()).start().await.expect("starts");
        let run = executor.client().invoke_named("broken", &()).await.expect("invokes");
        let error = soon("result", run.result()).await.expect_err("fails");
        assert!(error.to_string().contains("nowhere"), "{error}");
        assert_eq!((books(&stage).await, stage.probe.count("body")), ((100, 0), 2));
        let healthy = executor.client().invoke_named("deposit", &(1, 1)).await.expect("invokes");
        soon("result", healthy.result()).await.expect("completes");
    }

    async fn one_that_is_open_for_too_long_is_rolled_back(stage: Stage) {
        tables(&stage).await;
        let executor = registered(&stage, stage.executor()).start().await.expect("starts");
        let run = executor.client().invoke_named("slow", &100).await.expect("invokes");
        let told = soon("result", run.result()).await.expect("completes");
        let told = told.as_str().expect("is text");
        assert!(told.starts_with("TIMED_OUT: ") && told.contains("more than 0.1 s") && told.contains(".max_open("), "{told}");
        assert_eq!(books(&stage).await, (100, 0));
        let healthy = executor.client().invoke_named("deposit", &(1, 1)).await.expect("invokes");
        soon("result", healthy.result()).await.expect("completes");
    }

    async fn the_trait_of_another_store_is_told(stage: Stage) {
        let executor = stage.executor().register(wrong::pg::wrong).register(wrong::lite::wrong).start().await.expect("starts");
        let (name, words) = if is_postgres(&stage) { ("wrong-lite", "is for SQLite") } else { ("wrong-pg", "is for Postgres") };
        let run = executor.client().invoke_named(name, &()).await.expect("invokes");
        let error = soon("result", run.result()).await.expect_err("is misuse");
        assert_eq!(error.code(), "MISUSE");
        assert!(error.to_string().contains(words), "{error}");
    }

    async fn a_crash_in_the_middle_leaves_nothing_twice(stage: Stage) {
        tables(&stage).await;
        let first = registered(&stage, stage.executor().lease(BRIEF.0, BRIEF.1)).start().await.expect("starts");
        let run = first.client().invoke_named("held", &()).await.expect("invokes");
        stage.probe.noted("body", 1).await;
        drop(first);
        stage.probe.open("held", 5);
        let second = stage.another().await;
        let _second = registered(&stage, stage.executor_on(second).lease(BRIEF.0, BRIEF.1)).start().await.expect("starts");
        soon("result", run.result()).await.expect("completes");
        assert_eq!(books(&stage).await, (100, 1));
    }

    async fn one_that_is_open_for_longer_than_the_lease_stops_nothing(stage: Stage) {
        tables(&stage).await;
        let executor = registered(&stage, stage.executor().lease(BRIEF.0, BRIEF.1)).start().await.expect("starts");
        let run = executor.client().invoke_named("held", &()).await.expect("invokes");
        stage.probe.noted("body", 1).await;
        // On a file no heartbeat gets through meanwhile.
        outlast(BRIEF.0).await;
        stage.probe.open("held", 5);
        soon("result", run.result()).await.expect("completes, if need be with another attempt");
        assert_eq!(books(&stage).await, (100, 1));
        if is_postgres(&stage) {
            return;
        }
        let run = executor.client().invoke_named("slow", &60_000).await.expect("invokes");
        let told = soon("result", run.result()).await.expect("completes");
        let told = told.as_str().expect("is text");
        assert!(told.starts_with("TIMED_OUT: ") && told.contains("three fifths of the executor's lease"), "{told}");
        let healthy = executor.client().invoke_named("deposit", &(1, 1)).await.expect("invokes");
        soon("result", healthy.result()).await.expect("completes");
        assert_eq!(books(&stage).await, (101, 2));
    }

    async fn a_shutdown_rolls_an_open_one_back(stage: Stage) {
        tables(&stage).await;
        let faulty = Faulty::new(stage.store.clone());
        let builder = stage.executor_on(faulty.store()).driver_threads(1);
        let first = registered(&stage, builder).start().await.expect("starts");
        let step = first.client().invoke(gated, ()).await.expect("invokes");
        stage.probe.noted("step", 1).await;
        let held = first.client().invoke_named("held", &()).await.expect("invokes");
        stage.probe.noted("body", 1).await;
        // Its commit waits for the end of the transaction, on a file.
        let before = faulty.calls(Method::Commit);
        stage.probe.open("step", 5);
        until("the step commits", || faulty.calls(Method::Commit) > before).await;
        soon("shutdown", first.shutdown()).await.expect("shuts down");
        assert_eq!(books(&stage).await, (100, 0));
        stage.probe.open("held", 5);
        let _second = registered(&stage, stage.executor()).start().await.expect("starts");
        soon("result", held.result()).await.expect("completes");
        soon("result", step.result()).await.expect("completes");
        assert_eq!(books(&stage).await, (100, 1));
    }

    async fn an_executor_that_lost_its_lease_commits_nothing(stage: Stage) {
        tables(&stage).await;
        let faulty = Faulty::new(stage.store.clone());
        let first = registered(&stage, stage.executor_on(faulty.store()).lease(BRIEF.0, BRIEF.1)).start().await.expect("starts");
        let run = first.client().invoke_named("deposit", &(1, 1)).await.expect("invokes");
        soon("result", run.result()).await.expect("completes");
        // Cut off with a run that was never begun elsewhere: whoever is alive does it, once.
        for method in [Method::Heartbeat, Method::Register, Method::Claim] {
            faulty.fail(method, StoreError::Unavailable("cut off".into()));
        }
        let second = registered(&stage, stage.executor_on(stage.another().await).lease(BRIEF.0, BRIEF.1)).start().await.expect("starts");
        let calls = (0..10i64).map(|_| { let client = first.client(); async move {
            let run = client.invoke_named("deposit", &(1, 1)).await.expect("invokes");
            soon("result", run.result()).await.expect("completes")
        }});
        futures::future::join_all(calls).await;
        assert_eq!(books(&stage).await, (111, 11));
        second.shutdown().await.expect("shuts down");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serialization_failure_runs_again_uncounted() {
    let stage = Stage::postgres().await;
    tables(&stage).await;
    let executor =
        stage.executor().driver_threads(2).register(serializable::move_serializably).start().await.expect("starts");
    let one = executor.client().invoke(serializable::move_serializably, (1, 2)).await.expect("invokes");
    let two = executor.client().invoke(serializable::move_serializably, (2, 1)).await.expect("invokes");
    for run in [&one, &two] {
        assert_eq!(soon("result", run.result()).await.expect("completes"), 200);
        assert_eq!(stage.lines(run.id()).await, ["ok transaction move"]);
    }
    assert!(stage.probe.count("read") >= 3, "one of them had to run again");
    assert_eq!(books(&stage).await.0, 100);
}
