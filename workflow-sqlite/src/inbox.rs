//! Sending messages: the next seq of the run's inbox and the message, in one transaction.

use sqlx::{Row, SqliteConnection};
use uuid::Uuid;
use workflow_core::journal::Fact;
use workflow_core::store::{Mail, Message, SendOutcome, Status};
use workflow_core::{ExecutorId, RunId, StoreError};

use crate::wake::Wakes;
use crate::{error, row, sql};

/// Sends the messages of one transaction and keeps what there is to tell about them.
#[derive(Debug, Default)]
pub(crate) struct Post {
    pub(crate) now: i64,
    pub(crate) wakes: Wakes,
    /// The executor that gets its own mail with the answer.
    to_hand: Option<ExecutorId>,
    pub(crate) mail: Vec<Mail>,
}

impl Post {
    pub(crate) fn new(now: i64) -> Self {
        Self { now, ..Self::default() }
    }

    /// Keeps messages to runs of `executor` in [`Post::mail`] and doesn't wake it for them.
    pub(crate) fn handing_to(now: i64, executor: ExecutorId) -> Self {
        Self { to_hand: Some(executor), ..Self::new(now) }
    }

    pub(crate) fn into_wakes(self) -> Wakes {
        self.wakes
    }

    /// Sends one message.
    pub(crate) async fn send(
        &mut self,
        connection: &mut SqliteConnection,
        to: RunId,
        fact: &Fact,
    ) -> Result<SendOutcome, StoreError> {
        let counted = sqlx::query(sql::COUNT_MESSAGE)
            .bind(to.0)
            .bind(self.now)
            .fetch_optional(&mut *connection)
            .await
            .map_err(error::statement)?;
        let Some(counted) = counted else { return undeliverable(connection, to).await };
        let seq: i64 = counted.try_get(0).map_err(error::statement)?;
        let query = sqlx::query(sql::INSERT_MESSAGE).bind(to.0).bind(seq);
        row::bind_fact(query, fact).execute(connection).await.map_err(error::statement)?;
        match counted.try_get::<&str, _>(1).map_err(error::statement)? {
            "ready" => {
                self.wakes.ready.insert(counted.try_get(2).map_err(error::statement)?);
            }
            "running" => {
                let owner = ExecutorId(counted.try_get::<Uuid, _>(3).map_err(error::statement)?);
                if self.to_hand == Some(owner) {
                    let message = Message { seq: seq.unsigned_abs(), fact: fact.clone() };
                    self.mail.push(Mail { run: to, message });
                } else {
                    self.wakes.mail.insert(owner);
                }
            }
            _ => {}
        }
        Ok(SendOutcome::Delivered)
    }
}

async fn undeliverable(connection: &mut SqliteConnection, to: RunId) -> Result<SendOutcome, StoreError> {
    let row = sqlx::query(sql::STATUS_OF_RUN).bind(to.0).fetch_optional(connection).await.map_err(error::statement)?;
    let Some(row) = row else { return Ok(SendOutcome::NoSuchRun) };
    let word: &str = row.try_get(0).map_err(error::statement)?;
    let status: Status = row::status(word).map_err(|reason| StoreError::Corrupt { run: Some(to), reason })?;
    Ok(SendOutcome::Ended(status))
}
