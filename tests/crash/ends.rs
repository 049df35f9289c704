//! Processes that end in odd ways: by their own code, by two signals, with a clock that is wrong.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use workflow::prelude::*;
use workflow::{Client, Status, Timestamp};

use crate::child::{LIMIT, Process, until};

const URL: &str = "WORKFLOW_ENDS_URL";
/// Set when the step that waits may go on.
const OPEN: &str = "WORKFLOW_ENDS_OPEN";
const LEASE: Duration = Duration::from_millis(900);
/// Crashes without progress that a run may have.
const CRASHES: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum End {
    Abort,
    Exit,
    /// A destructor that panics while a panic unwinds ends the process.
    PanicTwice,
    Wait,
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

#[workflow]
async fn ends(ctx: Ctx, end: End) -> Result<u64> {
    ctx.step("before", async || Ok(())).await?;
    ctx.step("end", async || {
        println!("the body begins");
        match end {
            End::Abort => std::process::abort(),
            End::Exit => std::process::exit(3),
            End::PanicTwice => {
                let _bomb = Bomb;
                panic!("in the body");
            }
            End::Wait if std::env::var(OPEN).is_err() => std::future::pending().await,
            End::Wait => Ok(7),
        }
    })
    .await
}

#[workflow]
async fn healthy(ctx: Ctx, n: u64) -> Result<u64> {
    ctx.step("add", async || Ok(n + 1)).await
}

/// The times that a run saw before and after a nap.
#[workflow]
async fn naps(ctx: Ctx, nap: Duration) -> Result<(Timestamp, Timestamp)> {
    ctx.step("before", async || Ok(())).await?;
    let before = ctx.now();
    ctx.sleep(nap).await?;
    Ok((before, ctx.now()))
}

/// What the processes of these tests do. As a test of its own it does nothing.
#[test]
fn program() {
    let Ok(url) = std::env::var(URL) else { return };
    let _ = tracing_subscriber::fmt().with_writer(std::io::stderr).try_init();
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("builds");
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).expect("can be listened to");
        let builder = Executor::builder(workflow::connect(&url).await.expect("connects"));
        let builder = builder.register(ends).register(healthy).register(naps).max_crashes(CRASHES);
        let builder = builder.lease(LEASE, LEASE / 6).poll_interval(Duration::from_millis(200)).driver_threads(1);
        let executor = builder.start().await.expect("starts");
        // Nobody may be listening.
        let _ = std::io::Write::write_all(&mut std::io::stdout(), b"started\n");
        terminate.recv().await;
        tokio::select! {
            closed = executor.shutdown() => closed.expect("shuts down"),
            _ = terminate.recv() => {}
        }
        std::process::exit(9);
    });
}

fn start(url: &str, open: bool) -> Process {
    let mut command = Process::of_test("ends::program");
    command.env(URL, url);
    if open {
        command.env(OPEN, "1");
    }
    Process::spawn(command, "the program")
}

/// A file of its own, deleted with its directory when dropped.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("workflow-ends-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).expect("a directory");
        Self(directory)
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.0.join("runs.db").display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn client(url: &str) -> Client {
    let store = workflow::connect(url).await.expect("connects");
    store.migrate().await.expect("migrates");
    Client::new(store)
}

async fn result<T: serde::de::DeserializeOwned + 'static>(run: &RunHandle<T>) -> T {
    tokio::time::timeout(LIMIT, run.result()).await.expect("it ends").expect("it ends well")
}

async fn a_step_that_ends_its_process_is_parked(url: &str) {
    let client = client(url).await;
    for (end, code) in [(End::Abort, None), (End::Exit, Some(3)), (End::PanicTwice, None)] {
        let run = client.invoke(ends, end).await.expect("invoked");
        for _ in 0..=CRASHES {
            let mut process = start(url, false);
            process.says("the body begins").await;
            assert_eq!(process.ended().await, code, "{end:?}");
        }
        let survivor = start(url, false);
        until("it is parked", async || client.status(run.id()).await.expect("exists").status() == Status::Parked).await;
        let status = client.status(run.id()).await.expect("exists");
        let reason = status.parked().expect("a reason");
        assert_eq!(reason.code, "POISONED");
        assert!(
            reason.message.contains("died") && reason.message.contains('2') && reason.message.contains("resume"),
            "{}",
            reason.message
        );
        let journal = client.store().journal(run.id(), 0, 10).await.expect("is readable");
        assert_eq!(journal.iter().map(|entry| entry.fact.key.name.as_str()).collect::<Vec<_>>(), ["before"]);
        assert_eq!(result(&client.invoke(healthy, 1).await.expect("invoked")).await, 2);
        assert!(!survivor.has_said("the body begins"), "{end:?} ran once too often");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_ends_its_process_is_parked_on_postgres() {
    let database = workflow_testserver::test_database().await.expect("a database");
    a_step_that_ends_its_process_is_parked(database.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_ends_its_process_is_parked_on_sqlite() {
    let file = File::new();
    a_step_that_ends_its_process_is_parked(&file.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_to_end_takes_nothing_from_a_run() {
    let database = workflow_testserver::test_database().await.expect("a database");
    let client = client(database.url()).await;
    let run = client.invoke(ends, End::Wait).await.expect("invoked");
    let mut process = start(database.url(), false);
    process.says("the body begins").await;
    process.signal("TERM");
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(9));
    let _next = start(database.url(), true);
    assert_eq!(result(&run).await, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_without_output_works() {
    let database = workflow_testserver::test_database().await.expect("a database");
    let client = client(database.url()).await;
    let program = Process::of_test("ends::program");
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" >&- 2>&-"]).arg(program.get_program()).args(program.get_args());
    let _process = Process::spawn(
        {
            command.env(URL, database.url()).stderr(Stdio::null());
            command
        },
        "silent",
    );
    assert_eq!(result(&client.invoke(healthy, 4).await.expect("invoked")).await, 5);
}

/// How far the clocks of the executors that live are off, as their ids tell, which begin with the time.
async fn days_off(pool: &sqlx::PgPool) -> Vec<&'static str> {
    let query =
        "SELECT id, extract(epoch FROM clock_timestamp())::float8 FROM workflow.executors WHERE state = 'alive'";
    let rows: Vec<(uuid::Uuid, f64)> = sqlx::query_as(query).fetch_all(pool).await.expect("reads");
    let off = |(id, now): &(uuid::Uuid, f64)| {
        let (seconds, _) = id.get_timestamp().expect("a version 7 UUID").to_unix();
        match (seconds as f64 - now) / 3_600.0 {
            hours if hours > 23.0 => "+1d",
            hours if hours < -23.0 => "-1d",
            _ => "right",
        }
    };
    rows.iter().map(off).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_a_day_off_decides_nothing_and_needs_faketime() {
    const NAP: Duration = Duration::from_millis(400);
    // Without its program, which fails when one that was killed has left its semaphore to the same process id.
    let library = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let library = library.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|file| file.is_file());
    let Some(library) = library else {
        println!("SKIPPED: there is no faketime to set a process's clock with: apt-get install faketime");
        return;
    };
    let database = workflow_testserver::test_database().await.expect("a database");
    let client = client(database.url()).await;
    let pool = database.pool(1).await.expect("connects");
    for shift in ["+1d", "-1d"] {
        let before = crate::ledger::now(&pool).await;
        let run = client.invoke(naps, NAP).await.expect("invoked");
        let mut command = Process::of_test("ends::program");
        // A day off, and going on as every clock does.
        command.env("LD_PRELOAD", &library).env("FAKETIME", shift).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command.env("DONT_FAKE_MONOTONIC", "1").env(URL, database.url());
        let process = Process::spawn(command, shift);
        process.says("started").await;
        assert!(days_off(&pool).await.contains(&shift), "its clock is right");
        let (asleep, awake) = result(&run).await;
        let after = crate::ledger::now(&pool).await;
        assert!(before <= asleep && awake <= after, "{shift}: {before} {asleep} {awake} {after}");
        assert!((awake - asleep).to_std().expect("later") >= NAP, "{shift}: {asleep} {awake}");
        assert_eq!(result(&client.invoke(healthy, 1).await.expect("invoked")).await, 2);
    }
}
