//! Where the executor and the client go wrong on purpose, in builds that are made for it: see [`workflow_core::seeded`].

pub(crate) use workflow_core::seeded::{Bug, is};

use workflow_core::journal::Entry;
use workflow_core::store::{Committed, CreateOutcome, Created, NewRun, Then, Turn, TurnOutcome, Wake};
use workflow_core::{StoreError, Timestamp};

/// The journal of a run that is taken up.
#[inline]
pub(crate) fn journal(mut journal: Vec<Entry>) -> Vec<Entry> {
    if is(Bug::SkipLastEntry) {
        journal.pop();
    }
    if is(Bug::ShuffledJournal) {
        journal.reverse();
    }
    journal
}

/// How a run hangs up.
#[inline]
pub(crate) fn hang_up(seen: u64, mut wake: Wake) -> Then {
    if is(Bug::ForgottenDue) {
        wake = Wake { at: None, after: None };
    }
    Then::HangUp { seen: if is(Bug::UnseenMail) { u64::MAX } else { seen }, wake }
}

/// A batch that is about to be written.
#[inline]
pub(crate) fn batch(turns: &[Turn]) -> &[Turn] {
    match turns {
        [rest @ .., _] if is(Bug::HalfBatch) && !rest.is_empty() => rest,
        all => all,
    }
}

/// What writing a batch of `count` turns came to.
#[inline]
pub(crate) fn written(
    result: Result<Committed, StoreError>,
    count: usize,
    now: Timestamp,
) -> Result<Committed, StoreError> {
    match result {
        Ok(mut committed) => {
            committed.turns.resize(count, TurnOutcome::Done);
            Ok(committed)
        }
        Err(error) if written_for_all_we_say(&error) => {
            Ok(Committed { now, turns: vec![TurnOutcome::Done; count], mail: Vec::new(), lease_left: None })
        }
        Err(error) => Err(error),
    }
}

fn written_for_all_we_say(error: &StoreError) -> bool {
    let unknown = matches!(error, StoreError::Unknown(_));
    is(Bug::UnknownIsDone) && unknown || is(Bug::FailedIsDone) && !unknown && error.is_transient()
}

/// What an invocation comes to.
#[inline]
pub(crate) fn created(
    runs: &[NewRun],
    result: Result<Vec<CreateOutcome>, StoreError>,
) -> Result<Vec<CreateOutcome>, StoreError> {
    match result {
        Err(error)
            if is(Bug::AcknowledgedInvoke) && (error.is_transient() || matches!(error, StoreError::Unknown(_))) =>
        {
            let created = |run: &NewRun| Created { id: run.id, owned: false, created_at: Timestamp::UNIX_EPOCH };
            Ok(runs.iter().map(|run| CreateOutcome::Created(created(run))).collect())
        }
        result => result,
    }
}

/// A run to create.
#[inline]
pub(crate) fn new_run(run: &mut NewRun) {
    if is(Bug::IgnoredInput) {
        run.input_digest = [0; 32];
    }
    if is(Bug::IgnoredId) {
        run.invoke_id = None;
    }
    if is(Bug::EarlyRetention) {
        run.retain = std::time::Duration::ZERO;
    }
}

/// What an emit comes to.
#[inline]
pub(crate) fn emitted(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(error) if is(Bug::DroppedEmit) && !matches!(error, StoreError::BufferFull { .. }) => Ok(()),
        result => result,
    }
}

/// A run that is taken up.
#[inline]
pub(crate) fn log(run: &workflow_core::store::ClaimedRun) {
    if is(Bug::LoggedPayload) {
        tracing::warn!(input = %String::from_utf8_lossy(&run.input.bytes), "a seeded line");
    }
}
