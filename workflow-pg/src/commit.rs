//! Committing turns: one statement where it can be, else one transaction.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;
use workflow_core::journal::{ENTRY_VERSION, Fact};
use workflow_core::store::{Committed, Mail, Message, Status, Then, Turn, TurnOutcome};
use workflow_core::{ExecutorId, RunId, StoreError, Timestamp};

use crate::batch::{EndColumns, EntryColumns, KeyColumns, Outgoing, RunChanges, bind_entry, bind_messages, number};
use crate::error::{commit, work};
use crate::row::{instant, int8};
use crate::session::{end, retry};
use crate::store::PgStore;
use crate::topic::{self, Found};
use crate::wake::Wakes;
use crate::{create, deliver, seeded, sql};

/// Payloads of events above this size aren't handed back with the commit: the owner reads its mail instead.
const MAX_SHORT_CUT_BYTES: usize = 64 * 1024;

/// When a batch was written.
#[derive(Debug, Clone, Copy)]
struct Time {
    now: Timestamp,
    /// `None` when the lease may have run out since the fence was taken.
    lease_left: Option<Duration>,
}

impl Time {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let now: Timestamp = row.try_get("now")?;
        let lease_until: Timestamp = row.try_get("lease_until")?;
        Ok(Self { now, lease_left: (lease_until - now).to_std().ok() })
    }

    fn committed(self, turns: Vec<TurnOutcome>, mail: Vec<Mail>) -> Committed {
        Committed { now: self.now, turns, mail, lease_left: self.lease_left }
    }
}

/// What one try came to.
enum Try {
    Done {
        time: Time,
        mail: Vec<Mail>,
        wakes: Wakes,
    },
    /// Nothing was written: some turns are too early at `now`, or their runs aren't among those `owned`.
    Refused {
        now: Timestamp,
        owned: HashSet<Uuid>,
    },
}

impl PgStore {
    pub(crate) async fn commit_turns(&self, executor: ExecutorId, turns: &[Turn]) -> Result<Committed, StoreError> {
        let mut outcomes = vec![TurnOutcome::Done; turns.len()];
        loop {
            let live: Vec<&Turn> =
                turns.iter().zip(&outcomes).filter(|(_, o)| **o == TurnOutcome::Done).map(|(turn, _)| turn).collect();
            match retry(|| self.try_commit(executor, &live)).await? {
                Try::Done { time, mail, wakes } => {
                    self.ring(wakes);
                    return Ok(time.committed(outcomes, mail));
                }
                Try::Refused { now, owned } => {
                    if !refuse(turns, &mut outcomes, now, &owned) {
                        return Err(StoreError::Contention("runs changed their owner during the commit".to_owned()));
                    }
                }
            }
        }
    }

    async fn try_commit(&self, executor: ExecutorId, turns: &[&Turn]) -> Result<Try, StoreError> {
        if turns.iter().all(|turn| turn.is_plain()) {
            let mut conn = self.warm().await?;
            let tried = self.write_at_once(&mut conn, executor, turns).await?;
            conn.keep();
            Ok(tried)
        } else {
            self.commit_in_steps(executor, turns).await
        }
    }

    /// Commits a turn that is one statement, on this connection. `None`, and nothing written, for a reason that
    /// [`Self::commit_turns`] finds out.
    pub(crate) async fn commit_lone(
        &self,
        conn: &mut PgConnection,
        executor: ExecutorId,
        turn: &Turn,
    ) -> Result<Option<Committed>, StoreError> {
        if !turn.is_plain() {
            return Ok(None);
        }
        match self.write_at_once(conn, executor, &[turn]).await? {
            Try::Done { time, mail, wakes } => {
                self.ring(wakes);
                Ok(Some(time.committed(vec![TurnOutcome::Done], mail)))
            }
            Try::Refused { .. } => Ok(None),
        }
    }

    /// Turns that are one statement.
    async fn write_at_once(
        &self,
        conn: &mut PgConnection,
        executor: ExecutorId,
        turns: &[&Turn],
    ) -> Result<Try, StoreError> {
        let slot = self.slots().take();
        if turns.iter().all(|turn| only_adds(turn)) {
            return add_entries(conn, executor, slot.number, turns).await;
        }
        if let [turn] = turns
            && let Some(time) = end_run(conn, executor, slot.number, turn).await?
        {
            return Ok(ended(time, turns));
        }
        // Runs are locked in the order of their ids, which is the plan's order where sessions plan as they are told.
        if self.has_prepared_sessions()
            && turns.iter().all(|turn| only_adds(turn) || only_ends(turn))
            && let Some(tried) = end_runs(conn, executor, slot.number, turns).await?
        {
            return Ok(tried);
        }
        let mut messages: Vec<_> = turns.iter().flat_map(|turn| &turn.sends).map(Outgoing::message).collect();
        Batch { executor, slot: slot.number, turns, messages: &mut messages, fenced: None }.write(conn, commit).await
    }

    /// Locks in the order of the contract: the writer, the topics, the runs, the rest.
    async fn commit_in_steps(&self, executor: ExecutorId, turns: &[&Turn]) -> Result<Try, StoreError> {
        let slot = self.slots().take();
        let mut tx = self.begin().await?;
        let changing = turns.iter().filter(|turn| !matches!(turn.then, Then::Keep)).map(|turn| turn.run.0);
        let (now, owned) = check(&mut tx, executor, slot.number, changing.collect()).await?;
        let refused = turns.iter().any(|turn| refusal(turn, now, &owned).is_some());
        if refused {
            return Ok(Try::Refused { now, owned });
        }
        let emits = topic::once(turns.iter().flat_map(|turn| &turn.emits));
        let found = wait_for_events(&mut tx, turns, &emits).await?;
        let mut messages: Vec<_> = found.iter().map(Found::message).collect();
        messages.extend(turns.iter().flat_map(|turn| &turn.sends).map(Outgoing::message));
        let mut told = Wakes::default();
        if !emits.is_empty() {
            messages.extend(topic::emit(&mut tx, &emits).await?);
            if messages.len() > deliver::MOST_AT_ONCE {
                // What goes to runs of the batch belongs into the statement that changes them.
                let batch: HashSet<Uuid> = turns.iter().map(|turn| turn.run.0).collect();
                let (inside, outside) = messages.into_iter().partition(|message| batch.contains(&message.to));
                messages = inside;
                told = deliver::send_messages(&mut tx, outside, work).await?.1;
            }
        }
        let starts: Vec<_> = turns.iter().flat_map(|turn| &turn.starts).collect();
        let mut started = Wakes::default();
        if !starts.is_empty() {
            create::start_children(&mut tx, (slot.number, now), &starts, &mut started).await?;
        }
        let batch = Batch { executor, slot: slot.number, turns, messages: &mut messages, fenced: Some(now) };
        match batch.write(&mut tx, work).await? {
            Try::Done { time, mail, mut wakes } => {
                end(tx).await?;
                wakes.merge(started);
                wakes.merge(told);
                Ok(Try::Done { time, mail, wakes })
            }
            Try::Refused { .. } => Err(StoreError::Contention("a run changed its owner during the commit".to_owned())),
        }
    }
}

async fn add_entries(
    conn: &mut PgConnection,
    executor: ExecutorId,
    slot: i16,
    turns: &[&Turn],
) -> Result<Try, StoreError> {
    if let [turn] = turns
        && let [fact] = &turn.entries[..]
        && let Some(time) = add_entry(conn, executor, slot, turn, fact).await?
    {
        return Ok(Try::Done { time, mail: Vec::new(), wakes: Wakes::default() });
    }
    let query = sqlx::query(seeded::sql(sql::COMMIT_ENTRIES)).bind(executor.0).bind(slot).bind(not_before(turns));
    let query = EntryColumns::of(turns.iter().copied())?.bind(query);
    let rows = query.bind(ENTRY_VERSION).fetch_all(conn).await.map_err(commit)?;
    let row = rows.first().ok_or(StoreError::LeaseLost(executor))?;
    let time = Time::read(row).map_err(commit)?;
    if row.try_get("on_time").map_err(commit)? {
        Ok(Try::Done { time, mail: Vec::new(), wakes: Wakes::default() })
    } else {
        Ok(Try::Refused { now: time.now, owned: owned_by_claim(turns) })
    }
}

/// `None`, and nothing written, for a reason that [`add_entries`] finds out.
async fn add_entry(
    conn: &mut PgConnection,
    executor: ExecutorId,
    slot: i16,
    turn: &Turn,
    fact: &Fact,
) -> Result<Option<Time>, StoreError> {
    let query = sqlx::query(seeded::sql(sql::COMMIT_ENTRY)).bind(executor.0).bind(slot).bind(not_before(&[turn]));
    let query = bind_entry(query, turn.run.0, turn.position, fact)?.bind(ENTRY_VERSION);
    let rows = query.fetch_all(conn).await.map_err(commit)?;
    rows.first().map(Time::read).transpose().map_err(commit)
}

/// `None`, and nothing written, for a turn that is more than an end, and for a reason that [`end_runs`] finds out.
async fn end_run(
    conn: &mut PgConnection,
    executor: ExecutorId,
    slot: i16,
    turn: &Turn,
) -> Result<Option<Time>, StoreError> {
    let Then::Finish { status, output } = &turn.then else { return Ok(None) };
    if !turn.entries.is_empty() || !only_ends(turn) {
        return Ok(None);
    }
    let query = sqlx::query(seeded::sql(sql::END_RUN)).bind(executor.0).bind(slot).bind(turn.run.0);
    let query = query.bind(not_before(&[turn])).bind(status.as_str()).bind(output.codec).bind(&output.bytes[..]);
    let rows = query.fetch_all(conn).await.map_err(commit)?;
    rows.first().map(Time::read).transpose().map_err(commit)
}

/// `None`, and nothing written, when some of the runs to end are others': [`Batch::write`] finds out which.
async fn end_runs(
    conn: &mut PgConnection,
    executor: ExecutorId,
    slot: i16,
    turns: &[&Turn],
) -> Result<Option<Try>, StoreError> {
    let query = sqlx::query(seeded::sql(sql::END_RUNS)).bind(executor.0).bind(slot).bind(not_before(turns));
    let query = EndColumns::of(turns.iter().copied()).bind(query);
    let query = EntryColumns::of(turns.iter().copied())?.bind(query);
    let rows = match query.bind(ENTRY_VERSION).fetch_all(conn).await {
        Ok(rows) => rows,
        Err(error) if is_refusal(&error) => return Ok(None),
        Err(error) => return Err(commit(error)),
    };
    let row = rows.first().ok_or(StoreError::LeaseLost(executor))?;
    let time = Time::read(row).map_err(commit)?;
    if !row.try_get("on_time").map_err(commit)? {
        return Ok(Some(Try::Refused { now: time.now, owned: owned_by_claim(turns) }));
    }
    Ok(Some(ended(time, turns)))
}

/// These turns were written; whoever waits for the ends of runs is to be woken.
fn ended(time: Time, turns: &[&Turn]) -> Try {
    let mut wakes = Wakes::default();
    turns.iter().filter(|turn| only_ends(turn)).for_each(|turn| wakes.ended(turn.run.0));
    Try::Done { time, mail: Vec::new(), wakes }
}

/// Whether `end_runs.sql` failed on purpose: nothing else of it is read as a boolean.
fn is_refusal(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "22P02")
}

async fn check(
    conn: &mut PgConnection,
    executor: ExecutorId,
    slot: i16,
    runs: Vec<Uuid>,
) -> Result<(Timestamp, HashSet<Uuid>), StoreError> {
    let query = sqlx::query(sql::CHECK_TURNS).bind(executor.0).bind(slot).bind(runs);
    let rows = query.fetch_all(conn).await.map_err(work)?;
    let now = rows.first().ok_or(StoreError::LeaseLost(executor))?.try_get(0).map_err(work)?;
    let mut owned = HashSet::new();
    for row in &rows {
        owned.extend(row.try_get::<Option<Uuid>, _>(1).map_err(work)?);
    }
    Ok((now, owned))
}

/// Locks all topics of the batch and begins the waits.
async fn wait_for_events<'a>(
    conn: &mut PgConnection,
    turns: &[&'a Turn],
    emits: &[&'a workflow_core::store::NewEvent],
) -> Result<Vec<Found<'a>>, StoreError> {
    let mut ops = HashSet::new();
    let waits = turns.iter().flat_map(|turn| turn.subscribe.iter().map(|s| (turn.run.0, s)));
    let waits: Vec<_> = waits.filter(|(run, s)| ops.insert((*run, &s.op))).collect();
    let mut topics: BTreeSet<_> = topic::topics_of(emits.iter().copied());
    topics.extend(waits.iter().map(|(_, s)| (&s.name[..], &s.key[..])));
    topic::lock_topics(conn, topics).await?;
    if waits.is_empty() { Ok(Vec::new()) } else { topic::subscribe(conn, &waits).await }
}

/// The statement that writes a batch.
struct Batch<'b, 'a> {
    executor: ExecutorId,
    slot: i16,
    turns: &'b [&'a Turn],
    messages: &'b mut Vec<Outgoing<'a>>,
    /// The time of the batch, when its fence is held and `not_before` is checked already.
    fenced: Option<Timestamp>,
}

impl Batch<'_, '_> {
    async fn write(self, conn: &mut PgConnection, map: fn(sqlx::Error) -> StoreError) -> Result<Try, StoreError> {
        let turns = self.turns;
        let sent = number(self.messages);
        let mut unsubscribed = KeyColumns::default();
        for turn in turns {
            for key in &turn.unsubscribe {
                unsubscribed.push(turn.run.0, key)?;
            }
        }
        // A subscription ends with the message that brings its event.
        for message in self.messages.iter().filter(|m| m.event.is_some()) {
            unsubscribed.push(message.to, &message.key)?;
        }
        let consumed = || turns.iter().filter(|turn| turn.consumed > 0);
        let ended = turns.iter().filter(|turn| matches!(turn.then, Then::Finish { .. })).map(|turn| turn.run.0);
        let query = sqlx::query(seeded::sql(sql::COMMIT_TURNS)).bind(self.executor.0).bind(self.slot);
        let query = query.bind(if self.fenced.is_none() { not_before(turns) } else { None });
        let query = RunChanges::of(turns.iter().copied(), sent.clone()).bind(query);
        let query = EntryColumns::of(turns.iter().copied())?.bind(query);
        let query = bind_messages(query, self.messages)?
            .bind(consumed().map(|turn| turn.run.0).collect::<Vec<_>>())
            .bind(consumed().map(|turn| int8(turn.consumed)).collect::<Vec<_>>())
            .bind(ended.collect::<Vec<_>>());
        let rows = unsubscribed.bind(query).bind(ENTRY_VERSION).bind(self.fenced).fetch_all(conn).await.map_err(map)?;
        let first = rows.first().ok_or(StoreError::LeaseLost(self.executor))?;
        let mut time = Time::read(first).map_err(map)?;
        let done: bool = first.try_get("done").map_err(map)?;
        let mut changed = HashMap::new();
        for row in &rows {
            if let Some(id) = row.try_get::<Option<Uuid>, _>("id").map_err(map)? {
                changed.insert(id, Changed::read(row).map_err(map)?);
            }
        }
        if !done {
            return Ok(Try::Refused { now: time.now, owned: changed.into_keys().collect() });
        }
        let mut wakes = Wakes::default();
        changed.iter().for_each(|(id, run)| run.wake(*id, &mut wakes));
        let mail = self.short_cut(&changed, &sent, &mut wakes);
        if self.fenced.is_some() {
            // The time is the fence's, and how long ago that is isn't known.
            time.lease_left = None;
        }
        Ok(Try::Done { time, mail, wakes })
    }

    /// The messages to runs of the same executor; the owners of the others are woken.
    fn short_cut(
        &self,
        changed: &HashMap<Uuid, Changed>,
        sent: &std::collections::BTreeMap<Uuid, i64>,
        wakes: &mut Wakes,
    ) -> Vec<Mail> {
        let mut mail = Vec::new();
        for message in self.messages.iter() {
            let Some((run, count)) = changed.get(&message.to).zip(sent.get(&message.to)) else { continue };
            match run.owner {
                Some(owner)
                    if owner == self.executor.0
                        && (message.event.is_none() || message.payload.bytes.len() <= MAX_SHORT_CUT_BYTES) =>
                {
                    let seq = u64::try_from(run.mail - count + message.number).unwrap_or(0);
                    mail.push(Mail { run: RunId(message.to), message: Message { seq, fact: message.fact() } });
                }
                Some(owner) => wakes.mail(owner),
                None => {}
            }
        }
        mail
    }
}

/// A run as a batch left it.
pub(crate) struct Changed {
    pub(crate) status: Option<Status>,
    pub(crate) mail: i64,
    pub(crate) owner: Option<Uuid>,
    pub(crate) queue: String,
}

impl Changed {
    pub(crate) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let status: String = row.try_get("status")?;
        Ok(Self {
            status: Status::parse(&status),
            mail: row.try_get("mail")?,
            owner: row.try_get("owner")?,
            queue: row.try_get("queue")?,
        })
    }

    /// Whom it concerns that the run is ready or waits, or is over or parked.
    pub(crate) fn wake(&self, id: Uuid, wakes: &mut Wakes) {
        match self.status {
            Some(Status::Ready | Status::Waiting) => wakes.ready(&self.queue),
            Some(Status::Completed | Status::Failed | Status::Cancelled | Status::Parked) => wakes.ended(id),
            Some(Status::Running) | None => {}
        }
    }
}

fn only_adds(turn: &Turn) -> bool {
    turn.is_plain()
        && matches!(turn.then, Then::Keep)
        && turn.consumed == 0
        && turn.sends.is_empty()
        && turn.unsubscribe.is_empty()
}

/// Whether it ends its run without a word to anybody: with the run goes whatever it had in its inbox or waited for.
fn only_ends(turn: &Turn) -> bool {
    turn.is_plain() && matches!(turn.then, Then::Finish { .. }) && turn.sends.is_empty()
}

fn not_before(turns: &[&Turn]) -> Option<Timestamp> {
    turns.iter().filter_map(|turn| turn.not_before).max().map(instant)
}

fn owned_by_claim(turns: &[&Turn]) -> HashSet<Uuid> {
    turns.iter().map(|turn| turn.run.0).collect()
}

fn refusal(turn: &Turn, now: Timestamp, owned: &HashSet<Uuid>) -> Option<TurnOutcome> {
    if !matches!(turn.then, Then::Keep) && !owned.contains(&turn.run.0) {
        Some(TurnOutcome::NotOwned)
    } else if turn.not_before.is_some_and(|at| now < instant(at)) {
        Some(TurnOutcome::TooEarly)
    } else {
        None
    }
}

/// Notes which turns don't go through; false when there are none.
fn refuse(turns: &[Turn], outcomes: &mut [TurnOutcome], now: Timestamp, owned: &HashSet<Uuid>) -> bool {
    let mut any = false;
    for (turn, outcome) in turns.iter().zip(outcomes).filter(|(_, o)| **o == TurnOutcome::Done) {
        if let Some(refusal) = refusal(turn, now, owned) {
            *outcome = refusal;
            any = true;
        }
    }
    any
}
