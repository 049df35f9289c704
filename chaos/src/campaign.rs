//! A campaign from its beginning to its verdict.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use workflow_checker::check;
use workflow_checker::dump::Dump;
use workflow_checker::ledger::{self as ledger_file, Ledger};
use workflow_checker::record::{Life, Line, Record};

use crate::database::{ACCOUNTS, BALANCE, Place};
use crate::field::{Field, LEASE};
use crate::options::{Class, Kind, Options};
use crate::proxy::Mode;
use crate::verdict::{self, Findings, Verdict};
use crate::{AnyError, faults, load, reader, scan};

/// How long everything may take to end once nothing breaks any more.
const SETTLE: Duration = Duration::from_secs(30);
/// How long a round is that looks for one violation, and how long everything may take to end after it: far longer than it
/// ever does.
const ROUND: u64 = 9;
const SETTLE_IN_ROUND: Duration = Duration::from_secs(15);

/// Runs what the command line asks for; true when all is well.
pub fn main(options: &Options) -> Result<bool, AnyError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let verdict =
            if options.until_violation { hunt(options).await? } else { once(options, options.seconds).await? };
        let json = serde_json::to_string_pretty(&verdict.json)?;
        println!("{json}");
        if let Some(file) = &options.json {
            std::fs::write(file, &json)?;
        }
        for missing in &verdict.missing {
            eprintln!("{missing}");
        }
        Ok(verdict.ok())
    })
}

/// Short rounds until one has a violation, or the time is up. Which faults land doesn't matter.
async fn hunt(options: &Options) -> Result<Verdict, AnyError> {
    let began = Instant::now();
    let limit = Duration::from_secs(options.seconds);
    for round in 0.. {
        let faults = in_focus(options, round);
        let options = Options { seed: options.seed.wrapping_add(round), faults, ..options.clone() };
        let mut verdict = once(&options, ROUND).await?;
        verdict.missing.clear();
        if verdict.violations > 0 || began.elapsed() >= limit {
            verdict.json["caught_after_ms"] = json!(u64::try_from(began.elapsed().as_millis())?);
            verdict.json["rounds"] = json!(round + 1);
            return Ok(verdict);
        }
    }
    Err("no round was run".into())
}

/// The faults of a round: first all of them, then those that go together, more densely.
fn in_focus(options: &Options, round: u64) -> BTreeSet<Class> {
    let focus: &[Class] = match round % 4 {
        1 => &[Class::F10, Class::F12],
        2 => &[Class::F2],
        3 => &[Class::F1, Class::F3, Class::F5, Class::F6, Class::F8],
        _ => return options.faults.clone(),
    };
    let faults: BTreeSet<_> = options.faults.iter().copied().filter(|class| focus.contains(class)).collect();
    if faults.is_empty() { options.faults.clone() } else { faults }
}

async fn once(options: &Options, seconds: u64) -> Result<Verdict, AnyError> {
    let directory = Directory::new(options.keep.as_deref())?;
    let socket = directory.path.join("ledger.socket");
    let file = directory.path.join("ledger.jsonl");
    let _ledger = start_ledger(&file, &socket).await?;
    let place = Place::make(options.store, &directory.path, options.has(Class::F8)).await?;
    place.fill().await?;
    let field = Arc::new(Field::new(options.clone(), &directory.path, place, socket).await?);
    open(&field).await?;
    let began = Instant::now();
    let mut clients = load::begin(&field).await?;
    clients.spawn(reader::read(field.clone()));
    let mut faults = faults::begin(&field);
    while began.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if began.elapsed().as_secs().is_multiple_of(5) {
            progress(&field, began).await;
        }
    }
    field.stop();
    while let Some(ended) = faults.join_next().await {
        ended?;
    }
    mend(&field).await?;
    let settle_ms = settle(&field, clients).await;
    close(&field).await;
    for found in scan::logs(&directory.path) {
        field.tell(found).await;
    }
    let dump = Dump::read(&field.place.url()).await?;
    let lines = ledger_file::read(&file)?;
    let violations = violations(&lines, &dump, time_to_settle(options))?;
    for violation in &violations {
        eprintln!("VIOLATION {}", serde_json::to_string_pretty(violation)?);
    }
    Ok(verdict::of(&field, &lines, &dump, Findings { violations, settle_ms, seconds }))
}

fn time_to_settle(options: &Options) -> Duration {
    if options.until_violation { SETTLE_IN_ROUND } else { SETTLE }
}

/// What the checker has to say.
fn violations(lines: &[Line], dump: &Dump, settle: Duration) -> Result<Vec<Value>, AnyError> {
    let options = check::Options { threads: 1, settle: TimeDelta::from_std(settle)?, ..check::Options::default() };
    let violations = check::check(lines, dump, &options);
    Ok(violations.iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
}

/// The first records, and the executors.
async fn open(field: &Field) -> Result<(), AnyError> {
    field
        .tell(Record::Campaign {
            seed: field.options.seed,
            command: field.options.command(),
            store: field.options.store.as_str().to_owned(),
            lease_ms: u64::try_from(LEASE.as_millis())?,
        })
        .await;
    field.tell(Record::Accounts { balances: (1..=ACCOUNTS).map(|account| (account, BALANCE)).collect() }).await;
    // On a file the second process comes and goes.
    let count = if field.options.store == Kind::Sqlite { 1 } else { field.slots.len() };
    for slot in &field.slots[..count] {
        field.start(slot, &mut *slot.seat.lock().await).await?;
    }
    Ok(())
}

/// After the last fault: nothing is broken any more, and all versions of the code are there.
async fn mend(field: &Field) -> Result<(), AnyError> {
    for line in field.lines.iter().chain(field.slots.iter().filter_map(|slot| slot.line.as_ref())) {
        line.hold_commits(false);
        line.cut_commits(0);
        line.set(Mode::Pass);
    }
    if let Some(postgres) = field.place.postgres() {
        postgres.up().await;
    }
    for (index, slot) in field.slots.iter().enumerate() {
        let mut seat = slot.seat.lock().await;
        if index == 0 && seat.build < 2 {
            faults::retire(field, &mut seat).await;
            seat.build = 2;
        }
        let gone = seat.process.as_mut().is_none_or(|process| !process.lives());
        if gone && (index == 0 || field.options.store == Kind::Postgres) {
            field.start(slot, &mut seat).await?;
        }
    }
    field.tell(Record::FaultsStopped).await;
    Ok(())
}

/// Waits until clients and runs have ended, for as long as they may take.
async fn settle(field: &Field, mut clients: JoinSet<()>) -> u64 {
    let began = Instant::now();
    let settled = async {
        while clients.join_next().await.is_some() {}
        while !matches!(field.place.progress().await, Ok((_, 0))) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let limit = time_to_settle(&field.options);
    if tokio::time::timeout(limit, settled).await.is_err() {
        eprintln!("not everything has ended {limit:?} after the last fault");
    }
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Ends the executors.
async fn close(field: &Field) {
    for slot in &field.slots {
        if let Some(mut process) = slot.seat.lock().await.process.take() {
            process.signal("TERM").await;
            if process.exited(Duration::from_secs(10)).await.is_none() {
                let process = process.name.clone();
                field.tell(Record::Executor { process, life: Life::Exited { graceful: false } }).await;
            }
        }
    }
}

async fn progress(field: &Field, began: Instant) {
    let runs = match field.place.progress().await {
        Ok((runs, open)) => format!("{runs} runs, {open} of them open"),
        Err(_) => "the database is away".to_owned(),
    };
    eprintln!("{:4} s: {runs}; {}", began.elapsed().as_secs(), field.tally.json());
}

/// What `workflow-chaos ledger FILE SOCKET` does: a process of its own, because that is what a witness has to be.
pub fn ledger(mut arguments: impl Iterator<Item = String>) -> Result<(), AnyError> {
    let (file, socket) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Whoever started it holds the other end of its input, and is gone when that ends.
    std::thread::spawn(|| {
        let _ = std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new());
        std::process::exit(3);
    });
    Ok(runtime.block_on(ledger_file::serve(Ledger::open(file)?, Path::new(&socket), || println!("ready")))?)
}

async fn start_ledger(file: &Path, socket: &Path) -> Result<Child, AnyError> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("ledger")
        .args([file, socket])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = child.stdout.take().ok_or("the ledger has no output")?;
    let ready = BufReader::new(output).lines().next_line().await?;
    if ready.as_deref() == Some("ready") { Ok(child) } else { Err("the ledger doesn't begin".into()) }
}

/// Where a campaign keeps its files.
struct Directory {
    path: PathBuf,
    kept: bool,
}

impl Directory {
    fn new(keep: Option<&Path>) -> Result<Self, AnyError> {
        let temporary = || std::env::temp_dir().join(format!("workflow-chaos-{}", uuid::Uuid::new_v4()));
        let path = keep.map_or_else(temporary, |keep| keep.join(uuid::Uuid::now_v7().to_string()));
        std::fs::create_dir_all(&path)?;
        Ok(Self { path, kept: keep.is_some() })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
