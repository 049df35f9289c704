//! A way to the database that can be cut, held up and slowed down: one listener for each executor, so that a fault hits
//! one of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::wire::{Commits, Frames};

/// How a line treats what goes over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Every chunk waits.
    Delay(Duration),
    /// A few bytes at a time.
    Dribble,
    /// Nothing goes through, in no direction, and nobody is told.
    BlackHole,
    /// The server's side is gone, and the client isn't told.
    HalfOpen,
}

/// One executor's line.
pub struct Line {
    pub port: u16,
    mode: watch::Sender<Mode>,
    /// All connections that are older are reset.
    epoch: watch::Sender<u64>,
    hold: watch::Sender<bool>,
    held: AtomicU32,
    to_cut: AtomicU32,
    cut: AtomicU64,
    open: AtomicU32,
    touched: AtomicU64,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({})", self.port)
    }
}

impl Line {
    /// Listens until the process ends, before the server at this port of the same machine.
    pub async fn before(server: u16) -> std::io::Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let line = Arc::new(Self {
            port: listener.local_addr()?.port(),
            mode: watch::Sender::new(Mode::Pass),
            epoch: watch::Sender::new(0),
            hold: watch::Sender::new(false),
            held: AtomicU32::new(0),
            to_cut: AtomicU32::new(0),
            cut: AtomicU64::new(0),
            open: AtomicU32::new(0),
            touched: AtomicU64::new(0),
        });
        let shared = line.clone();
        tokio::spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(shared.clone().serve(client, ([127, 0, 0, 1], server).into()));
                }
            }
        });
        Ok(line)
    }

    /// Changes what it does, and forgets how much that has touched.
    pub fn set(&self, mode: Mode) {
        self.touched.store(0, Ordering::SeqCst);
        self.mode.send_replace(mode);
    }

    /// How many chunks and connections the mode has touched.
    pub fn touched(&self) -> u64 {
        self.touched.load(Ordering::SeqCst)
    }

    /// Resets every connection, and says how many there were.
    pub fn reset(&self) -> u32 {
        let open = self.open.load(Ordering::SeqCst);
        self.epoch.send_modify(|epoch| *epoch += 1);
        open
    }

    /// From now on no commit gets through, or again.
    pub fn hold_commits(&self, hold: bool) {
        self.hold.send_replace(hold);
    }

    /// How many commits are held.
    pub fn held(&self) -> u32 {
        self.held.load(Ordering::SeqCst)
    }

    /// The next so many commits are done, and their clients never hear of it.
    pub fn cut_commits(&self, count: u32) {
        self.to_cut.store(count, Ordering::SeqCst);
    }

    /// How many commits were done and not answered so far.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::SeqCst)
    }

    async fn serve(self: Arc<Self>, mut client: TcpStream, server: SocketAddr) {
        let mut epoch = self.epoch.subscribe();
        epoch.mark_unchanged();
        let _ = client.set_nodelay(true);
        let deaf = |mode: &Mode| matches!(mode, Mode::HalfOpen | Mode::BlackHole);
        if deaf(&self.mode.borrow()) {
            self.touch();
            self.over(|mode| !deaf(mode)).await;
            let _ = client.set_zero_linger();
            return;
        }
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        let _ = server.set_nodelay(true);
        self.open.fetch_add(1, Ordering::SeqCst);
        let end = {
            let session = Session::new(&self);
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            tokio::select! {
                end = session.upwards(from_client, to_server) => end,
                end = session.downwards(from_server, to_client) => end,
                _ = epoch.changed() => End::Reset,
                () = self.over(|mode| *mode == Mode::HalfOpen) => End::HalfOpen,
            }
        };
        self.open.fetch_sub(1, Ordering::SeqCst);
        match end {
            End::Closed => {}
            End::Reset => {
                let _ = server.set_zero_linger();
                let _ = client.set_zero_linger();
            }
            End::HalfOpen => {
                self.touch();
                let _ = server.set_zero_linger();
                drop(server);
                self.over(|mode| *mode != Mode::HalfOpen).await;
                let _ = client.set_zero_linger();
            }
        }
    }

    fn touch(&self) {
        self.touched.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until the mode is such a one.
    async fn over(&self, is: impl FnMut(&Mode) -> bool) {
        // The sender is a part of the line: it can't be gone.
        let _ = self.mode.subscribe().wait_for(is).await;
    }

    async fn released(&self) {
        if *self.hold.borrow() {
            self.held.fetch_add(1, Ordering::SeqCst);
            let held = Held(&self.held);
            let _ = self.hold.subscribe().wait_for(|hold| !hold).await;
            drop(held);
        }
    }

    fn takes_a_cut(&self) -> bool {
        self.to_cut.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    /// Sends on, as the mode has it.
    async fn pass(&self, to: &mut WriteHalf<'_>, bytes: &[u8]) -> std::io::Result<()> {
        let mode = *self.mode.borrow();
        match mode {
            Mode::Pass => {}
            Mode::Delay(delay) => {
                self.touch();
                tokio::time::sleep(delay).await;
            }
            Mode::Dribble => {
                self.touch();
                for piece in bytes.chunks((bytes.len() / 40).max(3)) {
                    to.write_all(piece).await?;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                return Ok(());
            }
            Mode::BlackHole | Mode::HalfOpen => {
                self.touch();
                self.over(|mode| *mode != Mode::BlackHole).await;
            }
        }
        to.write_all(bytes).await
    }
}

/// Counts a held commit for as long as it is held, also when its connection goes meanwhile.
struct Held<'a>(&'a AtomicU32);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

enum End {
    Closed,
    Reset,
    HalfOpen,
}

/// What both directions of a connection know.
struct Session<'a> {
    line: &'a Line,
    /// The server answers a request for encryption with one byte.
    bytes_due: AtomicU32,
    /// How many `ReadyForQuery` were asked for, and how many came.
    asked: AtomicU64,
    ready: AtomicU64,
    /// The answer to ask number `cut_at` is never sent on.
    cutting: AtomicBool,
    cut_at: AtomicU64,
}

impl<'a> Session<'a> {
    fn new(line: &'a Line) -> Self {
        let (bytes_due, asked, ready, cutting, cut_at) = Default::default();
        Self { line, bytes_due, asked, ready, cutting, cut_at }
    }

    async fn upwards(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> End {
        let (mut frames, mut commits) = (Frames::of_client(), Commits::default());
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let Ok(read @ 1..) = from.read(&mut buffer).await else { return End::Closed };
            frames.feed(&buffer[..read]);
            let mut out = Vec::with_capacity(read);
            while let Some(message) = frames.next() {
                if message.asks_for_encryption() {
                    self.bytes_due.fetch_add(1, Ordering::SeqCst);
                }
                if commits.is_commit(&message) {
                    if self.line.pass(&mut to, &std::mem::take(&mut out)).await.is_err() {
                        return End::Closed;
                    }
                    self.line.released().await;
                    if !self.cutting.load(Ordering::SeqCst) && self.line.takes_a_cut() {
                        self.cut_at.store(self.asked.load(Ordering::SeqCst) + 1, Ordering::SeqCst);
                        self.cutting.store(true, Ordering::SeqCst);
                    }
                }
                if message.asks_for_ready() {
                    self.asked.fetch_add(1, Ordering::SeqCst);
                }
                out.extend(message.bytes);
            }
            if !out.is_empty() && self.line.pass(&mut to, &out).await.is_err() {
                return End::Closed;
            }
        }
    }

    async fn downwards(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> End {
        let mut frames = Frames::of_server();
        let mut buffer = vec![0; 64 * 1024];
        let (mut done, mut failed) = (false, false);
        loop {
            let Ok(read @ 1..) = from.read(&mut buffer).await else { return End::Closed };
            frames.feed(&buffer[..read]);
            let mut out = Vec::with_capacity(read);
            while self.bytes_due.load(Ordering::SeqCst) > 0 {
                let Some(byte) = frames.byte() else { break };
                out.push(byte);
                self.bytes_due.fetch_sub(1, Ordering::SeqCst);
            }
            while let Some(message) = frames.next() {
                // The session's first one is unasked for.
                let next = self.ready.load(Ordering::SeqCst);
                let cut = self.cutting.load(Ordering::SeqCst) && next == self.cut_at.load(Ordering::SeqCst);
                match message.tag {
                    b'C' if cut => done = true,
                    b'E' if cut => failed = true,
                    b'Z' => {
                        self.ready.fetch_add(1, Ordering::SeqCst);
                        if cut {
                            if done && !failed {
                                self.line.cut.fetch_add(1, Ordering::SeqCst);
                            }
                            return End::Reset;
                        }
                    }
                    _ => {}
                }
                if !cut {
                    out.extend(message.bytes);
                }
            }
            if !out.is_empty() && self.line.pass(&mut to, &out).await.is_err() {
                return End::Closed;
            }
        }
    }
}
