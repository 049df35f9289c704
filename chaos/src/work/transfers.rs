//! A saga over bank accounts: each booking is a transaction on tables without any unique index, and what can't be ended
//! is compensated.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use workflow::prelude::*;

use super::{Done, Work, World, noted, patient};

const BOOK: &str = "UPDATE chaos_account SET balance = balance + $2 WHERE id = $1";
const EFFECT: &str = "INSERT INTO chaos_effect (run, step, token, account, amount) VALUES ($1, $2, $3, $4, $5)";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transfer {
    pub number: u64,
    pub from: i64,
    pub to: i64,
    pub amount: i64,
    /// The bank of the receiver says no.
    pub refused: bool,
    pub millis: u64,
    /// For how long each booking's transaction stays open.
    pub open_millis: u64,
}

/// The same code over the transactions of each store.
macro_rules! transfer {
    ($name:ident, $book:ident, $store:ident) => {
        #[workflow(name = "transfer")]
        pub async fn $name(ctx: Ctx, order: Transfer) -> Result<bool> {
            noted(&ctx, "check", Work::of(order.millis)).await?;
            $book(&ctx, "debit", (order.from, -order.amount), order.open_millis).await?;
            let approval = Work { refused: order.refused, ..Work::of(order.millis) };
            if noted(&ctx, "approve", approval).await.is_ok() {
                $book(&ctx, "credit", (order.to, order.amount), order.open_millis).await?;
                return Ok(true);
            }
            $book(&ctx, "refund", (order.from, order.amount), order.open_millis).await?;
            Ok(false)
        }

        async fn $book(ctx: &Ctx, name: &str, (account, amount): (i64, i64), open_millis: u64) -> Result<Done> {
            use workflow::$store::TransactionExt as _;
            let (run, world) = (ctx.run_id(), ctx.state::<World>());
            ctx.transaction(name, async |tx| {
                let body = world.begin(run, name).await?;
                sqlx::query(BOOK).bind(account).bind(amount).execute(&mut **tx).await?;
                let token = i64::try_from(body.id())?;
                let effect = sqlx::query(EFFECT).bind(run.0).bind(name).bind(token).bind(account).bind(amount);
                effect.execute(&mut **tx).await?;
                tokio::time::sleep(Duration::from_millis(open_millis)).await;
                body.wrote(vec![(account, amount)]).await?;
                body.end(true).await?;
                Ok(Done { body: body.id() })
            })
            .retry(patient())
            .await
        }
    };
}

transfer!(transfer_pg, book_pg, postgres);
transfer!(transfer_sqlite, book_sqlite, sqlite);
