//! Cases of claiming runs.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::bench::{
    Bench, LONG, QUEUE, SHORT, WORKFLOW, claim_of, event, fact, finish, hang_up, hang_up_for, json, names, new_run,
    park, turn, wait_for,
};
use crate::ids::{ExecutorId, RunId};
use crate::journal::ENTRY_VERSION;
use crate::store::{Claim, ClaimedRun, NewRun, Status, StoreError, Turn};

fn ids(runs: &[ClaimedRun]) -> BTreeSet<RunId> {
    runs.iter().map(|r| r.id).collect()
}

pub async fn claim_takes_a_ready_run(b: &Bench) {
    let executor = b.executor().await;
    let new = new_run();
    let created = b.created(new.clone()).await;
    let claimed = b.store().claim(&claim_of(executor, 5)).await.expect("an executor with a lease can claim");
    assert!(claimed.now >= created.created_at);
    let [run] = claimed.runs.as_slice() else { panic!("one run: {:?}", claimed.runs) };
    assert_eq!((run.id, run.workflow.as_str(), run.version), (new.id, WORKFLOW.0, WORKFLOW.1));
    assert_eq!((run.queue.as_str(), &run.input), (QUEUE, &new.input));
    assert_eq!((run.parent.as_ref(), run.depth, run.created_at), (None, 0, created.created_at));
    assert_eq!((run.mail, run.journal.as_deref(), run.inbox.as_slice()), (0, Ok(&[][..]), &[][..]));
    let record = b.record(new.id).await;
    assert_eq!((record.status, record.owner), (Status::Running, Some(executor)));
}

pub async fn claim_takes_the_oldest_ready_first(b: &Bench) {
    let executor = b.executor().await;
    // The first one becomes ready last: the order is that of becoming ready, not that of the ids.
    let first = b.owned(executor).await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(b.ready().await);
        b.tick().await;
    }
    b.hang_up(executor, first).await;
    b.send(first, fact("wake")).await;
    runs.push(first);
    for pair in runs.chunks(2) {
        let claimed = b.claim(executor, 2).await;
        assert_eq!(ids(&claimed), pair.iter().copied().collect());
    }
}

pub async fn claim_takes_the_earliest_due_first(b: &Bench) {
    let executor = b.executor().await;
    let mut runs = Vec::new();
    for late in [3, 1, 2, 0] {
        let delay = SHORT / 4 * (late + 1);
        runs.push((late, b.created(NewRun { delay: Some(delay), ..new_run() }).await.id));
    }
    b.advance(SHORT * 3).await;
    // On a clock that runs by itself, what was created later may be due later: the recorded time decides.
    let mut due = Vec::new();
    for (_, run) in runs {
        due.push((b.record(run).await.wake_at.expect("it waits"), run));
    }
    due.sort();
    for (_, run) in due {
        assert_eq!(ids(&b.claim(executor, 1).await), BTreeSet::from([run]));
    }
}

pub async fn claim_keeps_to_the_room_of_each_queue(b: &Bench) {
    let executor = b.executor().await;
    let runs = ["a", "b", "c"].map(|queue| (0..5).map(move |_| NewRun { queue: queue.to_owned(), ..new_run() }));
    let batch: Vec<_> = runs.into_iter().flatten().collect();
    b.store().create(&batch, true).await.expect("runs can be created");
    let claim = Claim { queues: vec![("b".into(), 3), ("a".into(), 1), ("c".into(), 9)], ..claim_of(executor, 0) };
    let claimed = b.store().claim(&claim).await.expect("an executor with a lease can claim").runs;
    let of = |queue: &str| claimed.iter().filter(|r| r.queue == queue).count();
    assert_eq!((of("a"), of("b"), of("c")), (1, 3, 5));
    assert_eq!(ids(&claimed).len(), claimed.len());
}

pub async fn claim_without_room_takes_nothing(b: &Bench) {
    let executor = b.executor().await;
    let run = b.ready().await;
    let nothing = [
        claim_of(executor, 0),
        Claim { queues: vec![], ..claim_of(executor, 5) },
        Claim { workflows: vec![], ..claim_of(executor, 5) },
    ];
    for claim in nothing {
        assert_eq!(b.store().claim(&claim).await.expect("nothing to claim").runs, [], "{claim:?}");
    }
    assert_eq!(b.record(run).await.status, Status::Ready);
}

pub async fn claim_takes_only_workflows_and_versions_it_is_given(b: &Bench) {
    let executor = b.executor().await;
    let of = |workflow: &str, version| NewRun { workflow: workflow.to_owned(), version, ..new_run() };
    // Those it doesn't know are older, and must neither be taken nor stand in the way.
    let unknown: Vec<_> = (0..50).map(|i| of("unknown", i % 3)).collect();
    b.store().create(&unknown, true).await.expect("runs can be created");
    b.tick().await;
    let runs = [of("a", 1), of("a", 2), of("b", 1), of("b", 2)];
    b.store().create(&runs, true).await.expect("runs can be created");
    let claim = Claim { workflows: vec![("a".into(), 1), ("b".into(), 2)], ..claim_of(executor, 4) };
    let claimed = b.store().claim(&claim).await.expect("an executor with a lease can claim").runs;
    assert_eq!(ids(&claimed), BTreeSet::from([runs[0].id, runs[3].id]));
}

pub async fn claim_takes_only_queues_it_is_given(b: &Bench) {
    let executor = b.executor().await;
    b.created(NewRun { queue: "another".into(), ..new_run() }).await;
    b.created(NewRun { queue: "default2".into(), ..new_run() }).await;
    assert_eq!(b.claim(executor, 10).await, []);
}

pub async fn claim_never_takes_a_run_twice(b: &Bench) {
    let (first, second) = (b.executor().await, b.executor().await);
    let run = b.ready().await;
    b.claim_one(first, run).await;
    assert_eq!(b.claim(first, 10).await, []);
    assert_eq!(b.claim(second, 10).await, []);
    assert_eq!(b.record(run).await.owner, Some(first));
}

pub async fn claim_takes_a_due_run_and_not_an_early_one(b: &Bench) {
    let executor = b.executor().await;
    let runs = [b.owned(executor).await, b.owned(executor).await];
    let late = b.created(NewRun { delay: Some(LONG), ..new_run() }).await.id;
    b.done(executor, Turn { then: hang_up_for(LONG), ..Turn::new(runs[0], 0) }).await;
    assert_eq!(b.claim(executor, 10).await, []);
    b.done(executor, Turn { then: hang_up_for(SHORT), ..Turn::new(runs[1], 0) }).await;
    b.outlast().await;
    let due = b.record(runs[1]).await.wake_at.expect("it waits");
    let claimed = b.store().claim(&claim_of(executor, 10)).await.expect("an executor with a lease can claim");
    assert_eq!(ids(&claimed.runs), BTreeSet::from([runs[1]]));
    assert!(claimed.now >= due);
    let record = b.record(runs[1]).await;
    assert_eq!((record.status, record.owner, record.wake_at), (Status::Running, Some(executor), None));
    assert_eq!(b.record(late).await.status, Status::Waiting);
}

pub async fn claim_leaves_runs_that_wait_for_messages(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    b.hang_up(executor, run).await;
    b.outlast().await;
    assert_eq!(b.claim(executor, 10).await, []);
    let record = b.record(run).await;
    assert_eq!((record.status, record.wake_at, record.owner), (Status::Waiting, None, None));
}

pub async fn claim_leaves_ended_and_parked_runs(b: &Bench) {
    let executor = b.executor().await;
    let runs = [b.owned(executor).await, b.owned(executor).await];
    let turns =
        [Turn { then: finish(), ..Turn::new(runs[0], 0) }, Turn { then: park("DIVERGED"), ..Turn::new(runs[1], 0) }];
    b.commit(executor, &turns).await;
    assert_eq!(b.claim(executor, 10).await, []);
}

pub async fn claim_brings_the_whole_journal_in_order(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    let mut expected = Vec::new();
    for batch in 0..30u32 {
        let entries: Vec<String> = (0..10).map(|i| format!("{batch}.{i}")).collect();
        let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
        b.done(executor, turn(run, batch * 10, &entries)).await;
        expected.extend(entries.iter().map(|e| (*e).to_owned()));
    }
    b.store().close(executor).await.expect("an executor can be closed");
    let next = b.executor().await;
    let journal = b.claim_one(next, run).await.journal.expect("it can be read");
    assert_eq!(names(journal.iter().map(|e| &e.fact)), expected);
    assert!(journal.iter().zip(0..).all(|(e, i)| e.position == i && e.version == ENTRY_VERSION));
    assert_eq!(journal, b.journal(run).await);
}

pub async fn claim_brings_the_inbox_in_order(b: &Bench) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    let turn = Turn { subscribe: vec![wait_for("k", 0)], then: hang_up(0), ..Turn::new(run, 0) };
    b.done(executor, turn).await;
    for name in ["a", "b", "c"] {
        b.send(run, fact(name)).await;
    }
    b.emit(event("k", "\"hello\"")).await;
    let claimed = b.claim_one(executor, run).await;
    assert_eq!(claimed.mail, 4);
    assert_eq!(claimed.inbox.iter().map(|m| m.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(names(claimed.inbox.iter().map(|m| &m.fact)), ["a", "b", "c", "paid"]);
    assert_eq!(claimed.inbox[3].fact.payload, json("\"hello\""));
}

pub async fn claim_needs_a_registered_executor(b: &Bench) {
    let run = b.ready().await;
    let executor = ExecutorId::generate();
    let error = b.store().claim(&claim_of(executor, 10)).await.expect_err("it was never registered");
    assert!(matches!(error, StoreError::LeaseLost(id) if id == executor), "{error:?}");
    assert_eq!(b.record(run).await.status, Status::Ready);
}

pub async fn claim_by_many_is_disjoint_and_complete(b: &Bench) {
    let stores = b.two().await;
    let ready: Vec<_> = (0..100).map(|_| new_run()).collect();
    let due: Vec<_> = (0..20).map(|_| NewRun { delay: Some(SHORT / 20), ..new_run() }).collect();
    for batch in [&ready, &due] {
        b.store().create(batch, true).await.expect("runs can be created");
    }
    b.outlast().await;
    let mut executors = Vec::new();
    for _ in 0..8 {
        executors.push(b.executor().await);
    }
    let claims = executors.iter().enumerate().map(|(i, executor)| {
        let (store, claim) = (stores[i % 2].clone(), claim_of(*executor, 7));
        async move {
            let mut mine = Vec::new();
            // A claimer may find nothing while others hold what is left: it's done when none is left at all.
            for _ in 0..100 {
                let runs = store.claim(&claim).await.expect("an executor with a lease can claim").runs;
                assert!(runs.len() <= 7, "no more than there is room for");
                if runs.is_empty() && mine.len() > 5 {
                    break;
                }
                mine.extend(runs.into_iter().map(|r| r.id));
            }
            mine
        }
    });
    let mut claimed: Vec<RunId> = join_all(claims).await.into_iter().flatten().collect();
    loop {
        let rest = b.claim(executors[0], 100).await;
        if rest.is_empty() {
            break;
        }
        claimed.extend(rest.into_iter().map(|r| r.id));
    }
    assert_eq!(claimed.len(), 120, "each is claimed, and none twice");
    assert_eq!(claimed.iter().copied().collect::<BTreeSet<_>>(), ready.iter().chain(&due).map(|r| r.id).collect());
}

pub async fn claim_finds_work_under_contention(b: &Bench) {
    let stores = b.two().await;
    // There is always more work than everyone together has room for, so nobody may come back with nothing.
    let batch: Vec<_> = (0..400).map(|_| new_run()).collect();
    b.store().create(&batch, true).await.expect("runs can be created");
    let mut executors = Vec::new();
    for _ in 0..8 {
        executors.push(b.executor().await);
    }
    for _ in 0..5 {
        let claims = executors.iter().enumerate().map(|(i, executor)| {
            let (store, claim) = (stores[i % 2].clone(), claim_of(*executor, 5));
            async move { store.claim(&claim).await.expect("an executor with a lease can claim").runs.len() }
        });
        for found in join_all(claims).await {
            assert!(found > 0, "a claim found nothing while there was work");
        }
    }
}
