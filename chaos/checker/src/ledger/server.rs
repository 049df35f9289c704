//! The ledger as a server on a Unix socket.

use std::io;
use std::path::Path;
use std::sync::mpsc as blocking;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::{Ledger, LedgerError, MAX_LINE_BYTES, Request, Response};

/// The most records that share a sync.
const BATCH: usize = 4_096;

/// A request with the connection that waits for its response.
type Queued = (Request, mpsc::UnboundedSender<Response>);

/// Serves the ledger until the process ends. `ready` is called once connections are accepted.
///
/// A socket that is left over from an earlier ledger is replaced.
///
/// # Errors
///
/// When the socket can't be made, or the file can't be written any more: nothing is acknowledged then.
pub async fn serve(ledger: Ledger, socket: &Path, ready: impl FnOnce()) -> Result<(), LedgerError> {
    let io = |error| LedgerError::Io { path: socket.to_owned(), error };
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(io)?;
    let (queue, requests) = blocking::channel();
    let mut writer = tokio::task::spawn_blocking(move || write(ledger, &requests));
    ready();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.map_err(io)?;
                tokio::spawn(connection(stream, queue.clone()));
            }
            ended = &mut writer => {
                return ended.unwrap_or_else(|panic| Err(io(io::Error::other(panic))));
            }
        }
    }
}

/// Writes what is queued, as much as there is with one sync.
fn write(mut ledger: Ledger, requests: &blocking::Receiver<Queued>) -> Result<(), LedgerError> {
    while let Ok(first) = requests.recv() {
        let (mut records, mut waiting) = (Vec::new(), Vec::new());
        for (request, answer) in std::iter::once(first).chain(requests.try_iter().take(BATCH - 1)) {
            records.push((request.from, request.sent_at, request.record));
            waiting.push((request.id, answer));
        }
        let first = ledger.append(records)?;
        for (seq, (id, answer)) in (first..).zip(waiting) {
            // Whoever is gone doesn't want to know.
            answer.send(Response::Done { id, seq }).ok();
        }
    }
    Ok(())
}

async fn connection(stream: UnixStream, queue: blocking::Sender<Queued>) {
    let (reading, writing) = stream.into_split();
    let (answers, responses) = mpsc::unbounded_channel();
    let responding = tokio::spawn(respond(writing, responses));
    receive(reading, &queue, &answers).await;
    drop(answers);
    responding.await.ok();
}

/// Queues the requests of a connection until it ends, or sends what can't be told apart any more.
async fn receive(reading: OwnedReadHalf, queue: &blocking::Sender<Queued>, answers: &mpsc::UnboundedSender<Response>) {
    let mut reader = BufReader::with_capacity(64 * 1024, reading);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line).await;
        if read.is_err() || line.last() != Some(&b'\n') {
            if line.len() >= MAX_LINE_BYTES {
                let error = format!("a line of more than {MAX_LINE_BYTES} bytes");
                answers.send(Response::Refused { id: None, error }).ok();
            }
            // Half a line is nothing.
            return;
        }
        match serde_json::from_slice::<Request>(&line) {
            Ok(request) => {
                if queue.send((request, answers.clone())).is_err() {
                    return;
                }
            }
            Err(error) => {
                let id = serde_json::from_slice::<serde_json::Value>(&line).ok().and_then(|v| v["id"].as_u64());
                answers.send(Response::Refused { id, error: error.to_string() }).ok();
            }
        }
    }
}

async fn respond(mut writing: OwnedWriteHalf, mut responses: mpsc::UnboundedReceiver<Response>) {
    let mut buffer = Vec::new();
    while let Some(response) = responses.recv().await {
        buffer.clear();
        let mut next = Some(response);
        while let Some(response) = next {
            if serde_json::to_writer(&mut buffer, &response).is_err() {
                return;
            }
            buffer.push(b'\n');
            next = if buffer.len() < 64 * 1024 { responses.try_recv().ok() } else { None };
        }
        if writing.write_all(&buffer).await.is_err() {
            return;
        }
    }
}
