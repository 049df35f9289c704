//! Wake-ups: at once to whoever watches this store, and coalesced to other processes from a connection of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Executor, PgPool};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use uuid::Uuid;
use workflow_core::store::{WakeSink, Wakeup, WatchGuard};

use crate::options::Capabilities;
use crate::presence::{self, Presence};
use crate::session::STAY;
use crate::sql;
use crate::wake::Wakes;

const CHANNEL: &str = "workflow";
/// At most 100 notifying transactions a second.
const NOTIFY_PAUSE: Duration = Duration::from_millis(10);
/// Others may take a process for dead that stays away for longer.
const FIRST_RECONNECT_PAUSE: Duration = Duration::from_millis(5);
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// Who watches, and what others have yet to be told.
#[derive(Default)]
pub(crate) struct Shared {
    sinks: Mutex<(u64, BTreeMap<u64, WakeSink>)>,
    outgoing: Mutex<Wakes>,
    pending: Notify,
}

/// The wake-ups of one store. Its tasks end with it.
pub(crate) struct Bell {
    shared: Arc<Shared>,
    capabilities: Capabilities,
    /// How others notice that this process is gone, if they can.
    presence: Option<Arc<Presence>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Bell {
    /// Starts the tasks that the capabilities ask for. They connect like `pool` does, apart from it.
    pub(crate) fn start(pool: &PgPool, capabilities: Capabilities, presence: Option<Arc<Presence>>) -> Self {
        let shared = Arc::<Shared>::default();
        let me = Uuid::new_v4();
        let side = || {
            let options = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(5));
            let options =
                options.after_connect(|conn, _| Box::pin(async move { conn.execute(STAY).await.map(|_| ()) }));
            options.connect_lazy_with((*pool.connect_options()).clone())
        };
        let mut tasks = Vec::new();
        if capabilities.notify {
            tasks.push(tokio::spawn(notify(Arc::clone(&shared), side(), me)));
        }
        if capabilities.listen {
            tasks.push(tokio::spawn(listen(Arc::clone(&shared), presence.clone(), side(), me)));
        }
        if let Some(presence) = &presence {
            tasks.push(tokio::spawn(presence::watch(Arc::clone(&shared), Arc::clone(presence), side())));
        }
        Self { shared, capabilities, presence, tasks }
    }

    /// Wakes whoever watches, here now and elsewhere soon.
    pub(crate) fn ring(&self, wakes: Wakes) {
        if wakes.is_empty() {
            return;
        }
        self.shared.wake(&wakes);
        if self.capabilities.notify {
            self.shared.tell(wakes);
        }
    }

    /// How others notice that this process is gone, if they can.
    pub(crate) fn presence(&self) -> Option<&Presence> {
        self.presence.as_deref()
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

    /// Other processes hear of it soon, if there is a task that tells them.
    fn tell(&self, wakes: Wakes) {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner).merge(wakes);
        self.pending.notify_one();
    }

    /// Holds the presence, and tells others that they can watch it.
    async fn enter(&self, presence: &Presence, session: &mut PgListener) -> Result<bool, sqlx::Error> {
        let entered = presence.hold(session).await?;
        if let Some(key) = entered {
            let mut wakes = Wakes::default();
            wakes.entered(key);
            self.tell(wakes);
        }
        Ok(entered.is_some())
    }

    fn lost(&self) {
        let mut wakes = Wakes::default();
        wakes.add(Wakeup::Lost);
        self.wake(&wakes);
    }

    /// An executor was found dead: here is the place to take its runs over, and elsewhere there may be room for them.
    pub(crate) fn found_dead(&self) {
        let sinks: Vec<WakeSink> =
            self.sinks.lock().unwrap_or_else(PoisonError::into_inner).1.values().cloned().collect();
        sinks.iter().for_each(|sink| sink(Wakeup::Died));
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
async fn listen(shared: Arc<Shared>, presence: Option<Arc<Presence>>, side: PgPool, me: Uuid) {
    let mut pause = FIRST_RECONNECT_PAUSE;
    loop {
        let heard = hear(&shared, presence.as_deref(), &side, me, &mut pause).await;
        if let Some(presence) = &presence {
            presence.lose();
        }
        if let Err(error) = heard {
            tracing::debug!(%error, "LISTEN was interrupted, connecting again");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_PAUSE);
    }
}

/// Until the connection is lost.
async fn hear(
    shared: &Shared,
    presence: Option<&Presence>,
    side: &PgPool,
    me: Uuid,
    pause: &mut Duration,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(side).await?;
    // A new session holds no lock.
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    let mut unheld = match presence {
        Some(presence) => !shared.enter(presence, &mut listener).await?,
        None => false,
    };
    *pause = FIRST_RECONNECT_PAUSE;
    // What was sent before this point wasn't heard.
    shared.lost();
    loop {
        let heard = match presence.filter(|_| unheld) {
            Some(presence) => match tokio::time::timeout(RECONNECT_PAUSE, listener.try_recv()).await {
                Ok(heard) => heard?,
                Err(_) => {
                    unheld = !shared.enter(presence, &mut listener).await?;
                    continue;
                }
            },
            None => listener.try_recv().await?,
        };
        let Some(notification) = heard else {
            shared.lost();
            return Ok(());
        };
        if let Some(wakes) = Wakes::decode(notification.payload(), me) {
            if let Some(presence) = presence {
                wakes.presences().for_each(|key| presence.heard_of(key));
            }
            shared.wake(&wakes);
        }
    }
}
