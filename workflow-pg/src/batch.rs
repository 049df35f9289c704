//! Batches as columns: an array per column and an item per row, so that a statement's text doesn't depend on how many.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use uuid::Uuid;
use workflow_core::journal::{Fact, OpKey, Phase};
use workflow_core::store::{NewMessage, Then, Turn};
use workflow_core::{Payload, StoreError, Timestamp};

use crate::row::{instant, int4, int8, micros, text};

/// A statement that is being bound.
pub(crate) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// Keys of operations, as columns.
#[derive(Default)]
pub(crate) struct KeyColumns<'a> {
    runs: Vec<Uuid>,
    kinds: Vec<&'a str>,
    names: Vec<&'a str>,
    nths: Vec<i32>,
}

impl<'a> KeyColumns<'a> {
    pub(crate) fn push(&mut self, run: Uuid, key: &'a OpKey) -> Result<(), StoreError> {
        self.runs.push(run);
        self.kinds.push(&key.kind);
        self.names.push(&key.name);
        self.nths.push(int4("the number of an operation", key.nth)?);
        Ok(())
    }

    /// Binds run ids, kinds, names, nths.
    pub(crate) fn bind<'q>(self, query: Statement<'q>) -> Statement<'q>
    where
        'a: 'q,
    {
        query.bind(self.runs).bind(self.kinds).bind(self.names).bind(self.nths)
    }
}

/// New entries, as columns.
#[derive(Default)]
pub(crate) struct EntryColumns<'a> {
    keys: KeyColumns<'a>,
    positions: Vec<i32>,
    phases: Vec<&'a str>,
    codecs: Vec<i16>,
    payloads: Vec<&'a [u8]>,
    marks: Vec<Option<i64>>,
}

impl<'a> EntryColumns<'a> {
    /// The entries of these turns.
    pub(crate) fn of(turns: impl Iterator<Item = &'a Turn>) -> Result<Self, StoreError> {
        let mut columns = Self::default();
        for turn in turns {
            for (position, fact) in (turn.position..).zip(&turn.entries) {
                columns.push(turn.run.0, position, fact)?;
            }
        }
        Ok(columns)
    }

    fn push(&mut self, run: Uuid, position: u32, fact: &'a Fact) -> Result<(), StoreError> {
        self.keys.push(run, &fact.key)?;
        self.positions.push(int4("position", position)?);
        self.phases.push(fact.phase.as_str());
        self.codecs.push(fact.payload.codec);
        self.payloads.push(&fact.payload.bytes);
        self.marks.push(fact.mark);
        Ok(())
    }

    /// Binds run ids, positions, kinds, names, nths, phases, codecs, payloads, marks.
    pub(crate) fn bind<'q>(self, query: Statement<'q>) -> Statement<'q>
    where
        'a: 'q,
    {
        let keys = self.keys;
        query
            .bind(keys.runs)
            .bind(self.positions)
            .bind(keys.kinds)
            .bind(keys.names)
            .bind(keys.nths)
            .bind(self.phases)
            .bind(self.codecs)
            .bind(self.payloads)
            .bind(self.marks)
    }
}

/// Binds one entry as [`EntryColumns::bind`] binds many: run id, position, kind, name, nth, phase, codec, payload, mark.
pub(crate) fn bind_entry<'q>(
    query: Statement<'q>,
    run: Uuid,
    position: u32,
    fact: &'q Fact,
) -> Result<Statement<'q>, StoreError> {
    Ok(query
        .bind(run)
        .bind(int4("position", position)?)
        .bind(&fact.key.kind[..])
        .bind(&fact.key.name[..])
        .bind(int4("the number of an operation", fact.key.nth)?)
        .bind(fact.phase.as_str())
        .bind(fact.payload.codec)
        .bind(&fact.payload.bytes[..])
        .bind(fact.mark))
}

/// Runs that end, as columns in the order of their ids: everybody locks runs in that order.
#[derive(Default)]
pub(crate) struct EndColumns<'a> {
    ids: Vec<Uuid>,
    statuses: Vec<&'static str>,
    codecs: Vec<i16>,
    outputs: Vec<&'a [u8]>,
}

impl<'a> EndColumns<'a> {
    /// The runs that these turns end.
    pub(crate) fn of(turns: impl Iterator<Item = &'a Turn>) -> Self {
        let mut ends: Vec<_> = turns
            .filter_map(|turn| match &turn.then {
                Then::Finish { status, output } => Some((turn.run.0, status, output)),
                _ => None,
            })
            .collect();
        ends.sort_unstable_by_key(|(run, ..)| *run);
        let mut columns = Self::default();
        for (run, status, output) in ends {
            columns.ids.push(run);
            columns.statuses.push(status.as_str());
            columns.codecs.push(output.codec);
            columns.outputs.push(&output.bytes);
        }
        columns
    }

    /// Binds ids, statuses, codecs, outputs.
    pub(crate) fn bind<'q>(self, query: Statement<'q>) -> Statement<'q>
    where
        'a: 'q,
    {
        query.bind(self.ids).bind(self.statuses).bind(self.codecs).bind(self.outputs)
    }
}

/// A message that a batch sends.
pub(crate) struct Outgoing<'a> {
    pub(crate) to: Uuid,
    pub(crate) key: Cow<'a, OpKey>,
    pub(crate) phase: Phase,
    pub(crate) payload: &'a Payload,
    pub(crate) mark: Option<i64>,
    /// The event it brings: its payload is copied from there by the database, however many it goes to.
    pub(crate) event: Option<Uuid>,
    /// The how-manieth of its batch to that run, from 1.
    pub(crate) number: i64,
}

impl<'a> Outgoing<'a> {
    pub(crate) fn message(message: &'a NewMessage) -> Self {
        let fact = &message.fact;
        Self {
            to: message.to.0,
            key: Cow::Borrowed(&fact.key),
            phase: fact.phase,
            payload: &fact.payload,
            mark: fact.mark,
            event: None,
            number: 0,
        }
    }

    pub(crate) fn fact(&self) -> Fact {
        Fact { key: self.key.clone().into_owned(), phase: self.phase, payload: self.payload.clone(), mark: self.mark }
    }
}

/// Numbers the messages to each run, and returns how many each gets.
pub(crate) fn number(messages: &mut [Outgoing<'_>]) -> BTreeMap<Uuid, i64> {
    let mut counts = BTreeMap::new();
    for message in messages {
        let count = counts.entry(message.to).or_insert(0);
        *count += 1;
        message.number = *count;
    }
    counts
}

/// Binds messages: run ids, numbers, kinds, names, nths, phases, codecs, payloads, marks, event ids.
pub(crate) fn bind_messages<'q>(
    query: Statement<'q>,
    messages: &'q [Outgoing<'_>],
) -> Result<Statement<'q>, StoreError> {
    let mut keys = KeyColumns::default();
    for message in messages {
        keys.push(message.to, &message.key)?;
    }
    let payload = |m: &'q Outgoing<'_>| if m.event.is_none() { Some(&m.payload.bytes[..]) } else { None };
    Ok(query
        .bind(keys.runs)
        .bind(messages.iter().map(|m| m.number).collect::<Vec<_>>())
        .bind(keys.kinds)
        .bind(keys.names)
        .bind(keys.nths)
        .bind(messages.iter().map(|m| m.phase.as_str()).collect::<Vec<_>>())
        .bind(messages.iter().map(|m| m.payload.codec).collect::<Vec<_>>())
        .bind(messages.iter().map(payload).collect::<Vec<_>>())
        .bind(messages.iter().map(|m| m.mark).collect::<Vec<_>>())
        .bind(messages.iter().map(|m| m.event).collect::<Vec<_>>()))
}

/// Everything that happens to one run in a batch.
#[derive(Default)]
struct RunChange<'a> {
    then: Option<&'a Then>,
    sent: i64,
}

/// The runs a batch changes or locks, each once and by id.
#[derive(Default)]
pub(crate) struct RunChanges<'a>(BTreeMap<Uuid, RunChange<'a>>);

impl<'a> RunChanges<'a> {
    /// What these turns and messages do. Runs that end subscriptions are locked too: whoever touches a subscription
    /// holds its run, so that nobody waits for a subscription.
    pub(crate) fn of(turns: impl Iterator<Item = &'a Turn>, sent: BTreeMap<Uuid, i64>) -> Self {
        let mut changes = Self::default();
        for (run, count) in sent {
            changes.0.entry(run).or_default().sent = count;
        }
        for turn in turns {
            if !matches!(turn.then, Then::Keep) {
                changes.0.entry(turn.run.0).or_default().then = Some(&turn.then);
            } else if !turn.unsubscribe.is_empty() {
                changes.0.entry(turn.run.0).or_default();
            }
        }
        changes
    }

    /// Binds the eleven columns of runs and how many of them aren't only locked or sent to.
    pub(crate) fn bind<'q>(self, query: Statement<'q>) -> Statement<'q>
    where
        'a: 'q,
    {
        let mut c = ChangeColumns::default();
        for (run, change) in self.0 {
            c.push(run, &change);
        }
        let owned = c.whats.iter().flatten().count();
        query
            .bind(c.ids)
            .bind(c.whats)
            .bind(c.statuses)
            .bind(c.codecs)
            .bind(c.outputs)
            .bind(c.seen)
            .bind(c.wake_at)
            .bind(c.wake_after)
            .bind(c.codes)
            .bind(c.reasons)
            .bind(c.sent)
            .bind(i64::try_from(owned).unwrap_or(i64::MAX))
    }
}

#[derive(Default)]
struct ChangeColumns<'a> {
    ids: Vec<Uuid>,
    whats: Vec<Option<&'static str>>,
    statuses: Vec<Option<&'static str>>,
    codecs: Vec<Option<i16>>,
    outputs: Vec<Option<&'a [u8]>>,
    seen: Vec<Option<i64>>,
    wake_at: Vec<Option<Timestamp>>,
    wake_after: Vec<Option<i64>>,
    codes: Vec<Option<String>>,
    reasons: Vec<Option<String>>,
    sent: Vec<i64>,
}

impl<'a> ChangeColumns<'a> {
    fn push(&mut self, run: Uuid, change: &RunChange<'a>) {
        let (mut what, mut end, mut sleep, mut park) = (None, None, None, None);
        match change.then {
            None | Some(Then::Keep) => {}
            Some(Then::Finish { status, output }) => (what, end) = (Some("finish"), Some((status.as_str(), output))),
            Some(Then::HangUp { seen, wake }) => (what, sleep) = (Some("hang_up"), Some((*seen, wake))),
            Some(Then::Park(reason)) => (what, park) = (Some("park"), Some(reason)),
        }
        self.ids.push(run);
        self.whats.push(what);
        self.statuses.push(end.map(|(status, _)| status));
        self.codecs.push(end.map(|(_, output)| output.codec));
        self.outputs.push(end.map(|(_, output)| &output.bytes[..]));
        self.seen.push(sleep.map(|(seen, _)| int8(seen)));
        self.wake_at.push(sleep.and_then(|(_, wake)| wake.at.map(instant)));
        self.wake_after.push(sleep.and_then(|(_, wake)| wake.after.map(micros)));
        self.codes.push(park.map(|reason| text(&reason.code)));
        self.reasons.push(park.map(|reason| text(&reason.message)));
        self.sent.push(change.sent);
    }
}
