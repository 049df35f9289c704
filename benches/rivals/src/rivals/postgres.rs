//! What the tables say.

use sqlx::{Connection, PgConnection};

use crate::Result;

/// The number that a query answers.
pub async fn count(url: &str, query: &str) -> Result<u64> {
    let mut connection = PgConnection::connect(url).await?;
    let count: i64 = sqlx::query_scalar(query).fetch_one(&mut connection).await?;
    Ok(u64::try_from(count)?)
}
