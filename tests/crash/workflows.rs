//! What the executors run, and where their steps note what they do.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use workflow::postgres::TransactionExt as _;
use workflow::prelude::*;
use workflow::{Builder, StepCtx};

/// Where steps note that they began.
pub enum Ledger {
    /// In a table without any index, and on the standard output.
    Postgres { pool: PgPool, name: String },
    /// On the standard output only.
    Output { name: String },
}

impl Ledger {
    fn name(&self) -> &str {
        let (Ledger::Postgres { name, .. } | Ledger::Output { name }) = self;
        name
    }
}

/// Registers all of them.
pub fn register(builder: Builder) -> Builder {
    builder
        .register(transfer)
        .register(steps)
        .register(mixed)
        .register(frozen_step)
        .register(frozen_transaction)
        .register(frozen_commit)
}

/// A body begins, and goes on for `long`.
async fn begin(step: &StepCtx, long: Duration) -> Result<()> {
    let ledger = step.state::<Ledger>();
    if let Ledger::Postgres { pool, name } = &*ledger {
        sqlx::query("INSERT INTO body (run, step, who) VALUES ($1, $2, $3)")
            .bind(step.run_id().0)
            .bind(step.step_name())
            .bind(name)
            .execute(pool)
            .await?;
    }
    println!("{} began {} of {}", ledger.name(), step.step_name(), step.run_id());
    tokio::time::sleep(long).await;
    Ok(())
}

/// A step that notes its beginning, however often the database has to be asked.
async fn noted(ctx: &Ctx, name: &str, long: Duration) -> Result<()> {
    let patient = RetryPolicy::exponential(Duration::from_millis(50)).cap(Duration::from_millis(200)).forever();
    ctx.step_with(name, async |step| begin(&step, long).await).retry(patient).await
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transfer {
    pub from: i64,
    pub to: i64,
    pub amount: i64,
}

/// Moves money, and enters it into two books: three transactions with a step before, in between and after.
#[workflow]
pub async fn transfer(ctx: Ctx, order: Transfer) -> Result<i64> {
    let run = ctx.run_id().0;
    noted(&ctx, "check", Duration::from_millis(20)).await?;
    let left = ctx
        .transaction("move", async |tx| {
            // In the order of their ids, or two of them would wait for each other.
            let mut changes = [(order.from, -order.amount), (order.to, order.amount)];
            changes.sort_unstable();
            let mut left = 0;
            for (account, change) in changes {
                let balance: i64 =
                    sqlx::query_scalar("UPDATE account SET balance = balance + $2 WHERE id = $1 RETURNING balance")
                        .bind(account)
                        .bind(change)
                        .fetch_one(&mut **tx)
                        .await?;
                if change < 0 {
                    left = balance;
                }
            }
            sqlx::query("INSERT INTO effect (run, what) VALUES ($1, 'move')").bind(run).execute(&mut **tx).await?;
            Ok(left)
        })
        .await?;
    noted(&ctx, "between", Duration::from_millis(5)).await?;
    ctx.transaction("book", async |tx| {
        sqlx::query("INSERT INTO effect (run, what) VALUES ($1, 'book')").bind(run).execute(&mut **tx).await?;
        Ok(())
    })
    .await?;
    Ok(left)
}

/// Steps one after the other.
#[workflow]
pub async fn steps(ctx: Ctx, count: u32) -> Result<u32> {
    for n in 0..count {
        noted(&ctx, &format!("step-{n}"), Duration::from_millis(30)).await?;
    }
    Ok(count)
}

/// Steps, sleeps and an event.
#[workflow]
pub async fn mixed(ctx: Ctx, key: String) -> Result<u64> {
    for n in 0..10 {
        noted(&ctx, &format!("step-{n}"), Duration::from_millis(20)).await?;
        ctx.sleep(Duration::from_millis(150)).await?;
    }
    let number: u64 = ctx.wait_for_event("number").key(key).await?;
    noted(&ctx, "last", Duration::ZERO).await?;
    Ok(number)
}

/// A step to be frozen in.
#[workflow]
pub async fn frozen_step(ctx: Ctx, _: ()) -> Result<()> {
    noted(&ctx, "frozen", Duration::from_millis(500)).await?;
    noted(&ctx, "after", Duration::ZERO).await
}

async fn effect(ctx: &Ctx, table: &str, long: Duration) -> Result<()> {
    let (run, ledger) = (ctx.run_id().0, ctx.state::<Ledger>());
    let insert = match table {
        "effect" => "INSERT INTO effect (run, what, who) VALUES ($1, 'frozen', $2)",
        _ => "INSERT INTO slow_effect (run, what, who) VALUES ($1, 'frozen', $2)",
    };
    ctx.transaction("frozen", async |tx| {
        sqlx::query(insert).bind(run).bind(ledger.name()).execute(&mut **tx).await?;
        println!("{} wrote", ledger.name());
        tokio::time::sleep(long).await;
        Ok(())
    })
    .await
}

/// A transaction to be frozen in when it has written something.
#[workflow]
pub async fn frozen_transaction(ctx: Ctx, _: ()) -> Result<()> {
    effect(&ctx, "effect", Duration::from_millis(500)).await?;
    noted(&ctx, "after", Duration::ZERO).await
}

/// A transaction to be frozen in while it commits.
#[workflow]
pub async fn frozen_commit(ctx: Ctx, _: ()) -> Result<()> {
    effect(&ctx, "slow_effect", Duration::ZERO).await?;
    noted(&ctx, "after", Duration::ZERO).await
}
