//! Group commit: the turns of all runs in memory, written as batches.
//!
//! A batch is one transaction of the store. While some are under way the next one fills; an alone turn goes at once.
//! A commit of unknown outcome is resolved by reading, never by repeating.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use workflow_core::store::{Committed, Then, Turn, TurnOutcome};
use workflow_core::{ExecutorId, StoreError, Timestamp};

use super::life::Life;
use super::resolve::{Over, Writer};
use super::shared::{CommitAnswer, Msg, Outgoing, Shared, Tag};
use super::term::Asked;
use crate::seeded::{self, Bug};

/// The most turns and the most payload bytes of one batch.
const MAX_TURNS: usize = 2_000;
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The drivers' way to the store.
pub(crate) struct Committer {
    turns: UnboundedSender<Vec<Outgoing>>,
    life: Arc<Life>,
    /// For so many batches at once.
    places: Arc<Semaphore>,
    writers: usize,
}

impl Committer {
    /// With the other end, for [`run`].
    pub(crate) fn new(life: Arc<Life>, writers: usize) -> (Self, UnboundedReceiver<Vec<Outgoing>>) {
        let (turns, receiver) = tokio::sync::mpsc::unbounded_channel();
        (Self { turns, life, places: Arc::new(Semaphore::new(writers)), writers }, receiver)
    }

    /// Has turns written with those of the other drivers, who are told as messages.
    pub(crate) fn send(&self, turns: Vec<Outgoing>) {
        let _ = self.turns.send(turns);
    }

    /// The current life ends as if its process had died.
    pub(crate) fn crash(&self) {
        self.life.crash();
    }

    /// Whether no batch is under way, which would soon be followed by one that has room for more.
    pub(crate) fn is_idle(&self) -> bool {
        self.places.available_permits() == self.writers
    }
}

/// Takes turns as they come, until every driver is gone.
pub(crate) async fn run(shared: Arc<Shared>, mut turns: UnboundedReceiver<Vec<Outgoing>>) {
    let mut waiting: std::collections::VecDeque<Outgoing> = std::collections::VecDeque::new();
    loop {
        if waiting.is_empty() {
            match turns.recv().await {
                Some(more) => waiting.extend(more),
                None => return,
            }
        }
        let Ok(place) = shared.commits.places.clone().acquire_owned().await else { return };
        while let Ok(more) = turns.try_recv() {
            waiting.extend(more);
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(next) = waiting.front() {
            bytes += size(&next.turn);
            if !batch.is_empty() && (batch.len() >= MAX_TURNS || bytes > MAX_BYTES) {
                break;
            }
            batch.extend(waiting.pop_front());
        }
        let shared = shared.clone();
        tokio::spawn(async move {
            commit(&shared, batch, None).await;
            drop(place);
        });
    }
}

/// About how many bytes it is.
pub(crate) fn size(turn: &Turn) -> usize {
    let entries: usize = turn.entries.iter().map(|fact| fact.payload.bytes.len() + 100).sum();
    let starts: usize = turn.starts.iter().map(|run| run.input.bytes.len() + 300).sum();
    let output = match &turn.then {
        Then::Finish { output, .. } => output.bytes.len(),
        _ => 0,
    };
    entries + starts + output + turn.emits.iter().map(|e| e.payload.bytes.len()).sum::<usize>() + 100
}

/// Writes a batch, and tells the drivers. `failed` is what a first try came to.
pub(crate) async fn commit(shared: &Shared, mut batch: Vec<Outgoing>, failed: Option<StoreError>) {
    let life = &*shared.commits.life;
    let executor = life.executor();
    batch.retain(|out| out.executor == executor);
    if batch.is_empty() {
        return;
    }
    let places: Vec<(usize, Tag)> = batch.iter().map(|out| (out.driver, out.tag)).collect();
    let turns: Vec<Turn> = batch.into_iter().map(|out| out.turn).collect();
    if seeded::is(Bug::AcknowledgeFirst) {
        for &(driver, tag) in &places {
            shared.tell(driver, Msg::Committed(vec![(tag, CommitAnswer::Done(shared.clock.now()))]));
        }
        write(shared, life, executor, turns, failed).await;
        return;
    }
    let answers = write(shared, life, executor, turns, failed).await;
    let mut by_driver: BTreeMap<usize, Vec<(Tag, CommitAnswer)>> = BTreeMap::new();
    for ((driver, tag), answer) in places.into_iter().zip(answers) {
        if let Some(answer) = answer {
            by_driver.entry(driver).or_default().push((tag, answer));
        }
    }
    for (driver, answers) in by_driver {
        shared.tell(driver, Msg::Committed(answers));
    }
}

/// Writes a batch, however often it takes. `None` for turns of a life that is over.
async fn write(
    shared: &Shared,
    life: &Life,
    executor: ExecutorId,
    turns: Vec<Turn>,
    mut failed: Option<StoreError>,
) -> Vec<Option<CommitAnswer>> {
    let writer = Writer { shared, life, executor };
    let mut answers: Vec<Option<CommitAnswer>> = vec![None; turns.len()];
    // The turns still to be written, with their place in the batch.
    let mut open: Vec<usize> = (0..turns.len()).collect();
    // Whether an earlier try may have written them.
    let mut repeated = false;
    let mut alone = false;
    let mut delay = Duration::from_millis(5);
    while !open.is_empty() && life.executor() == executor {
        let take = if alone { 1 } else { open.len() };
        let now: Vec<usize> = open[..take].to_vec();
        let batch: Cow<'_, [Turn]> = match now.len() == turns.len() {
            true => Cow::Borrowed(&turns),
            false => Cow::Owned(now.iter().map(|&i| turns[i].clone()).collect()),
        };
        let asked = shared.asked(executor);
        let tried = match failed.take() {
            Some(error) => Err(error),
            None => shared.env.store.commit(executor, seeded::batch(&batch)).await,
        };
        let error = match seeded::written(tried, batch.len(), shared.clock.now()) {
            Ok(committed) => {
                for (&i, outcome) in now.iter().zip(&committed.turns) {
                    done(shared, &turns[i], *outcome);
                    answers[i] = Some(answer(*outcome, committed.now, repeated));
                }
                learn(shared, asked, committed);
                open.drain(..take);
                continue;
            }
            Err(error) => error,
        };
        let mended = match error {
            StoreError::LeaseLost(_) => {
                life.lose(executor);
                Err(Over)
            }
            StoreError::Unknown(_) => {
                tracing::warn!(%error, "looking a commit up");
                repeated = true;
                writer.resolve(&turns, &now).await
            }
            StoreError::PositionTaken { run, .. } => {
                tracing::warn!(%error, "looking a commit up");
                writer.resolve_taken(&turns, &now, run).await.inspect(|answers| alone |= answers.is_empty())
            }
            error if error.is_transient() => {
                tracing::warn!(%error, "a commit waits for the database");
                pause(&mut delay).await;
                Ok(Vec::new())
            }
            error if take > 1 => {
                // One bad turn must not keep the others from being written.
                tracing::error!(%error, code = error.code(), turns = take, "a batch can't be written: its turns go alone");
                alone = true;
                Ok(Vec::new())
            }
            error => {
                pause(&mut delay).await;
                writer.resolve_refused(&turns, now[0], &error).await
            }
        };
        let Ok(mended) = mended else { return answers };
        for (i, answer) in mended {
            answers[i] = Some(answer);
        }
        open.retain(|&i| answers[i].is_none());
    }
    if repeated {
        // What a try of unknown outcome sent to our own runs was told in its answer alone.
        shared.letters.notify_one();
    }
    answers
}

pub(crate) fn answer(outcome: TurnOutcome, now: Timestamp, repeated: bool) -> CommitAnswer {
    match outcome {
        TurnOutcome::Done => CommitAnswer::Done(now),
        TurnOutcome::TooEarly => CommitAnswer::TooEarly(now),
        // The earlier try has given the run away.
        TurnOutcome::NotOwned if repeated => CommitAnswer::Done(now),
        TurnOutcome::NotOwned => CommitAnswer::Gone,
    }
}

/// Whoever waits here for the end of the run hears of it.
pub(crate) fn done(shared: &Shared, turn: &Turn, outcome: TurnOutcome) {
    if outcome == TurnOutcome::Done {
        shared.ends.committed(turn);
    }
}

/// What a commit told beside what became of its turns.
pub(crate) fn learn(shared: &Shared, asked: Asked, committed: Committed) {
    shared.clock.learn(committed.now);
    if let Some(left) = committed.lease_left {
        shared.term.renewed(asked, left);
    }
    if !committed.mail.is_empty() {
        shared.mail(committed.mail);
    }
}

/// Waits a little longer each time, up to half a second.
#[expect(clippy::disallowed_methods, reason = "backoff towards a database that is away")]
pub(crate) async fn pause(delay: &mut Duration) {
    tokio::time::sleep(*delay).await;
    *delay = (*delay * 2).min(Duration::from_millis(500));
}
