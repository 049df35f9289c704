//! Group commit: the turns of all runs in memory, written as batches.
//!
//! A batch is one transaction of the store. While some are under way the next one fills; an alone turn goes at once.
//! A commit of unknown outcome is resolved by reading, never by repeating.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use workflow_core::store::{Committed, Then, Turn, TurnOutcome};
use workflow_core::{ExecutorId, StoreError, Timestamp};

use super::life::Life;
use super::resolve::{Over, Writer};
use super::shared::{CommitAnswer, Msg, Outgoing, Shared, Tag};
use crate::seeded::{self, Bug};

/// The most turns and the most payload bytes of one batch.
const MAX_TURNS: usize = 2_000;
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Takes turns as they come, until every driver is gone.
pub(crate) async fn run(
    shared: Arc<Shared>,
    life: Arc<Life>,
    mut turns: UnboundedReceiver<Vec<Outgoing>>,
    writers: usize,
) {
    let places = Arc::new(Semaphore::new(writers));
    let mut waiting: std::collections::VecDeque<Outgoing> = std::collections::VecDeque::new();
    loop {
        if waiting.is_empty() {
            match turns.recv().await {
                Some(more) => waiting.extend(more),
                None => return,
            }
        }
        let Ok(place) = places.clone().acquire_owned().await else { return };
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
        let (shared, life) = (shared.clone(), life.clone());
        tokio::spawn(async move {
            commit(&shared, &life, batch).await;
            drop(place);
        });
    }
}

fn size(turn: &Turn) -> usize {
    let entries: usize = turn.entries.iter().map(|fact| fact.payload.bytes.len() + 100).sum();
    let starts: usize = turn.starts.iter().map(|run| run.input.bytes.len() + 300).sum();
    let output = match &turn.then {
        Then::Finish { output, .. } => output.bytes.len(),
        _ => 0,
    };
    entries + starts + output + turn.emits.iter().map(|e| e.payload.bytes.len()).sum::<usize>() + 100
}

async fn commit(shared: &Arc<Shared>, life: &Life, mut batch: Vec<Outgoing>) {
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
        write(shared, life, executor, turns).await;
        return;
    }
    let answers = write(shared, life, executor, turns).await;
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
async fn write(shared: &Arc<Shared>, life: &Life, executor: ExecutorId, turns: Vec<Turn>) -> Vec<Option<CommitAnswer>> {
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
        let batch: Vec<Turn> = now.iter().map(|&i| turns[i].clone()).collect();
        let error = match seeded::commit(&*shared.env.store, executor, batch, shared.clock.now()).await {
            Ok(committed) => {
                for (&i, outcome) in now.iter().zip(&committed.turns) {
                    answers[i] = Some(answer(*outcome, committed.now, repeated));
                }
                shared.clock.learn(committed.now);
                deliver(shared, committed);
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

pub(crate) fn deliver(shared: &Shared, committed: Committed) {
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
