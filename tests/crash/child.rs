//! Executor processes.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use workflow::Executor;
use workflow::postgres::{PgOptions, PgStore};

use crate::workflows;

const URL: &str = "WORKFLOW_CRASH_URL";
const NAME: &str = "WORKFLOW_CRASH_NAME";
const LEASE_MS: &str = "WORKFLOW_CRASH_LEASE_MS";

/// The longest that anything is waited for.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What a process of a test does: it is an executor until it is killed. As a test of its own it does nothing.
#[test]
fn executor_process() {
    let (Ok(url), Ok(name), Ok(lease)) = (std::env::var(URL), std::env::var(NAME), std::env::var(LEASE_MS)) else {
        return;
    };
    let lease = Duration::from_millis(lease.parse().expect("a number"));
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // Whoever started it holds the other end of its input, and is gone when that ends.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let _executor = start(&url, &name, lease).await;
        println!("{name} started");
        std::future::pending::<()>().await;
    });
}

async fn start(url: &str, name: &str, lease: Duration) -> Executor {
    loop {
        let tried = async {
            let builder = if url.starts_with("postgres") {
                let store = Arc::new(PgStore::connect_with(PgOptions::new(url)).await?);
                let pool = store.pool().clone();
                Executor::builder(store).state(workflows::Ledger::Postgres { pool, name: name.to_owned() })
            } else {
                Executor::builder(workflow::connect(url).await?)
                    .state(workflows::Ledger::Output { name: name.to_owned() })
            };
            workflows::register(builder)
                .name(name)
                .lease(lease, lease / 5)
                .poll_interval(Duration::from_millis(500))
                .driver_threads(1)
                .start()
                .await
        };
        match tried.await {
            Ok(executor) => return executor,
            Err(error) => {
                println!("{name} can't start: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[derive(Default)]
struct Lines {
    lines: Mutex<VecDeque<String>>,
    arrived: Condvar,
}

/// A process that runs an executor. It is killed when dropped.
pub struct Process {
    child: Child,
    lines: Arc<Lines>,
    pub name: String,
}

impl Process {
    /// Starts one. Its executor is at work a moment later.
    pub fn start(url: &str, name: &str, lease: Duration) -> Self {
        let mut command = Self::of_test("child::executor_process");
        command.env(URL, url).env(NAME, name).env(LEASE_MS, lease.as_millis().to_string());
        Self::spawn(command, name)
    }

    /// This program, to be run again as one of its tests.
    pub fn of_test(test: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        command
    }

    /// Runs a command whose standard output is listened to.
    pub fn spawn(mut command: Command, name: &str) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program can be run again");
        let lines = Arc::<Lines>::default();
        let (sink, output) = (lines.clone(), child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                sink.lines.lock().expect("no panic holds it").push_back(line);
                sink.arrived.notify_all();
            }
        });
        Self { child, lines, name: name.to_owned() }
    }

    /// Forgets what it said.
    pub fn forget(&self) {
        self.lines.lines.lock().expect("no panic holds it").clear();
    }

    /// Waits until it says `what`, from what it said since the last call.
    pub async fn says(&self, what: &str) -> String {
        let (lines, wanted, name) = (self.lines.clone(), what.to_owned(), self.name.clone());
        let heard = tokio::task::spawn_blocking(move || {
            let until = Instant::now() + LIMIT;
            let mut queue = lines.lines.lock().expect("no panic holds it");
            loop {
                while let Some(line) = queue.pop_front() {
                    if line.contains(&wanted) {
                        return line;
                    }
                }
                let left = until.saturating_duration_since(Instant::now());
                assert!(!left.is_zero(), "{name} never said {wanted:?}");
                queue = lines.arrived.wait_timeout(queue, left).expect("no panic holds it").0;
            }
        });
        heard.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", signal, &id]).status();
        assert!(status.expect("a shell").success(), "no {signal} for {}", self.name);
    }

    /// Whether it has said `what` since the last call of [`Process::says`].
    pub fn has_said(&self, what: &str) -> bool {
        self.lines.lines.lock().expect("no panic holds it").iter().any(|line| line.contains(what))
    }

    /// Waits until it has ended by itself. The code it ended with, if it ended with one.
    pub async fn ended(&mut self) -> Option<i32> {
        until("it ends", async || self.child.try_wait().expect("it is a child").is_some()).await;
        self.child.wait().expect("it has ended").code()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is there until it is waited for");
        self.child.wait().expect("it was killed");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "never: {what}");
}
