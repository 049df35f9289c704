//! Wake-ups: at once within the process, by looking at the file for writes of others.
//!
//! While somebody watches, a task looks every 25 ms at the size and the time of the `-wal` file, which costs a system
//! call and no statement. When they changed, or 3 s after the last look, it asks the writer connection for its
//! `data_version`, which changes only by writes of *other* connections, and answers such a change with
//! [`Wakeup::Lost`]. Every fourth time it looks whether the processes of the other executors are still there.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use sqlx::Row;
use tokio::runtime::Handle;
use workflow_core::store::{WakeSink, Wakeup, WatchGuard};
use workflow_core::{ExecutorId, RunId};

use crate::connection::Connections;
use crate::presence::Presence;
use crate::{clock, lease, sql};

/// How often the file's size and time are looked at.
const LOOK: Duration = Duration::from_millis(25);
/// How often `data_version` is asked for when the file seems unchanged.
const ASK: Duration = Duration::from_secs(3);
/// For how many looks after a change `data_version` is asked for: a commit is in the file before it is synced, and is seen
/// only after that, which takes as long as the disk does; and two changes may fall into one tick of the file's time.
const ASK_AGAIN: u32 = 40;
/// Every how many looks the other executors are looked after: a system call or two for each.
const LOOK_AFTER: u32 = 4;

/// What a transaction has to tell when it is committed.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    pub(crate) ready: BTreeSet<String>,
    pub(crate) mail: BTreeSet<ExecutorId>,
    pub(crate) ended: Vec<RunId>,
}

impl Wakes {
    fn into_wakeups(self) -> impl Iterator<Item = Wakeup> {
        let ready = self.ready.into_iter().map(Wakeup::Ready);
        let mail = self.mail.into_iter().map(Wakeup::Mail);
        ready.chain(mail).chain(self.ended.into_iter().map(Wakeup::Ended))
    }
}

/// Those who watch.
#[derive(Default)]
pub(crate) struct Watchers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sinks: HashMap<u64, WakeSink>,
    next: u64,
    looking: bool,
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watchers({})", self.lock().sinks.len())
    }
}

impl Watchers {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everyone what a committed transaction did.
    pub(crate) fn tell(&self, wakes: Wakes) {
        let sinks = self.sinks();
        if !sinks.is_empty() {
            for wakeup in wakes.into_wakeups() {
                sinks.iter().for_each(|sink| sink(wakeup.clone()));
            }
        }
    }

    /// Tells everyone to look at everything.
    pub(crate) fn lost(&self) {
        self.tell_all(&Wakeup::Lost);
    }

    fn tell_all(&self, wakeup: &Wakeup) {
        self.sinks().iter().for_each(|sink| sink(wakeup.clone()));
    }

    /// Copied, so that no lock is held while foreign code runs.
    fn sinks(&self) -> Vec<WakeSink> {
        self.lock().sinks.values().cloned().collect()
    }

    /// Adds a watcher, and starts looking at the file if nobody looks yet and others can write it.
    pub(crate) fn add(self: &Arc<Self>, sink: WakeSink, file: Option<&File>) -> WatchGuard {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.sinks.insert(number, sink);
        if let Some(file) = file
            && !std::mem::replace(&mut state.looking, true)
        {
            let presence = Arc::clone(&file.presence);
            let look = look(Arc::downgrade(self), Arc::downgrade(&file.connections), file.wal.clone(), presence);
            file.runtime.spawn(look);
        }
        let watchers = Arc::downgrade(self);
        WatchGuard::new(move || {
            if let Some(watchers) = watchers.upgrade() {
                watchers.lock().sinks.remove(&number);
            }
        })
    }

    /// Whether to go on looking.
    fn go_on(&self) -> bool {
        let mut state = self.lock();
        state.looking = !state.sinks.is_empty();
        state.looking
    }
}

/// A file that other processes may write.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) connections: Arc<Connections>,
    pub(crate) wal: PathBuf,
    pub(crate) presence: Arc<Presence>,
    pub(crate) runtime: Handle,
}

/// Looks at the file until nobody watches or the store is gone.
#[expect(clippy::disallowed_methods, reason = "the rhythm of looking at the file, no instant of the store")]
async fn look(watchers: Weak<Watchers>, connections: Weak<Connections>, wal: PathBuf, presence: Arc<Presence>) {
    let mut looks = 0_u32;
    let mut version = None;
    let mut seen = None;
    let mut asked = Instant::now();
    let mut again = 0_u32;
    loop {
        let Some(connections) = connections.upgrade() else { return };
        let stamp = stamp(&wal);
        again = if stamp == seen { again.saturating_sub(1) } else { ASK_AGAIN };
        if version.is_none() || again > 0 || asked.elapsed() >= ASK {
            // Noted before asking: a write in between is asked about again.
            seen = stamp;
            asked = Instant::now();
            let now = data_version(&connections).await;
            let changed = now.is_some() && version.is_some() && now != version;
            version = now.or(version);
            match watchers.upgrade() {
                Some(watchers) if changed => watchers.lost(),
                _ => {}
            }
        }
        if looks.is_multiple_of(LOOK_AFTER) && end_dead(&connections, &presence).await {
            watchers.upgrade().iter().for_each(|watchers| watchers.tell_all(&Wakeup::Died));
        }
        looks = looks.wrapping_add(1);
        drop(connections);
        tokio::time::sleep(LOOK).await;
        if !watchers.upgrade().is_some_and(|watchers| watchers.go_on()) {
            return;
        }
    }
}

/// Ends the leases of executors whose process has ended; whether there were any.
async fn end_dead(connections: &Arc<Connections>, presence: &Presence) -> bool {
    let gone = presence.gone();
    if gone.is_empty() {
        return false;
    }
    let ended = async {
        let mut tx = connections.begin().await?;
        lease::end(&mut tx, &gone, clock::now()).await?;
        tx.commit().await
    };
    match ended.await {
        Ok(()) => tracing::info!(executors = ?gone, "the process of executors is gone: their lease ends"),
        // The next heartbeat has them looked after again.
        Err(error) => tracing::debug!(%error, "the leases of dead executors couldn't be ended"),
    }
    true
}

fn stamp(wal: &PathBuf) -> Option<(u64, Option<SystemTime>)> {
    let metadata = std::fs::metadata(wal).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

async fn data_version(connections: &Connections) -> Option<i64> {
    let mut slot = Arc::clone(&connections.writer).lock_owned().await;
    let connection = slot.connection().await.ok()?;
    match sqlx::query(sql::DATA_VERSION).fetch_one(connection).await {
        Ok(row) => row.try_get(0).ok(),
        Err(_) => {
            slot.suspect();
            None
        }
    }
}
