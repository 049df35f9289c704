//! Wake-ups: at once to whoever watches this store, and coalesced to other processes from a connection of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use uuid::Uuid;
use workflow_core::store::{WakeSink, Wakeup, WatchGuard};

use crate::options::Capabilities;
use crate::sql;
use crate::wake::Wakes;

const CHANNEL: &str = "workflow";
/// At most 100 notifying transactions a second.
const NOTIFY_PAUSE: Duration = Duration::from_millis(10);
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Who watches, and what others have yet to be told.
#[derive(Default)]
struct Shared {
    sinks: Mutex<(u64, BTreeMap<u64, WakeSink>)>,
    outgoing: Mutex<Wakes>,
    pending: Notify,
}

/// The wake-ups of one store. Its tasks end with it.
pub(crate) struct Bell {
    shared: Arc<Shared>,
    capabilities: Capabilities,
    tasks: Vec<JoinHandle<()>>,
}

impl Bell {
    /// Starts the tasks that the capabilities ask for. They connect like `pool` does, apart from it.
    pub(crate) fn start(pool: &PgPool, capabilities: Capabilities) -> Self {
        let shared = Arc::<Shared>::default();
        let me = Uuid::new_v4();
        let side = || {
            let options = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(5));
            options.connect_lazy_with((*pool.connect_options()).clone())
        };
        let mut tasks = Vec::new();
        if capabilities.notify {
            tasks.push(tokio::spawn(notify(Arc::clone(&shared), side(), me)));
        }
        if capabilities.listen {
            tasks.push(tokio::spawn(listen(Arc::clone(&shared), side(), me)));
        }
        Self { shared, capabilities, tasks }
    }

    /// Wakes whoever watches, here now and elsewhere soon.
    pub(crate) fn ring(&self, wakes: Wakes) {
        if wakes.is_empty() {
            return;
        }
        self.shared.wake(&wakes);
        if self.capabilities.notify {
            self.shared.outgoing.lock().unwrap_or_else(PoisonError::into_inner).merge(wakes);
            self.shared.pending.notify_one();
        }
    }

    /// Adds a sink until the guard is dropped.
    pub(crate) fn watch(&self, sink: WakeSink) -> WatchGuard {
        let mut sinks = self.shared.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.0 += 1;
        let id = sinks.0;
        sinks.1.insert(id, sink);
        drop(sinks);
        let shared = Arc::clone(&self.shared);
        WatchGuard::new(move || {
            shared.sinks.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&id);
        })
    }

    /// Ends the tasks.
    pub(crate) fn stop(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("capabilities", &self.capabilities).finish_non_exhaustive()
    }
}

impl Shared {
    fn wake(&self, wakes: &Wakes) {
        // Called without the lock: a sink may end its own watch.
        let sinks: Vec<WakeSink> =
            self.sinks.lock().unwrap_or_else(PoisonError::into_inner).1.values().cloned().collect();
        wakes.each(|wakeup| sinks.iter().for_each(|sink| sink(wakeup.clone())));
    }

    fn lost(&self) {
        let mut wakes = Wakes::default();
        wakes.add(Wakeup::Lost);
        self.wake(&wakes);
    }
}

#[expect(clippy::disallowed_methods, reason = "the pace of notifications is real time and decides nothing else")]
async fn notify(shared: Arc<Shared>, side: PgPool, me: Uuid) {
    loop {
        shared.pending.notified().await;
        let wakes = std::mem::take(&mut *shared.outgoing.lock().unwrap_or_else(PoisonError::into_inner));
        if !wakes.is_empty()
            && let Err(error) = sqlx::query(sql::NOTIFY).bind(wakes.encode(me)).execute(&side).await
        {
            // Nothing to mend: whoever missed it polls.
            tracing::debug!(%error, "other processes couldn't be notified");
        }
        tokio::time::sleep(NOTIFY_PAUSE).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the pace of notifications is real time and decides nothing else")]
async fn listen(shared: Arc<Shared>, side: PgPool, me: Uuid) {
    loop {
        if let Err(error) = hear(&shared, &side, me).await {
            tracing::debug!(%error, "LISTEN was interrupted, connecting again");
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

async fn hear(shared: &Shared, side: &PgPool, me: Uuid) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(side).await?;
    listener.listen(CHANNEL).await?;
    // What was sent before this point wasn't heard.
    shared.lost();
    loop {
        match listener.try_recv().await? {
            Some(notification) => {
                if let Some(wakes) = Wakes::decode(notification.payload(), me) {
                    shared.wake(&wakes);
                }
            }
            // The connection was lost and is there again.
            None => shared.lost(),
        }
    }
}
