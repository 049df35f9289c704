//! Commits that went wrong: what became of their turns, and what to do with runs that can't go on.

use std::time::Duration;

use workflow_core::mismatch::refused;
use workflow_core::store::{Then, Turn, TurnOutcome, Wake};
use workflow_core::{ExecutorId, RunId, StoreError};

use super::commit::{answer, done, learn, pause};
use super::life::Life;
use super::shared::{CommitAnswer, Shared};

/// What some turns of a batch that went wrong have come to. The others weren't written, and may be sent again.
pub(crate) type Answers = Vec<(usize, CommitAnswer)>;

/// This life of the executor is over: nothing of it may be sent again.
pub(crate) struct Over;

/// Finds out what became of turns, and gives up runs that can't go on.
pub(crate) struct Writer<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) life: &'a Life,
    pub(crate) executor: ExecutorId,
}

impl Writer<'_> {
    /// After a try of unknown outcome.
    pub(crate) async fn resolve(&self, turns: &[Turn], tried: &[usize]) -> Result<Answers, Over> {
        let mut found = self.look_up(turns, tried).await?;
        let silent: Vec<usize> = tried.iter().copied().filter(|&i| turns[i].entries.is_empty()).collect();
        if let Some(&(_, answer)) = found.first() {
            // A batch is written as a whole: its entries speak for the turns that have none.
            found.extend(silent.iter().map(|&i| (i, answer)));
        } else if silent.len() == tried.len() && silent.iter().any(|&i| gives_away(&turns[i].then)) {
            // Had it been written, a run could have been claimed again since, even by us: to give it away once more
            // would take it from whoever drives it now.
            tracing::warn!("nobody knows whether runs have hung up");
            self.life.lose(self.executor);
            return Err(Over);
        }
        Ok(found)
    }

    /// After a try that met an entry, perhaps one of an earlier try. Empty when it can't be said whose turn it was.
    pub(crate) async fn resolve_taken(&self, turns: &[Turn], tried: &[usize], run: RunId) -> Result<Answers, Over> {
        let landed = self.look_up(turns, tried).await?;
        let taken = tried.iter().copied().find(|&i| turns[i].run == run).or((tried.len() == 1).then(|| tried[0]));
        match taken {
            Some(i) if landed.is_empty() => {
                // Somebody else's entry: the run isn't what we think it is. Whoever claims it reads it anew.
                tracing::error!(run = %turns[i].run, "the run has entries that weren't written here: it leaves memory");
                let then = Then::HangUp { seen: 0, wake: Wake { at: None, after: Some(Duration::ZERO) } };
                Ok(vec![(i, self.give_away(turns[i].run, then).await?)])
            }
            _ => Ok(landed),
        }
    }

    /// After a try with one turn that was refused with an error that isn't worth a retry: parks the run, if it is the
    /// turn and not the database that is at fault.
    pub(crate) async fn resolve_refused(&self, turns: &[Turn], i: usize, error: &StoreError) -> Result<Answers, Over> {
        let store = &self.shared.env.store;
        let (turn, code) = (&turns[i], error.code());
        // A read-only server, say, refuses everything.
        if store.commit(self.executor, &[]).await.is_err() {
            tracing::warn!(%error, code, "the database refuses every commit");
            return Ok(Vec::new());
        }
        let asked = self.shared.asked(self.executor);
        match store.commit(self.executor, std::slice::from_ref(turn)).await {
            Err(again) if again.code() == code => {}
            Ok(committed) => {
                let outcome = committed.turns.first().copied().unwrap_or(TurnOutcome::NotOwned);
                let answer = answer(outcome, committed.now, false);
                done(self.shared, turn, outcome);
                learn(self.shared, asked, committed);
                return Ok(vec![(i, answer)]);
            }
            Err(StoreError::Unknown(_)) => return self.resolve(turns, &[i]).await,
            Err(_) => return Ok(Vec::new()),
        }
        tracing::error!(run = %turn.run, %error, code, "a turn can't be written: the run is parked");
        Ok(vec![(i, self.give_away(turn.run, Then::Park(refused(error))).await?)])
    }

    /// Which of these turns with entries are in the journal, and since when.
    async fn look_up(&self, turns: &[Turn], tried: &[usize]) -> Result<Answers, Over> {
        let store = &self.shared.env.store;
        let mut found = Vec::new();
        let mut delay = Duration::from_millis(5);
        for &i in tried.iter().filter(|&&i| !turns[i].entries.is_empty()) {
            let turn = &turns[i];
            loop {
                if self.life.executor() != self.executor {
                    return Err(Over);
                }
                let entry = match store.landed(turn.run, turn.position).await {
                    Ok(true) => store.journal(turn.run, turn.position, 1).await,
                    Ok(false) => Ok(Vec::new()),
                    Err(error) => Err(error),
                };
                match entry {
                    Ok(entries) => {
                        let ours = entries.first().filter(|entry| turn.entries.first() == Some(&entry.fact));
                        found.extend(ours.map(|entry| (i, CommitAnswer::Done(entry.recorded_at))));
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a commit's outcome is still unknown");
                        pause(&mut delay).await;
                    }
                }
            }
        }
        Ok(found)
    }

    /// Gives a run away that is of no use here any more.
    async fn give_away(&self, run: RunId, then: Then) -> Result<CommitAnswer, Over> {
        let mut turn = Turn::new(run, 0);
        turn.then = then;
        let mut delay = Duration::from_millis(5);
        while self.life.executor() == self.executor {
            match self.shared.env.store.commit(self.executor, std::slice::from_ref(&turn)).await {
                Ok(_) => return Ok(CommitAnswer::Gone),
                Err(error) if error.is_transient() => pause(&mut delay).await,
                Err(error) => {
                    // Nobody knows whether it is still ours, or nobody can be told that it isn't.
                    tracing::error!(%run, %error, code = error.code(), "a run can't be given away");
                    self.life.lose(self.executor);
                    break;
                }
            }
        }
        Err(Over)
    }
}

fn gives_away(then: &Then) -> bool {
    matches!(then, Then::HangUp { .. } | Then::Park(_))
}
