//! Where a campaign takes place: the database, the executors, the ledger, and what all of them say.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, watch};
use workflow_checker::client::Client as Ledger;
use workflow_checker::record::{Hit, Life, Record};

use crate::AnyError;
use crate::database::Place;
use crate::options::{Class, Kind, Options};
use crate::process::{Heard, Process, Said};
use crate::proxy::Line;
use crate::rng::Rng;
use crate::setup::Setup;
use crate::tally::Tally;

/// The executors' lease. Short, so that much happens in little time.
pub const LEASE: Duration = Duration::from_secs(2);

/// A place for an executor process, with a line to the database of its own.
pub struct Slot {
    pub index: usize,
    pub line: Option<Arc<Line>>,
    /// Locked by whoever does something to the process.
    pub seat: Mutex<Seat>,
    name: Lock<String>,
}

/// Who is in a slot.
pub struct Seat {
    pub process: Option<Process>,
    pub build: u32,
}

impl Slot {
    /// The name of its process.
    pub fn name(&self) -> String {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Everything at hand.
pub struct Field {
    pub options: Options,
    pub directory: PathBuf,
    pub place: Place,
    pub ledger: Ledger,
    pub socket: PathBuf,
    pub tally: Tally,
    pub heard: Heard,
    /// What the clients met.
    pub clients: Arc<Said>,
    pub slots: Vec<Slot>,
    /// The clients' lines.
    pub lines: Vec<Arc<Line>>,
    /// When the server took connections again after a crash.
    pub restarts: Lock<Vec<DateTime<Utc>>>,
    /// Writes of thawed executors that were refused.
    pub zombies: AtomicU64,
    /// Faults come so many times as often as usual.
    pub pace: u32,
    faketime: Option<String>,
    stop: watch::Sender<bool>,
    lives: AtomicU64,
}

impl Field {
    pub async fn new(options: Options, directory: &Path, place: Place, socket: PathBuf) -> Result<Self, AnyError> {
        let ledger = Ledger::new(&socket, "harness");
        let (mut slots, mut lines) = (Vec::new(), Vec::new());
        let count = if options.store == Kind::Postgres { 4 } else { 2 };
        for index in 0..count {
            let line = match place.postgres() {
                Some(postgres) => Some(Line::before(postgres.server.port()).await?),
                None => None,
            };
            let seat = Mutex::new(Seat { process: None, build: 1 + u32::try_from(index % 2)? });
            slots.push(Slot { index, line, seat, name: Lock::default() });
        }
        if let Some(postgres) = place.postgres() {
            for _ in 0..2 {
                lines.push(Line::before(postgres.server.port()).await?);
            }
        }
        let (heard, clients) = (Heard::default(), Arc::<Said>::default());
        heard.add(clients.clone());
        Ok(Self {
            pace: if options.bug.is_some() { 3 } else { 1 },
            faketime: faketime().filter(|_| options.has(Class::F9)),
            options,
            directory: directory.to_owned(),
            place,
            ledger,
            socket,
            tally: Tally::default(),
            heard,
            clients,
            slots,
            lines,
            restarts: Lock::default(),
            zombies: AtomicU64::new(0),
            stop: watch::Sender::new(false),
            lives: AtomicU64::new(0),
        })
    }

    /// Whether clocks can be changed here.
    pub fn has_faketime(&self) -> bool {
        self.faketime.is_some()
    }

    /// Puts a new process into a slot.
    pub async fn start(&self, slot: &Slot, seat: &mut Seat) -> Result<(), AnyError> {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let mut rng = Rng::new(self.options.seed, &format!("life {life}"));
        let name = format!("e{}-{life}", slot.index);
        let url = slot.line.as_ref().map_or_else(|| self.place.url(), |line| self.place.url_over(line.port));
        // A file gets fewer calls, and has no other commits of unknown outcome.
        let failing = if self.options.store == Kind::Sqlite { 200 } else { 30 };
        let setup = Setup {
            name: name.clone(),
            url,
            ledger: self.socket.to_string_lossy().into_owned(),
            lease_ms: u64::try_from(LEASE.as_millis())?,
            build: seat.build,
            seed: rng.next(),
            failing_calls: if self.options.has(Class::F6) && rng.chance(50) { failing } else { 0 },
            disturbed_wakeups: if self.options.has(Class::F10) && rng.chance(50) { 30 } else { 0 },
            wall_ms: Utc::now().timestamp_millis(),
        };
        let mut environment = Vec::new();
        if let Some(library) = self.faketime.as_ref().filter(|_| rng.chance(40)) {
            let hours = rng.below(48);
            let offset = format!("{}{}s", if rng.chance(50) { "+" } else { "-" }, hours * 3_600 + 7 + rng.below(100));
            self.fault(Class::F9, Hit::Clock, Some(&name), &format!("its clock is off by {offset}")).await;
            environment.extend([
                ("LD_PRELOAD".to_owned(), library.clone()),
                ("FAKETIME".to_owned(), offset),
                ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
                ("DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
            ]);
        }
        if let Some(bug) = &self.options.bug {
            environment.push(("WORKFLOW_SEEDED_BUG".to_owned(), bug.clone()));
        }
        let process = Process::start(&setup, &self.log(&name), &environment)?;
        self.heard.add(process.said.clone());
        seat.process = Some(process);
        *slot.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }

    /// Notes a fault in the ledger.
    pub async fn fault(&self, class: Class, hit: Hit, process: Option<&str>, note: &str) {
        let (class, process, note) = (class.name().to_owned(), process.map(str::to_owned), note.to_owned());
        self.tell(Record::Fault { class, hit, process, note }).await;
    }

    /// A process is gone that had no time to say so.
    pub async fn gone(&self, process: &str) {
        let life = Life::Exited { graceful: false };
        self.tell(Record::Executor { process: process.to_owned(), life }).await;
    }

    pub async fn tell(&self, record: Record) {
        if let Err(error) = self.ledger.append(record).await {
            eprintln!("the ledger failed: {error}");
        }
    }

    /// Waits; false when faults are to stop.
    pub async fn pause(&self, time: Duration) -> bool {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            () = tokio::time::sleep(time) => !self.stopped(),
            _ = stop.wait_for(|stop| *stop) => false,
        }
    }

    /// Waits between two faults of a class.
    pub async fn between(&self, rng: &mut Rng, from_ms: u64, to_ms: u64) -> bool {
        self.pause(rng.millis(from_ms, to_ms) / self.pace).await
    }

    pub fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// No fault begins from now on, and no client begins anything new.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// A random slot with a process that is at work and that nobody else is busy with.
    pub fn victim(&self, rng: &mut Rng) -> Option<(&Slot, tokio::sync::MutexGuard<'_, Seat>)> {
        for _ in 0..8 {
            let slot = rng.pick(&self.slots)?;
            if let Ok(seat) = slot.seat.try_lock()
                && seat.process.as_ref().is_some_and(Process::ready)
            {
                return Some((slot, seat));
            }
        }
        None
    }
}

/// The library that changes a process's clock, where it is installed (or unpacked, and named by a variable).
fn faketime() -> Option<String> {
    let known = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    ];
    let named = std::env::var("WORKFLOW_FAKETIME").ok();
    named.into_iter().chain(known.map(str::to_owned)).find(|path| Path::new(path).exists())
}
