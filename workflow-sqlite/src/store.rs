//! The store: opening a file, and each method of the contract as one transaction.

use std::any::Any;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Row, SqliteConnection};
use tokio::runtime::Handle;
use workflow_core::journal::Entry;
use workflow_core::store::{
    Claim, Claimed, Committed, CreateOutcome, Heartbeat, ListFilter, Mail, NewEvent, NewMessage, NewRun, Rescued,
    Resume, RunRecord, RunRef, SendOutcome, Swept, Turn, WakeSink, WatchGuard,
};
use workflow_core::{ExecutorId, RunId, Store, StoreError, Timestamp};

use crate::clock::{self, timestamp};
use crate::connection::{Connections, Slot, Tx};
use crate::options::SqliteOptions;
use crate::presence::Presence;
use crate::wake::{File, Wakes, Watchers};
use crate::{claim, commit, create, error, inbox, lease, migrate, read, sql, sweep, topic};

/// A store in an SQLite file, which several processes may share. Clones are the same store.
#[derive(Clone)]
pub struct SqliteStore {
    pub(crate) connections: Arc<Connections>,
    pub(crate) watchers: Arc<Watchers>,
    /// `None` for a database in memory.
    file: Option<File>,
    /// The shortest lease of an executor here, in milliseconds.
    shortest_lease: Arc<AtomicU64>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let log = self.file.as_ref().map(|file| file.wal.display().to_string());
        write!(f, "SqliteStore({})", log.as_deref().map_or(":memory:", |log| log.trim_end_matches("-wal")))
    }
}

impl SqliteStore {
    /// Opens the file at `path`, and creates it when it is missing. [`SqliteOptions`] has more to choose from.
    ///
    /// # Errors
    ///
    /// As [`SqliteOptions::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        SqliteOptions::file(path).open().await
    }

    /// Opens what a URL names: `sqlite://relative/path`, `sqlite:///absolute/path` or `sqlite::memory:`.
    ///
    /// # Errors
    ///
    /// As [`SqliteOptions::open`], and [`StoreError::Unusable`] when it is no such URL.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        SqliteOptions::parse(url)?.open().await
    }

    pub(crate) async fn open_with(options: SqliteOptions) -> Result<Self, StoreError> {
        options.check_path()?;
        let connect = options.connect_options()?;
        let mut writer = Slot::new(connect.clone(), options.path.clone());
        let connection = writer.connection().await?;
        if !options.in_memory {
            prepare_file(connection).await.map_err(|e| error::open(&options.path, e))?;
        }
        let count = if options.in_memory { 0 } else { options.readers };
        let readers = (0..count).map(|_| Slot::new(connect.clone(), options.path.clone())).collect();
        let connections = Arc::new(Connections::new(writer, readers));
        let file = (!options.in_memory).then(|| {
            let mut wal = OsString::from(&options.path);
            wal.push("-wal");
            let presence = Arc::new(Presence::of(&options.path));
            File { connections: Arc::clone(&connections), wal: wal.into(), presence, runtime: Handle::current() }
        });
        let shortest_lease = Arc::new(AtomicU64::new(u64::MAX));
        Ok(Self { connections, watchers: Arc::default(), file, shortest_lease })
    }

    /// For how long a transaction of a run may keep everybody else from writing: a heartbeat that waits for it must come
    /// through before the lease has run out.
    pub(crate) fn longest_open(&self) -> Duration {
        Duration::from_millis(self.shortest_lease.load(Ordering::Relaxed) / 5 * 3)
    }

    fn presence(&self) -> Option<&Presence> {
        self.file.as_ref().map(|file| &*file.presence)
    }

    /// Those executors are no more.
    fn bury(&self, executors: &[ExecutorId]) {
        if let Some(presence) = self.presence() {
            executors.iter().for_each(|executor| presence.bury(*executor));
        }
    }

    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        self.connections.begin().await
    }

    /// Commits and tells the watchers.
    pub(crate) async fn end(&self, tx: Tx, wakes: Wakes) -> Result<(), StoreError> {
        let done = tx.commit().await;
        match &done {
            Ok(()) => self.watchers.tell(wakes),
            Err(StoreError::Unknown(_)) => self.watchers.lost(),
            Err(_) => {}
        }
        done
    }
}

/// Asks for the write-ahead log and proves that the file can be written.
#[expect(clippy::disallowed_methods, reason = "waiting for a lock of SQLite's that no handler waits for")]
async fn prepare_file(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut tries = 0;
    let row = loop {
        match sqlx::query(sql::JOURNAL_MODE).fetch_one(&mut *connection).await {
            // Changing the mode doesn't wait for others, so the waiting is done here: 100 times 20 ms.
            Err(e) if error::is_busy(&e) && tries < 100 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => break other?,
        }
    };
    let mode: String = row.try_get(0)?;
    if mode != "wal" {
        let text = format!(
            "SQLite can't keep its write-ahead log here and stays in journal mode {mode}: use a local file system"
        );
        return Err(sqlx::Error::Configuration(text.into()));
    }
    match sqlx::raw_sql(sql::PROVE_WRITABLE).execute(connection).await {
        Err(e) if !error::is_busy(&e) => Err(e),
        _ => Ok(()),
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        migrate::migrate(&mut tx).await?;
        tx.commit().await
    }

    async fn register(&self, executor: ExecutorId, name: &str, lease: Duration) -> Result<Timestamp, StoreError> {
        if let Some(presence) = self.presence() {
            presence.enter(executor);
        }
        self.shortest_lease.fetch_min(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let mut tx = self.begin().await?;
        let now = clock::now();
        lease::register(&mut tx, executor, name, lease, now).await?;
        lease::watch(&mut tx, self.presence()).await?;
        tx.commit().await?;
        Ok(timestamp(now))
    }

    async fn heartbeat(&self, executor: ExecutorId, lease: Duration) -> Result<Heartbeat, StoreError> {
        let mut tx = self.begin().await?;
        let heartbeat = lease::heartbeat(&mut tx, executor, lease, clock::now()).await?;
        lease::watch(&mut tx, self.presence()).await?;
        tx.commit().await?;
        Ok(heartbeat)
    }

    async fn hand_over(&self, executor: ExecutorId, runs: &[RunId]) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let mut wakes = Wakes::default();
        let handed = lease::hand_over(&mut tx, executor, runs, clock::now(), &mut wakes).await?;
        self.end(tx, wakes).await?;
        Ok(handed)
    }

    async fn close(&self, executor: ExecutorId) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let mut wakes = Wakes::default();
        let runs = lease::close(&mut tx, executor, clock::now(), &mut wakes).await?;
        self.end(tx, wakes).await?;
        self.bury(&[executor]);
        Ok(runs)
    }

    async fn rescue(&self, max_crashes: u32, limit: usize) -> Result<Rescued, StoreError> {
        let mut tx = self.begin().await?;
        let mut wakes = Wakes::default();
        let rescued = lease::rescue(&mut tx, max_crashes, limit, clock::now(), &mut wakes).await?;
        self.end(tx, wakes).await?;
        self.bury(&rescued.executors);
        Ok(rescued)
    }

    async fn create(&self, runs: &[NewRun], atomic: bool) -> Result<Vec<CreateOutcome>, StoreError> {
        let mut tx = self.begin().await?;
        let mut wakes = Wakes::default();
        let items: Vec<&NewRun> = runs.iter().collect();
        let outcomes = create::create(&mut tx, &items, clock::now(), &mut wakes).await?;
        if atomic {
            create::refuse_conflict(&items, &outcomes)?;
        }
        self.end(tx, wakes).await?;
        Ok(outcomes)
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        let mut tx = self.begin().await?;
        let now = clock::now();
        lease::check(&mut tx, claim.executor, now).await?;
        let runs = claim::claim(&mut tx, claim, now).await?;
        let next_due = lease::next_due(&mut tx, now).await?;
        tx.commit().await?;
        Ok(Claimed { now: timestamp(now), runs, next_due })
    }

    async fn commit(&self, executor: ExecutorId, turns: &[Turn]) -> Result<Committed, StoreError> {
        commit::commit(self, executor, turns).await
    }

    async fn landed(&self, run: RunId, position: u32) -> Result<bool, StoreError> {
        // With the write lock in hand, no transaction is still writing.
        let mut tx = self.begin().await?;
        let landed = read::landed(&mut tx, run, position).await?;
        tx.rollback().await?;
        Ok(landed)
    }

    async fn deliver(
        &self,
        sends: &[NewMessage],
        emits: &[NewEvent],
        max_buffered: u64,
    ) -> Result<Vec<SendOutcome>, StoreError> {
        let mut tx = self.begin().await?;
        let now = clock::now();
        let mut post = inbox::Post::new(now);
        let mut outcomes = Vec::with_capacity(sends.len());
        for message in sends {
            outcomes.push(post.send(&mut tx, message.to, &message.fact).await?);
        }
        for event in emits {
            topic::emit(&mut tx, event, Some(max_buffered), &mut post).await?;
        }
        self.end(tx, post.into_wakes()).await?;
        Ok(outcomes)
    }

    async fn mail(&self, executor: ExecutorId, limit: usize) -> Result<Vec<Mail>, StoreError> {
        read::mail(&self.connections, executor, limit).await
    }

    async fn find(&self, refs: &[RunRef]) -> Result<Vec<Option<RunRecord>>, StoreError> {
        read::find(&self.connections, refs).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<RunRecord>, StoreError> {
        read::list(&self.connections, filter).await
    }

    async fn journal(&self, run: RunId, from: u32, limit: usize) -> Result<Vec<Entry>, StoreError> {
        read::journal(&self.connections, run, from, limit).await
    }

    async fn resume(&self, which: &Resume) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let mut wakes = Wakes::default();
        let runs = sweep::resume(&mut tx, which, clock::now(), &mut wakes).await?;
        self.end(tx, wakes).await?;
        Ok(runs)
    }

    async fn sweep(&self, limit: usize) -> Result<Swept, StoreError> {
        let mut tx = self.begin().await?;
        let swept = sweep::sweep(&mut tx, limit, clock::now()).await?;
        tx.commit().await?;
        Ok(swept)
    }

    fn watch(&self, sink: WakeSink) -> WatchGuard {
        self.watchers.add(sink, self.file.as_ref())
    }

    async fn shutdown(&self) {
        self.connections.close().await;
    }

    fn is_shut_down(&self) -> bool {
        self.connections.is_closed()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
