//! A durable `sha256sum` of a directory tree: killed at any moment, it goes on where it was.
//!
//! ```text
//! cargo run --release --example manifest -- DIR [--out FILE] [--store URL]
//! ```
//!
//! Each directory is a run, its listing a step, each file a step. What is journaled is never read again; the result is
//! put together from the journals.
#![allow(clippy::disallowed_methods, reason = "the progress bar shows time")]

mod hash;
mod name;
mod options;
mod output;
mod progress;
mod walk;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use workflow::prelude::*;
use workflow::sqlite::{Durability, SqliteOptions};
use workflow::{RunId, RunStatus, Status, Store};

use name::Name;
use options::Options;
use output::Report;
use walk::{Host, Totals};

/// How long a finished manifest is kept: for the other processes that wait for it, and for one that was killed while it
/// wrote it out and is started again in the morning.
const RETAIN: Duration = Duration::from_secs(24 * 60 * 60);

fn main() -> ExitCode {
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr);
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "off".to_owned());
    subscriber.with_env_filter(filter).init();
    let result = match options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => run(options),
        Ok(None) => {
            println!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| {
        eprintln!("manifest: {error:#}");
        ExitCode::from(1)
    })
}

fn run(options: Options) -> Result<ExitCode> {
    let shown = options.directory.display();
    let base = options.directory.canonicalize().with_context(|| format!("{shown}"))?;
    if !base.is_dir() {
        bail!("{shown}: not a directory");
    }
    let base = Name::new(base.as_os_str());
    if let Some(out) = &options.out
        && !out.parent().is_none_or(|parent| parent.as_os_str().is_empty() || parent.is_dir())
    {
        bail!("{}: there is no such directory", out.display());
    }
    // The bound of what is hashed at once is the number of threads for it.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(options.jobs).build()?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = make(&options, base) => result,
            _ = tokio::signal::ctrl_c() => bail!("interrupted: the same command goes on"),
        }
    });
    runtime.shutdown_background();
    result
}

async fn make(options: &Options, base: Name) -> Result<ExitCode> {
    let store = open(options.store.as_deref(), &base).await?;
    store.migrate().await?;
    while store.sweep(1_000).await?.more {}

    let queue = walk::queue(&base);
    let client = Client::new(store.clone());
    let found = client.list().workflow("manifest").queue(&queue).limit(1).await?.pop();
    let host = Host::new(options.batch);
    let generation = match &found {
        Some(run) if is_over(&client, run, options).await? => generation(run) + 1,
        Some(run) if options.fresh => {
            client.cancel(run.id(), "another manifest was asked for").await?;
            generation(run) + 1
        }
        Some(run) => {
            tell_of_resumption(&client, run, &host).await?;
            generation(run)
        }
        None => 1,
    };
    let executor = Executor::builder(store.clone())
        .register(walk::manifest)
        .register(walk::directory)
        .register(walk::written)
        .queue(Queue::new(&queue).concurrency(256))
        .state(host.clone())
        .lease(options.lease, options.lease / 5)
        .retain(RETAIN)
        // A tree may be as deep as it likes, and its root sees no progress while it is killed again and again.
        .max_depth(u16::MAX)
        .max_crashes(u32::MAX)
        .start()
        .await?;
    let id = format!("manifest:{}:{generation}", walk::key(&base));
    let client = executor.client();
    let run = client.invoke(walk::manifest, base.clone()).id(id).queue(&queue).await?;
    let totals = tokio::select! {
        totals = run.result() => totals?,
        () = progress::show(host.clone()) => bail!("the progress bar ended"),
    };
    let report = Report::read(&client, run.id()).await?;
    executor.shutdown().await?;
    let code = finish(options, &report, totals, &host)?;
    // That the run is there is what counts; whoever serves the queue next ends it.
    let mark = Client::new(store).invoke(walk::written, ()).id(mark_of(run.id())).queue(&queue);
    if let Err(error) = mark.await {
        eprintln!(
            "manifest: the same command will write this one again, as it can't be recorded that it was written: {error}"
        );
    }
    Ok(code)
}

/// Whether the command makes another manifest, and doesn't go on with this one.
async fn is_over(client: &Client, run: &RunStatus, options: &Options) -> Result<bool> {
    Ok(match run.status() {
        // Killed before it was written, it is only written.
        Status::Completed if !options.fresh => match client.find::<()>(&mark_of(run.id())).await {
            Ok(_) => true,
            Err(error) if error.code() == "NO_SUCH_RUN" => false,
            Err(error) => return Err(error.into()),
        },
        status => status.is_terminal() || status == Status::Parked,
    })
}

/// The id of the run that says that this one's manifest was written.
fn mark_of(run: RunId) -> String {
    format!("written:{run}")
}

fn finish(options: &Options, report: &Report, totals: Totals, host: &Host) -> Result<ExitCode> {
    let complete =
        Totals { files: report.files.len() as u64, bytes: report.bytes, unreadable: report.unreadable.len() as u64 };
    if complete != totals {
        bail!("the journals hold {complete:?}, but {totals:?} was counted: was the result deleted meanwhile?");
    }
    let target = options.out.as_ref().map_or_else(|| "standard output".into(), |path| path.to_string_lossy());
    match report.write(options.out.as_deref()) {
        // Whoever reads has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::from(1)),
        written => written.with_context(|| format!("writing to {target}"))?,
    }
    for (path, error) in &report.unreadable {
        let path = if path.bytes().is_empty() { "." } else { &*path.path().to_string_lossy() };
        eprintln!("manifest: {path}: {error}");
    }
    let ran = host.steps.load(Ordering::Relaxed).min(report.steps);
    eprintln!(
        "{} files, {}; {} steps: {ran} run now, {} from the journal",
        totals.files,
        indicatif::HumanBytes(totals.bytes),
        report.steps,
        report.steps - ran
    );
    Ok(if report.unreadable.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// Opens the store of `--store`, or the file that belongs to the directory.
async fn open(url: Option<&str>, base: &Name) -> Result<Arc<dyn Store>> {
    if let Some(url) = url {
        return Ok(workflow::connect(url).await?);
    }
    let file = state_directory()?.join("workflow-manifest").join(format!("{}.db", walk::key(base)));
    // After a power failure some files may be read again: no harm done.
    let options = SqliteOptions::file(&file).create_directories().durability(Durability::Normal);
    Ok(Arc::new(options.open().await?))
}

/// <https://specifications.freedesktop.org/basedir-spec/latest/>
fn state_directory() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").filter(|path| path.is_absolute());
    state
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .context("no place for the journal: set HOME or XDG_STATE_HOME, or name one with --store")
}

/// Which manifest of its directory a run makes: the last part of its id.
fn generation(run: &RunStatus) -> u64 {
    run.invoke_id().and_then(|id| id.rsplit(':').next()?.parse().ok()).unwrap_or(0)
}

async fn tell_of_resumption(client: &Client, run: &RunStatus, host: &Host) -> Result<()> {
    let before = Report::read(client, run.id()).await?;
    eprintln!(
        "resuming the manifest of {}: {} steps are in the journal",
        run.created_at().format("%F %T UTC"),
        before.steps
    );
    host.listed.fetch_add(before.listed, Ordering::Relaxed);
    host.files.fetch_add(before.files.len() as u64, Ordering::Relaxed);
    host.bytes.fetch_add(before.bytes, Ordering::Relaxed);
    Ok(())
}
