//! Poolers in transaction mode: each transaction may get another session of the server. The engine's prepared statements
//! and time limits belong to a session, so there they would fail now and then, or reach the sessions of others. Found out
//! when connecting, and refused.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use uuid::Uuid;
use workflow_core::StoreError;

use crate::error::{connect, work};
use crate::sql;

/// The way out.
pub(crate) const TRANSACTION_MODE: &str = "this is a pooler in transaction mode, which gives every transaction another session of the server: connect to the server itself (an executor takes at most its pool_size, six connections and one for each driver thread), or to a pool in session mode";

/// Looks whether two connections share a session of the server.
///
/// Nothing here is prepared, as that is what such poolers break first; and the second connection holds a session, so that
/// the first would have to get another one.
pub(crate) async fn refuse(target: &PgConnectOptions) -> Result<(), StoreError> {
    let both = tokio::try_join!(PgConnection::connect_with(target), PgConnection::connect_with(target));
    let (mut one, mut two) = both.map_err(connect)?;
    // A word of ours: nothing from outside is in it.
    let word = Uuid::new_v4().to_string();
    let mark = sql::MARK_SESSION.replace("WORD", &word);
    one.execute(sqlx::raw_sql(AssertSqlSafe(mark))).await.map_err(work)?;
    two.execute(sqlx::raw_sql("BEGIN")).await.map_err(work)?;
    let shared = says(&mut two, &word).await? || !says(&mut one, &word).await?;
    // Whatever these answer: nothing was written.
    let _ = two.close().await;
    let _ = one.close().await;
    if shared { Err(StoreError::Unusable(TRANSACTION_MODE.to_owned())) } else { Ok(()) }
}

/// Whether the session of a connection has the word.
async fn says(connection: &mut PgConnection, word: &str) -> Result<bool, StoreError> {
    let row = connection.fetch_one(sqlx::raw_sql(sql::SESSION_MARK)).await.map_err(work)?;
    Ok(row.try_get::<Option<&str>, _>(0).map_err(work)? == Some(word))
}
