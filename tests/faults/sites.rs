//! Every call of every method fails once.

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use workflow::MemoryStore;

use crate::faulty::{ALL, Error, Faults, Method, Verdict};
use crate::workload;

/// How many of the calls of each method are failed, each in a run of its own.
const CALLS: u64 = 3;

/// What comes before: calls that only a fault causes need one.
type Opening = Option<(Method, u64)>;

async fn each_site_once(calls: &[Method], opening: Opening, verdicts: &[Verdict]) {
    let mut sites = Vec::new();
    for &call in calls {
        for nth in 1..=CALLS {
            sites.extend(verdicts.iter().map(|verdict| (call, nth, verdict.clone())));
        }
    }
    let runs = stream::iter(sites).map(|(call, nth, verdict)| async move {
        let what = format!("{call:?} number {nth}: {verdict:?}, after {opening:?}");
        let memory = MemoryStore::default();
        let faulty = Faults::around(Arc::new(memory.clone()), move |site| {
            if (site.method, site.nth) == (call, nth) {
                verdict.clone()
            } else if Some((site.method, site.nth)) == opening {
                Verdict::After(Error::Unknown)
            } else {
                Verdict::Pass
            }
        });
        let most = workload::run(&what, faulty, &memory).await;
        let faults = 1 + u32::from(opening.is_some());
        assert!(most <= 1 + faults, "{what}: a body began {most} times");
    });
    runs.buffer_unordered(16).collect::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_not_applied_is_made_up_for() {
    let verdicts = [Error::Unavailable, Error::Contention].map(Verdict::Before);
    each_site_once(&ALL, None, &verdicts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_unknown_outcome_is_resolved() {
    let verdicts = [Verdict::Before(Error::Unknown), Verdict::After(Error::Unknown)];
    each_site_once(&ALL, None, &verdicts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_in_the_handling_of_a_fault_is_survived() {
    let verdicts = [Verdict::Before(Error::Unavailable), Verdict::After(Error::Unknown)];
    let after_commit = [Method::Landed, Method::Journal, Method::Commit];
    for nth in [1, 2, 5] {
        each_site_once(&after_commit, Some((Method::Commit, nth)), &verdicts).await;
    }
    // A lost claim ends a life: the store is told, and the next one begins.
    each_site_once(&[Method::Close, Method::Register, Method::Heartbeat], Some((Method::Claim, 1)), &verdicts).await;
    each_site_once(&[Method::Create, Method::Find], Some((Method::Create, 1)), &verdicts).await;
}
