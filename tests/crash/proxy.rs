//! A way to the database on which a `COMMIT` can be held up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::child::until;

/// How a client says it, in a message of its own (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

#[derive(Default)]
struct State {
    holding: AtomicBool,
    held: AtomicU32,
}

/// Listens until the test ends.
pub struct Proxy {
    pub url: String,
    state: Arc<State>,
}

impl Proxy {
    /// A proxy before the server of this address.
    pub async fn before(url: &str) -> Self {
        let (credentials, rest) = url.split_once('@').expect("an address with a user");
        let (server, database) = rest.split_once('/').expect("an address with a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let state = Arc::<State>::default();
        let (shared, server) = (state.clone(), server.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(&server).await {
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::spawn(forward(from_client, to_server, Some(shared.clone())));
                    tokio::spawn(forward(from_server, to_client, None));
                }
            }
        });
        Self { url: format!("{credentials}@127.0.0.1:{port}/{database}"), state }
    }

    /// From now on no `COMMIT` gets through.
    pub fn hold_commits(&self) {
        self.state.holding.store(true, Ordering::SeqCst);
    }

    /// Waits until one is held.
    pub async fn holds_one(&self) {
        until("a commit is held", async || self.state.held.load(Ordering::SeqCst) > 0).await;
    }

    /// Whatever is held gets through.
    pub fn let_go(&self) {
        self.state.holding.store(false, Ordering::SeqCst);
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, commits: Option<Arc<State>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let chunk = &buffer[..read];
        if let Some(state) = &commits
            && state.holding.load(Ordering::SeqCst)
            && chunk.windows(COMMIT.len()).any(|window| window == COMMIT)
        {
            state.held.fetch_add(1, Ordering::SeqCst);
            while state.holding.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        if to.write_all(chunk).await.is_err() {
            return;
        }
    }
}
