//! The way to the ledger: for clients, step bodies and the harness.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::clock;
use crate::ledger::{MAX_LINE_BYTES, Request, Response};
use crate::record::{Answer, Op, Record, Step};

/// Why nobody knows, or it is sure that not, whether a record is in the ledger.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger can't be reached: nothing was sent.
    #[error("the ledger {path} can't be reached: {error}")]
    Connect {
        /// Its socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The connection ended before the answer: the record is in the ledger or not.
    #[error("the connection to the ledger ended before it answered")]
    Disconnected,
    /// No answer in time: the record is in the ledger or not.
    #[error("the ledger didn't answer within {0:?}")]
    Timeout(Duration),
    /// The ledger took it for no record: nothing was written.
    #[error("the ledger refused the record: {0}")]
    Refused(String),
}

/// A connection to the ledger. Clones share it; any number of records may be under way. It connects again by itself,
/// but never repeats a record.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    socket: PathBuf,
    from: String,
    timeout: Duration,
    next: AtomicU64,
    link: tokio::sync::Mutex<Option<Link>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({} to {})", self.inner.from, self.inner.socket.display())
    }
}

/// What is about to begin: see [`Record::BodyStarted`].
#[derive(Debug, Clone)]
pub struct BodyStart {
    /// Which step.
    pub step: Step,
    /// The attempt's number.
    pub attempt: u32,
    /// The idempotency key.
    pub key: String,
    /// Whether it cleans up under a shield.
    pub cleanup: bool,
}

/// A body that the ledger knows.
#[derive(Debug, Clone)]
pub struct Body {
    client: Client,
    id: u64,
}

impl Client {
    /// A client that connects to this socket, sends as `from` (the process: a name that no later life uses), and waits
    /// 10 s for an answer.
    pub fn new(socket: impl AsRef<Path>, from: impl Into<String>) -> Self {
        Self::with_timeout(socket, from, Duration::from_secs(10))
    }

    /// As [`Client::new`], with another patience.
    pub fn with_timeout(socket: impl AsRef<Path>, from: impl Into<String>, timeout: Duration) -> Self {
        let inner = Inner {
            socket: socket.as_ref().to_owned(),
            from: from.into(),
            timeout,
            next: AtomicU64::new(1),
            link: tokio::sync::Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The name that it sends as.
    pub fn name(&self) -> &str {
        &self.inner.from
    }

    /// Appends a record: its `seq`, once it is durable.
    ///
    /// # Errors
    ///
    /// [`Error`]. After `Disconnected` and `Timeout` the record may be in the ledger: whoever recorded what it was going
    /// to do doesn't do it.
    ///
    /// # Cancel safety
    ///
    /// When dropped, the record may be in the ledger or not.
    pub async fn append(&self, record: Record) -> Result<u64, Error> {
        let sent_at = clock::wall();
        let timeout = self.inner.timeout;
        let sent = async {
            let link = self.inner.link().await?;
            let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
            let request = Request { id, from: self.inner.from.clone(), sent_at, record };
            link.call(id, &request).await
        };
        tokio::time::timeout(timeout, sent).await.unwrap_or(Err(Error::Timeout(timeout)))
    }

    /// Records a call and its answer: `call` gets nothing and gives its own result with what is to be recorded. When
    /// the future is dropped, or the answer can't be recorded, the call counts as unknown.
    ///
    /// # Errors
    ///
    /// [`Error`] of recording the question: nothing was called. An answer that can't be recorded isn't an error.
    pub async fn call<T>(&self, op: Op, call: impl Future<Output = (T, Answer)>) -> Result<T, Error> {
        let id = Uuid::new_v4();
        self.append(Record::Asked { call: id, op }).await?;
        let (value, answer) = call.await;
        self.append(Record::Answered { call: id, answer }).await.ok();
        Ok(value)
    }

    /// Records that a body begins. Only when this is `Ok` it may go on.
    ///
    /// # Errors
    ///
    /// [`Error`]: the body does nothing and fails.
    pub async fn body(&self, start: BodyStart) -> Result<Body, Error> {
        let BodyStart { step, attempt, key, cleanup } = start;
        let process = self.inner.from.clone();
        let id = self.append(Record::BodyStarted { step, attempt, key, process, cleanup }).await?;
        Ok(Body { client: self.clone(), id })
    }
}

impl Body {
    /// Its id: the value that its step returns should hold it as the field `body`, so that the journal tells which body
    /// an outcome is of; and rows in `chaos_effect` have it as their `token`.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Records an effect that is about to be made.
    ///
    /// # Errors
    ///
    /// [`Error`]: the effect must not be made.
    pub async fn effect(&self, what: &str) -> Result<(), Error> {
        self.client.append(Record::BodyEffect { body: self.id, what: what.to_owned() }).await.map(|_| ())
    }

    /// Records rows that the body has written into `chaos_effect` and is going to commit.
    ///
    /// # Errors
    ///
    /// [`Error`]: the transaction must be rolled back.
    pub async fn wrote(&self, rows: Vec<(i64, i64)>) -> Result<(), Error> {
        self.client.append(Record::TxWrote { body: self.id, rows }).await.map(|_| ())
    }

    /// Records that the body is about to return.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn end(&self, ok: bool) -> Result<(), Error> {
        self.client.append(Record::BodyEnded { body: self.id, ok }).await.map(|_| ())
    }
}

impl Inner {
    /// The connection, made anew when the last one ended.
    async fn link(&self) -> Result<Link, Error> {
        let mut link = self.link.lock().await;
        if let Some(link) = link.as_ref().filter(|link| !link.outgoing.is_closed()) {
            return Ok(link.clone());
        }
        let stream = UnixStream::connect(&self.socket).await;
        let stream = stream.map_err(|error| Error::Connect { path: self.socket.clone(), error })?;
        Ok(link.insert(Link::new(stream)).clone())
    }
}

type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Result<u64, Error>>>>>>;

/// One connection with its two tasks.
#[derive(Clone)]
struct Link {
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
    /// `None` once the connection has ended.
    waiting: Waiting,
}

impl Link {
    fn new(stream: UnixStream) -> Self {
        let (reading, writing) = stream.into_split();
        let (outgoing, lines) = mpsc::unbounded_channel();
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let sending = tokio::spawn(send(writing, lines));
        let answers = Arc::clone(&waiting);
        tokio::spawn(async move {
            receive(reading, &answers).await;
            // Dropping the senders tells everyone who waits; a closed channel makes the next record connect anew.
            answers.lock().unwrap_or_else(PoisonError::into_inner).take();
            sending.abort();
        });
        Self { outgoing, waiting }
    }

    async fn call(&self, id: u64, request: &Request) -> Result<u64, Error> {
        let mut line = serde_json::to_vec(request).map_err(|error| Error::Refused(error.to_string()))?;
        line.push(b'\n');
        if line.len() > MAX_LINE_BYTES {
            return Err(Error::Refused(format!("it has {} bytes", line.len())));
        }
        let (answer, answered) = oneshot::channel();
        match &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(waiting) => waiting.insert(id, answer),
            None => return Err(Error::Disconnected),
        };
        if self.outgoing.send(line).is_err() {
            return Err(Error::Disconnected);
        }
        answered.await.unwrap_or(Err(Error::Disconnected))
    }
}

async fn send(mut writing: OwnedWriteHalf, mut lines: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(mut line) = lines.recv().await {
        while line.len() < 64 * 1024 {
            let Ok(more) = lines.try_recv() else { break };
            line.extend_from_slice(&more);
        }
        if writing.write_all(&line).await.is_err() {
            return;
        }
    }
}

async fn receive(reading: OwnedReadHalf, waiting: &Waiting) {
    let mut lines = BufReader::new(reading).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let (id, result) = match serde_json::from_str(&line) {
            Ok(Response::Done { id, seq }) => (id, Ok(seq)),
            Ok(Response::Refused { id: Some(id), error }) => (id, Err(Error::Refused(error))),
            Ok(Response::Refused { id: None, .. }) | Err(_) => return,
        };
        let answer = waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(|w| w.remove(&id));
        if let Some(answer) = answer {
            answer.send(result).ok();
        }
    }
}
