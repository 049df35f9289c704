//! Executor processes: this very program, started again.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::AnyError;
use crate::setup::{SETUP, Setup};

/// What a process has said of itself so far.
#[derive(Debug, Default)]
pub struct Said {
    pub ready: AtomicBool,
    /// Bodies that it began.
    pub bodies: AtomicU64,
    /// Commits of unknown outcome that it met.
    pub unknown_commits: AtomicU64,
    /// Writes of it that were refused because its lease is lost.
    pub refused_writes: AtomicU64,
    /// How often it learned that its lease is lost.
    pub lost_leases: AtomicU64,
    /// Errors that were injected into the calls of its store: before they were applied, and after.
    pub injected_before: AtomicU64,
    pub injected_after: AtomicU64,
    /// Wake-ups that were lost, doubled and late.
    pub disturbed_wakeups: AtomicU64,
    /// How far its clock is off, in milliseconds, at most.
    pub clock_off_ms: AtomicU64,
    /// Calls that were refused because the server is read-only, or its disk full.
    pub read_only: AtomicU64,
    pub disk_full: AtomicU64,
}

impl Said {
    fn hear(&self, line: &str) {
        let mut words = line.split(' ');
        let counter = match words.next().unwrap_or_default() {
            "ready" => return self.ready.store(true, Ordering::SeqCst),
            "body" => &self.bodies,
            "unknown-commit" => &self.unknown_commits,
            "refused-write" => &self.refused_writes,
            "lease-lost" => &self.lost_leases,
            "injected-before" => &self.injected_before,
            "injected-after" => &self.injected_after,
            "wakeups" => &self.disturbed_wakeups,
            "read-only" => &self.read_only,
            "disk-full" => &self.disk_full,
            "clock" => {
                let off = words.next().and_then(|ms| ms.parse().ok()).unwrap_or(0);
                self.clock_off_ms.fetch_max(off, Ordering::SeqCst);
                return;
            }
            _ => return,
        };
        counter.fetch_add(words.next().and_then(|count| count.parse().ok()).unwrap_or(1), Ordering::SeqCst);
    }
}

/// A process that runs an executor. It ends when this is dropped.
pub struct Process {
    /// A name that no other process of the campaign has.
    pub name: String,
    pub said: Arc<Said>,
    child: Child,
    pid: u32,
    /// It ends when this does.
    _stdin: Option<ChildStdin>,
}

impl Process {
    pub fn start(setup: &Setup, log: &Path, environment: &[(String, String)]) -> Result<Self, AnyError> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("executor")
            .env(SETUP, serde_json::to_string(setup)?)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let said = Arc::<Said>::default();
        let (output, hearer) = (child.stdout.take(), said.clone());
        tokio::spawn(async move {
            let Some(output) = output else { return };
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                hearer.hear(&line);
            }
        });
        let (pid, stdin) = (child.id().unwrap_or(0), child.stdin.take());
        Ok(Self { name: setup.name.clone(), said, child, pid, _stdin: stdin })
    }

    pub fn ready(&self) -> bool {
        self.said.ready.load(Ordering::SeqCst)
    }

    /// Waits until it begins a body, but not for ever; whether it did.
    pub async fn in_a_body(&self, patience: Duration) -> bool {
        let before = self.said.bodies.load(Ordering::SeqCst);
        let begun = async {
            while self.said.bodies.load(Ordering::SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(patience, begun).await.is_ok()
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`. Says whether that is what ended it.
    pub async fn kill(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let _ = self.child.start_kill();
        self.child.wait().await.is_ok_and(|status| status.signal() == Some(9))
    }

    pub async fn signal(&self, signal: &str) -> bool {
        send(signal, self.pid).await
    }

    /// Waits for its end, and kills it when that takes too long.
    pub async fn exited(&mut self, limit: Duration) -> Option<ExitStatus> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                self.kill().await;
                None
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What the library that changes clocks leaves behind of a process that was killed.
        for name in ["sem.faketime_sem", "faketime_shm"] {
            let _ = std::fs::remove_file(format!("/dev/shm/{name}_{}", self.pid));
        }
    }
}

/// Sends a signal to any process.
pub async fn send(signal: &str, pid: u32) -> bool {
    let kill = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid.to_string()]).status().await;
    kill.is_ok_and(|status| status.success())
}

/// Sums of what all processes said, those that are gone included.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Vec<Arc<Said>>>);

impl Heard {
    pub fn add(&self, said: Arc<Said>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(said);
    }

    pub fn sum(&self, of: impl Fn(&Said) -> &AtomicU64) -> u64 {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|said| of(said).load(Ordering::SeqCst)).sum()
    }

    /// How many processes have a clock that is off by seconds.
    pub fn off_clocks(&self) -> u64 {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|said| said.clock_off_ms.load(Ordering::SeqCst) > 2_000).count() as u64
    }
}
