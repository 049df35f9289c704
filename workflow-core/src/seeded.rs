//! Bugs on purpose: they show that a campaign of faults would notice such a bug, were it there.
//!
//! They exist only in a build that was compiled with `WORKFLOW_SEEDED_BUGS` set in its environment, as the chaos harness
//! compiles one for itself; anywhere else [`is`] is the constant `false` and the compiler drops what depends on it.

use std::sync::OnceLock;

/// Whether this build has the bugs.
pub const COMPILED: bool = option_env!("WORKFLOW_SEEDED_BUGS").is_some();

static CHOSEN: OnceLock<Bug> = OnceLock::new();

macro_rules! bugs {
    ($($bug:ident $name:literal $what:literal)*) => {
        /// A bug, and what is wrong with it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $what] $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$bug,)*];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Bug::$bug => $name,)*
                }
            }

            /// What is wrong.
            pub fn what(self) -> &'static str {
                match self {
                    $(Bug::$bug => $what,)*
                }
            }
        }
    };
}

bugs! {
    UnfencedCommit "unfenced-commit" "a commit doesn't ask whether its executor is alive"
    SurviveLeaseLoss "survive-lease-loss" "an executor that lost its lease goes on with its runs in its next life"
    NoDoubt "no-doubt" "a thawed executor begins steps before it knows whether its lease has run out"
    RescueWithoutLock "rescue-without-lock" "who declares an executor dead doesn't wait for its commits under way"
    NoRescue "no-rescue" "runs of dead executors are never taken over"
    AcknowledgeFirst "acknowledge-first" "a turn counts as committed before it is written"
    UnknownIsDone "unknown-is-done" "a commit of unknown outcome counts as written"
    FailedIsDone "failed-is-done" "a commit that failed for the moment counts as written"
    HalfBatch "half-batch" "the last turn of a batch isn't written but acknowledged"
    SkipLastEntry "skip-last-entry" "who takes a run up doesn't see its last entry"
    ShuffledJournal "shuffled-journal" "who takes a run up reads its journal in another order"
    LostWake "lost-wake" "a message to a waiting run doesn't make it ready"
    UnseenMail "unseen-mail" "a run hangs up over messages that it hasn't seen"
    ConsumedUnseen "consumed-unseen" "consuming messages deletes those that came meanwhile"
    ForgottenDue "forgotten-due" "a run that hangs up forgets when it is due"
    EarlyTimer "early-timer" "timers are over 200 ms too early"
    ChildTwice "child-twice" "a child is started twice"
    SparedChildren "spared-children" "a cancelled run doesn't cancel its children"
    IgnoredCancel "ignored-cancel" "steps begin after the cancellation was recorded"
    OneWaiter "one-waiter" "an event reaches one of its waiters only"
    IgnoredBuffer "ignored-buffer" "who waits later doesn't get the buffered event"
    DroppedEmit "dropped-emit" "an emit that failed for the moment counts as emitted"
    AcknowledgedInvoke "acknowledged-invoke" "an invocation that failed for the moment counts as accepted"
    IgnoredId "ignored-id" "the id of an invocation isn't kept: twice invoked is two runs"
    IgnoredInput "ignored-input" "the same id with another input attaches"
    EarlyRetention "early-retention" "ended runs are deleted at once"
    HandoverIsCrash "handover-is-crash" "a graceful handover counts as a crash"
    TransactionInTwo "transaction-in-two" "the user's rows are committed before the entry"
    PanickingHeartbeat "panicking-heartbeat" "the heartbeat panics when the lease is lost"
    LoggedPayload "logged-payload" "inputs are logged"
    OpenGate "open-gate" "a queue's concurrency isn't kept"
}

/// Chooses the bug of this process, by its name. Once.
///
/// # Errors
///
/// What is wrong, for people: an unknown name, or a build without bugs.
pub fn choose(name: &str) -> Result<Bug, String> {
    if !COMPILED {
        return Err("this build has no seeded bugs: build it with WORKFLOW_SEEDED_BUGS=1".to_owned());
    }
    let found = Bug::ALL.iter().find(|bug| bug.name() == name);
    let bug = *found.ok_or_else(|| format!("there is no seeded bug {name:?}"))?;
    if *CHOSEN.get_or_init(|| bug) == bug { Ok(bug) } else { Err("another bug was chosen before".to_owned()) }
}

/// Whether this process has this bug.
#[inline]
pub fn is(bug: Bug) -> bool {
    COMPILED && CHOSEN.get() == Some(&bug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::assertions_on_constants, reason = "it depends on how the tests were built")]
    fn a_usual_build_has_none() {
        assert!(!COMPILED, "the tests are built with WORKFLOW_SEEDED_BUGS set");
        assert!(choose("no-rescue").is_err());
        assert!(Bug::ALL.iter().all(|bug| !is(*bug)));
    }

    #[test]
    fn names_are_unique_and_at_least_two_dozen() {
        let names: std::collections::BTreeSet<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        assert_eq!(names.len(), Bug::ALL.len());
        assert!(names.len() >= 24);
    }
}
