//! The hidden sub-command `executor`: what a process of the cluster does until it is killed.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use workflow::postgres::{PgOptions, PgStore};
use workflow::store::Layered;
use workflow::{Executor, Store};
use workflow_checker::client::Client as Ledger;
use workflow_checker::record::{Life, Record};

use crate::AnyError;
use crate::faulty::{Error, Faults, Verdict};
use crate::rng::Rng;
use crate::setup::{SETUP, Setup};
use crate::spy::Spy;
use crate::work::{self, World};

/// Runs an executor until it is told to end.
pub fn main() -> Result<(), AnyError> {
    let setup: Setup = serde_json::from_str(&std::env::var(SETUP)?)?;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,sqlx=warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    // Whoever started it holds the other end of its input, and is gone when that ends.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(3);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(setup))
}

async fn run(setup: Setup) -> Result<(), AnyError> {
    let ledger = Ledger::new(&setup.ledger, setup.name.as_str());
    let process = setup.name.clone();
    let life = |life| Record::Executor { process: process.clone(), life };
    println!("clock {}", (chrono::Utc::now().timestamp_millis() - setup.wall_ms).unsigned_abs());
    ledger.append(life(Life::Born)).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let executor = tokio::select! {
        executor = start(&setup, &ledger) => executor,
        _ = terminate.recv() => {
            ledger.append(life(Life::Exited { graceful: true })).await?;
            return Ok(());
        }
    };
    println!("ready {}", executor.id());
    terminate.recv().await;
    let ended = executor.shutdown().await;
    ledger.append(life(Life::Exited { graceful: ended.is_ok() })).await?;
    Ok(ended?)
}

/// As a supervisor would: again, when the store fails.
async fn start(setup: &Setup, ledger: &Ledger) -> Executor {
    loop {
        match try_start(setup, ledger).await {
            Ok(executor) => return executor,
            Err(error) => {
                eprintln!("{} can't start: {error}", setup.name);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn try_start(setup: &Setup, ledger: &Ledger) -> Result<Executor, AnyError> {
    let (store, clock): (Arc<dyn Store>, _) = if setup.on_postgres() {
        let store = PgStore::connect_with(PgOptions::new(&setup.url).acquire_timeout(Duration::from_secs(2))).await?;
        let pool = store.pool().clone();
        (Arc::new(store), Some(pool))
    } else {
        (workflow::connect(&setup.url).await?, None)
    };
    let spy = Arc::new(spy(setup, ledger));
    report(spy.wakeups());
    let store = Arc::new(Layered::new(faulty(setup, store), spy));
    let lease = Duration::from_millis(setup.lease_ms);
    let builder = work::register(Executor::builder(store), setup.build, setup.on_postgres());
    let executor = builder
        .state(World {
            ledger: ledger.clone(),
            process: setup.name.clone(),
            clock,
            marks: Path::new(&setup.ledger).with_file_name("marks"),
        })
        .name(&setup.name)
        .lease(lease, lease / 5)
        .poll_interval(Duration::from_millis(500))
        .linger(Duration::from_millis(700))
        .driver_threads(1)
        .sweep_interval(Some(Duration::from_secs(1)))
        .start()
        .await?;
    Ok(executor)
}

/// Some calls fail: most before they are applied, some after.
fn faulty(setup: &Setup, store: Arc<dyn Store>) -> Arc<dyn Store> {
    if setup.failing_calls == 0 {
        return store;
    }
    // Over all tries to start: one that failed isn't repeated as it was.
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let (percent_of_percent, seed) = (setup.failing_calls, setup.seed);
    Faults::around(store, move |site| {
        let mut rng = Rng::new(seed, &format!("call {}", CALLS.fetch_add(1, Ordering::Relaxed)));
        if rng.below(10_000) >= percent_of_percent {
            return Verdict::Pass;
        }
        let verdict = match rng.below(5) {
            0 => Verdict::Before(Error::Unavailable),
            1 => Verdict::Before(Error::Contention),
            2 => Verdict::Before(Error::Unknown),
            _ => Verdict::After(Error::Unknown),
        };
        println!(
            "{} 1 {:?}",
            if matches!(verdict, Verdict::After(_)) { "injected-after" } else { "injected-before" },
            site.method
        );
        verdict
    })
}

fn spy(setup: &Setup, ledger: &Ledger) -> Spy {
    let (ledger, process, runtime) = (ledger.clone(), setup.name.clone(), tokio::runtime::Handle::current());
    let lost = move || {
        let (ledger, process) = (ledger.clone(), process.clone());
        runtime.spawn(async move { ledger.append(Record::Executor { process, life: Life::LeaseLost }).await });
    };
    Spy::new(Rng::new(setup.seed, "wake-ups"), setup.disturbed_wakeups, Arc::new(lost))
}

/// Says now and then how many wake-ups were disturbed.
fn report(wakeups: Arc<AtomicU64>) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            match wakeups.swap(0, Ordering::Relaxed) {
                0 => {}
                count => println!("wakeups {count}"),
            }
        }
    });
}
