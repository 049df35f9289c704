//! A client that tells the ledger of each call, and takes every answer for what it is: ok, failed, or nobody knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use workflow::{Client, Error, RunHandle, RunId, RunStatus, StoreError, Workflow};
use workflow_checker::client::Client as Ledger;
use workflow_checker::record::{Answer, Observation, Op, Record, Reply};

use crate::field::Field;
use crate::process::Said;
use crate::rng::Rng;
use crate::work::{BELL, Bell};

/// One of the clients.
pub struct Caller {
    pub field: Arc<Field>,
    pub client: Client,
    ledger: Ledger,
    pub rng: Rng,
    /// Numbers for ids and tokens.
    pub name: String,
    next: u64,
}

/// How many bytes of an input or outcome are the same, practically never by chance.
pub fn digest(bytes: &[u8]) -> String {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}-{}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold), bytes.len())
}

fn input_digest<T: Serialize>(input: &T) -> String {
    digest(&serde_json::to_vec(input).unwrap_or_default())
}

/// What a caller can know from an error.
fn refusal(error: &Error) -> Answer {
    match error {
        Error::Store(StoreError::Unknown(why)) => Answer::Unknown { why: why.clone() },
        Error::ShuttingDown => Answer::Unknown { why: error.code().to_owned() },
        _ => Answer::Failed { code: error.code().to_owned() },
    }
}

/// Whether a fault may be the reason, so that the call is worth repeating.
fn is_transient(error: &Error) -> bool {
    let Error::Store(error) = error else { return false };
    matches!(
        error,
        StoreError::Unavailable(_) | StoreError::Contention(_) | StoreError::Unknown(_) | StoreError::Unusable(_)
    )
}

pub fn observation(status: &RunStatus) -> Observation {
    let outcome = status.status().is_terminal().then(|| status.record().output.as_ref().map(|o| digest(&o.bytes)));
    Observation { status: status.status().as_str().to_owned(), outcome: outcome.flatten() }
}

impl Caller {
    pub fn new(field: Arc<Field>, client: Client, name: String) -> Self {
        let rng = Rng::new(field.options.seed, &name);
        Self { ledger: field.ledger.clone(), client, rng, name, next: 0, field }
    }

    /// A number that this caller gives out once.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn id(&mut self) -> String {
        let number = self.number();
        format!("{} {number}", self.name)
    }

    /// Whether it should begin nothing new.
    pub fn done(&self) -> bool {
        self.field.stopped()
    }

    async fn call<T>(
        &self,
        op: Op,
        call: impl Future<Output = Result<T, Error>>,
        reply: impl FnOnce(&T) -> Reply,
    ) -> Result<T, Error> {
        let asked = async {
            let result = call.await;
            let answer = match &result {
                Ok(value) => Answer::Ok { reply: reply(value) },
                Err(error) => refusal(error),
            };
            if let Err(error) = &result {
                self.met(error);
            }
            (result, answer)
        };
        match self.ledger.call(op, asked).await {
            Ok(result) => result,
            Err(error) => Err(StoreError::Unavailable(format!("the ledger: {error}")).into()),
        }
    }

    fn met(&self, error: &Error) {
        let said: &Said = &self.field.clients;
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::SeqCst);
        match error {
            Error::Store(StoreError::Unknown(_)) => count(&said.unknown_commits),
            Error::Store(StoreError::Unusable(reason)) if reason.contains("read-only") => count(&said.read_only),
            Error::Store(StoreError::Unavailable(reason)) if reason.contains("(53100)") => count(&said.disk_full),
            _ => 0,
        };
    }

    /// A moment before a call is made again.
    async fn rest(&mut self) {
        tokio::time::sleep(self.rng.millis(20, 150)).await;
    }

    /// An error that no fault accounts for.
    async fn unexpected(&self, what: &str, error: &Error) {
        eprintln!("{}: {what} came out as {}: {error}", self.name, error.code());
        let seen = Record::ErrorSeen { process: self.name.clone(), code: error.code().to_owned() };
        self.field.tell(seen).await;
    }

    async fn invoke_once<W>(&self, workflow: W, input: &W::Input, id: &str) -> Result<RunHandle<W::Output>, Error>
    where
        W: Workflow,
        W::Input: Clone + Serialize,
        W::Output: 'static,
    {
        let op = Op::Invoke { id: Some(id.to_owned()), workflow: W::NAME.to_owned(), input: input_digest(input) };
        let invocation = self.client.invoke(workflow, input.clone()).id(id);
        self.call(op, async { invocation.await }, |run: &RunHandle<_>| Reply::Run { run: run.id().0 }).await
    }

    /// Invokes until it is acknowledged; now and then it leaves it at "nobody knows", where that is allowed.
    pub async fn invoke<W>(
        &mut self,
        workflow: W,
        input: &W::Input,
        id: &str,
        may_leave: bool,
    ) -> Option<RunHandle<W::Output>>
    where
        W: Workflow + Copy,
        W::Input: Clone + Serialize,
        W::Output: 'static,
    {
        loop {
            match self.invoke_once(workflow, input, id).await {
                Ok(run) => {
                    if self.rng.chance(15) {
                        self.status(run.id()).await;
                    }
                    return Some(run);
                }
                Err(Error::Store(StoreError::Unknown(_))) if may_leave && self.rng.chance(30) => return None,
                Err(error) if is_transient(&error) => self.rest().await,
                Err(error) => {
                    self.unexpected("an invocation", &error).await;
                    return None;
                }
            }
        }
    }

    /// Invokes with an id that is taken: by the same input, which gives the same run, or by another, which is a conflict.
    pub async fn invoke_again<W>(&mut self, workflow: W, input: &W::Input, id: &str, other: bool)
    where
        W: Workflow + Copy,
        W::Input: Clone + Serialize,
        W::Output: 'static,
    {
        loop {
            match self.invoke_once(workflow, input, id).await {
                Err(error) if is_transient(&error) => self.rest().await,
                Err(Error::Store(StoreError::Conflict { .. })) if other => return,
                Err(error) => return self.unexpected("an invocation with a known id", &error).await,
                Ok(_) => return,
            }
        }
    }

    /// Looks a run up, until there is an answer.
    pub async fn status(&mut self, run: RunId) -> Option<RunStatus> {
        loop {
            let op = Op::Status { run: run.0 };
            let call = self.call(op, self.client.status(run), |status| Reply::Seen { status: observation(status) });
            match call.await {
                Ok(status) => return Some(status),
                Err(error) if is_transient(&error) => self.rest().await,
                Err(error) => {
                    self.unexpected("a look at a run", &error).await;
                    return None;
                }
            }
        }
    }

    /// Waits until a run has ended.
    pub async fn ended<O>(&mut self, run: &RunHandle<O>) -> Option<RunStatus> {
        loop {
            let op = Op::Result { run: run.id().0 };
            let call = self.call(op, run.ended(), |status| Reply::Seen { status: observation(status) });
            match call.await {
                Ok(status) => return Some(status),
                Err(error) if is_transient(&error) => self.rest().await,
                Err(error) => {
                    self.unexpected("a result", &error).await;
                    return None;
                }
            }
        }
    }

    /// Emits an event, and again with another token, until one is acknowledged.
    pub async fn emit(&mut self, key: &str) {
        loop {
            let token = self.id();
            let op = Op::Emit { name: BELL.to_owned(), key: key.to_owned(), token: token.clone() };
            let bell = Bell { token };
            match self.call(op, self.client.emit_to(BELL, key, &bell), |()| Reply::Done).await {
                Ok(()) => return,
                Err(error) if is_transient(&error) => self.rest().await,
                Err(error) => return self.unexpected("an event", &error).await,
            }
        }
    }

    /// Cancels a run, until that is acknowledged, or the run has ended.
    pub async fn cancel(&mut self, run: RunId) {
        loop {
            let op = Op::Cancel { run: run.0 };
            match self.call(op, self.client.cancel(run, "it is enough"), |()| Reply::Done).await {
                Ok(()) | Err(Error::Ended { .. }) => return,
                Err(error) if is_transient(&error) => self.rest().await,
                Err(error) => return self.unexpected("a cancellation", &error).await,
            }
        }
    }

    pub async fn rest_for(&mut self, from_ms: u64, to_ms: u64) {
        let time: Duration = self.rng.millis(from_ms, to_ms);
        tokio::time::sleep(time).await;
    }
}
