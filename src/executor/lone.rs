//! What a driver writes itself, on the lane of its thread: the turns and the new runs of an executor that does nothing else.
//!
//! Nobody else's thread has to wake for it, which for a single run's serial steps takes as long as half a commit. Whatever
//! doesn't go through on the lane takes the way of all others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use workflow_core::env::Env as _;
use workflow_core::store::{CreateOutcome, Lane, NewRun, Turn, TurnOutcome};
use workflow_core::{ExecutorId, StoreError};

use super::awake::Awake;
use super::commit::{answer, commit, done, learn, size};
use super::gate::Hold;
use super::shared::{Msg, Outgoing, Shared};
use crate::seeded::{self, Bug};

/// The most payload bytes that a driver writes itself.
const MAX_BYTES: usize = 64 * 1024;

/// A call on a lane, and then the lane and what the driver is to be told. To be polled in the thread's own runtime.
type Call = Pin<Box<dyn Future<Output = (Box<dyn Lane>, Msg)>>>;

/// The lane of a driver's thread, and what is under way on it.
pub(crate) struct OwnLane {
    /// Unless it is in use, or there is none.
    lane: Option<Box<dyn Lane>>,
    /// A call on it.
    call: Option<UnderWay>,
    awake: Awake,
}

/// A call on a lane, while it lasts.
struct UnderWay {
    call: Call,
    /// Since when it writes, unless it connects.
    writes: Option<Instant>,
    /// Until when it is waited for awake.
    awake_until: Option<Instant>,
}

impl OwnLane {
    pub(crate) fn new(shared: &Shared) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { lane: shared.env.store.lane(), call: None, awake: Awake::new(shared.awake, processors) }
    }

    /// Whether something is being written.
    pub(crate) fn is_busy(&self) -> bool {
        self.call.as_ref().is_some_and(|under_way| under_way.writes.is_some())
    }

    /// Closes its connection, whatever is under way.
    pub(crate) fn close(&mut self) {
        (self.call, self.lane) = (None, None);
    }

    /// Resolves at the end of what is under way, with what the driver is to be told. May be dropped at any time.
    pub(crate) async fn next(&mut self, shared: &Shared) -> Msg {
        let clock = &shared.clock;
        let Some(UnderWay { call, writes, awake_until }) = &mut self.call else { return std::future::pending().await };
        let end = loop {
            if awake_until.is_none_or(|until| clock.local() >= until) {
                break call.await;
            }
            tokio::select! {
                biased;
                end = &mut *call => break end,
                () = tokio::task::yield_now() => std::thread::yield_now(),
            }
        };
        if let Some(since) = writes {
            self.awake.took(clock.local().saturating_duration_since(*since));
        }
        let (lane, msg) = end;
        let has_written = writes.is_some();
        self.call = None;
        // A connection that was lost is made anew before it is needed. One that can't be had is asked for by the next commit.
        if has_written && !lane.is_connected() {
            self.connect(lane)
        } else {
            self.lane = Some(lane)
        }
        msg
    }

    /// Has the last of `turns` written, if it is the only one and fits.
    pub(crate) fn write(&mut self, shared: &Arc<Shared>, turns: &mut Vec<Outgoing>) {
        if let [out] = &turns[..]
            && fits_a_lane(&out.turn)
            && let Some(lane) = self.free(shared)
            && let Some(out) = turns.pop()
        {
            self.begin(shared, write(shared.clone(), lane, out));
        }
    }

    /// Has a run created: here, if no run is active whose code could keep the thread from hearing the answer.
    pub(crate) fn create(&mut self, shared: &Shared, creation: Box<Creation>) {
        let lane = if shared.active() == 0 { self.free(shared) } else { None };
        match lane {
            Some(lane) => self.begin(shared, create(lane, creation)),
            None => creation.take_the_other_way(None),
        }
    }

    /// The lane, if nobody else writes just now and it has a connection. Else it makes one: whatever there is to write has
    /// taken the other way by then.
    fn free(&mut self, shared: &Shared) -> Option<Box<dyn Lane>> {
        if !shared.commits.is_idle() {
            return None;
        }
        let lane = self.lane.take()?;
        if lane.is_connected() {
            return Some(lane);
        }
        self.connect(lane);
        None
    }

    fn connect(&mut self, mut lane: Box<dyn Lane>) {
        let call = Box::pin(async move {
            lane.connect().await;
            (lane, Msg::Reassured)
        });
        self.call = Some(UnderWay { call, writes: None, awake_until: None });
    }

    fn begin(&mut self, shared: &Shared, call: Call) {
        let now = shared.clock.local();
        // Others that are active have use for the processor.
        let awake = if shared.is_alone() { self.awake.time() } else { None };
        self.call = Some(UnderWay { call, writes: Some(now), awake_until: awake.map(|time| now + time) });
    }
}

/// Who waits for what came of a new run.
pub(crate) type Reply = tokio::sync::oneshot::Sender<Result<CreateOutcome, StoreError>>;

/// A run to be created as owned by this executor, and begun by its driver.
pub(crate) struct Creation {
    pub(crate) run: NewRun,
    /// The life that is to own it, and the place that it takes in its queue.
    pub(crate) place: (ExecutorId, Hold),
    pub(crate) reply: Reply,
    /// The way of all others, for what the lane didn't create for certain: with the error that left it unknown.
    pub(crate) otherwise: Box<dyn FnOnce(NewRun, Reply, Option<StoreError>) + Send>,
}

impl Creation {
    /// Has it created with others.
    pub(crate) fn take_the_other_way(self, unknown: Option<StoreError>) {
        (self.otherwise)(self.run, self.reply, unknown);
    }

    /// Whether a driver may create it on its lane: it is no load for its thread.
    pub(crate) fn fits_a_lane(run: &NewRun) -> bool {
        run.input.bytes.len() <= MAX_BYTES && !seeded::is(Bug::AcknowledgedInvoke)
    }
}

/// Whether a driver may write it on its lane: where one small statement does it.
fn fits_a_lane(turn: &Turn) -> bool {
    turn.is_plain() && size(turn) <= MAX_BYTES && !seeded::is(Bug::AcknowledgeFirst)
}

/// Writes a turn. What goes wrong is seen to in the application's runtime.
fn write(shared: Arc<Shared>, mut lane: Box<dyn Lane>, out: Outgoing) -> Call {
    Box::pin(async move {
        let asked = shared.asked(out.executor);
        let error = match lane.commit(out.executor, &out.turn).await {
            Ok(Some(committed)) => {
                let outcome = committed.turns.first().copied().unwrap_or(TurnOutcome::NotOwned);
                let answer = answer(outcome, committed.now, false);
                done(&shared, &out.turn, outcome);
                learn(&shared, asked, committed);
                return (lane, Msg::Committed(vec![(out.tag, answer)]));
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let env = shared.env.clone();
        env.spawn(Box::pin(async move { commit(&shared, vec![out], error).await }));
        (lane, Msg::Committed(Vec::new()))
    })
}

/// Creates a run.
fn create(mut lane: Box<dyn Lane>, creation: Box<Creation>) -> Call {
    Box::pin(async move {
        let created = match lane.create(&creation.run).await {
            Ok(Some(since)) => Ok(since),
            Ok(None) => Err(None),
            Err(error) => {
                tracing::debug!(run = %creation.run.id, %error, "a new run is created once more, with others");
                Err(Some(error).filter(|error| matches!(error, StoreError::Unknown(_))))
            }
        };
        (lane, Msg::Created(creation, created))
    })
}
