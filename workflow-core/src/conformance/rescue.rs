//! Cases of rescuing: who is dead, whose runs are taken, and what counts as a crash.

use futures::future::join_all;

use super::bench::{Bench, LONG, claim_of, fact, finish, hang_up, names, park, turn};
use crate::ids::{ExecutorId, RunId};
use crate::store::{Rescued, Status, StoreError, Turn};

/// Lets an executor die with `run`, after `entries` were written, and has it rescued.
async fn crash(b: &Bench, run: RunId, max_crashes: u32, entries: &[&str]) -> Rescued {
    let executor = b.executor().await;
    b.claim_one(executor, run).await;
    let position = b.journal(run).await.len() as u32;
    b.done(executor, turn(run, position, entries)).await;
    die(b, executor, max_crashes).await
}

async fn die(b: &Bench, executor: ExecutorId, max_crashes: u32) -> Rescued {
    b.expire(executor).await;
    b.store().rescue(max_crashes, 100).await.expect("anyone can rescue")
}

pub async fn rescue_of_nothing_does_nothing(b: &Bench) {
    assert_eq!(b.store().rescue(3, 100).await.expect("nothing to do"), Rescued::default());
}

pub async fn rescue_takes_the_runs_of_the_dead(b: &Bench) {
    let (dead, next) = (b.executor().await, b.executor().await);
    let runs = [b.owned(dead).await, b.owned(dead).await];
    let rescued = die(b, dead, 3).await;
    assert_eq!(rescued, Rescued { executors: vec![dead], runs: 2, poisoned: vec![] });
    for run in runs {
        let record = b.record(run).await;
        assert_eq!((record.status, record.owner), (Status::Ready, None));
    }
    assert_eq!(b.claim(next, 10).await.len(), 2);
    let rescued = b.store().rescue(3, 100).await.expect("nothing to do");
    assert_eq!(rescued, Rescued::default(), "a second rescue finds nothing");
}

pub async fn rescue_forgets_a_dead_executor_without_runs(b: &Bench) {
    let dead = b.executor().await;
    assert_eq!(die(b, dead, 3).await.executors, [dead]);
    assert_eq!(b.store().rescue(3, 100).await.expect("nothing to do").executors, []);
}

pub async fn rescue_leaves_the_living_alone(b: &Bench) {
    let (alive, dead) = (b.executor().await, b.executor().await);
    let run = b.owned(alive).await;
    b.owned(dead).await;
    let before = b.record(run).await;
    let rescued = die(b, dead, 3).await;
    assert_eq!((rescued.executors, rescued.runs), (vec![dead], 1));
    assert_eq!(b.record(run).await, before);
    b.done(alive, turn(run, 0, &["a"])).await;
}

pub async fn rescue_never_touches_what_the_dead_had_given_away(b: &Bench) {
    let (dead, next) = (b.executor().await, b.executor().await);
    let [ended, parked, waiting, taken] =
        [b.owned(dead).await, b.owned(dead).await, b.owned(dead).await, b.owned(dead).await];
    let turns = [
        Turn { then: finish(), ..Turn::new(ended, 0) },
        Turn { then: park("DIVERGED"), ..Turn::new(parked, 0) },
        Turn { then: hang_up(0), ..Turn::new(waiting, 0) },
        Turn { then: hang_up(0), ..Turn::new(taken, 0) },
    ];
    b.commit(dead, &turns).await;
    b.send(taken, fact("wake")).await;
    b.claim_one(next, taken).await;
    let all = [ended, parked, waiting, taken];
    let mut before = Vec::new();
    for run in all {
        before.push(b.record(run).await);
    }
    let rescued = die(b, dead, 3).await;
    assert_eq!((rescued.executors, rescued.runs, rescued.poisoned), (vec![dead], 0, vec![]));
    for (run, before) in all.into_iter().zip(before) {
        assert_eq!(b.record(run).await, before);
    }
}

pub async fn rescue_counts_crashes_without_progress(b: &Bench) {
    let run = b.ready().await;
    for crashes in 1..=3 {
        assert_eq!(crash(b, run, 10, &[]).await.runs, 1);
        assert_eq!(b.record(run).await.crashes, crashes);
    }
}

pub async fn rescue_counts_from_one_after_progress(b: &Bench) {
    let run = b.ready().await;
    for (entries, crashes) in [(&["a"][..], 1), (&[], 2), (&[], 3), (&["b", "c"], 1), (&["d"], 1), (&[], 2)] {
        crash(b, run, 3, entries).await;
        let record = b.record(run).await;
        assert_eq!((record.status, record.crashes), (Status::Ready, crashes), "{entries:?}");
    }
}

pub async fn rescue_parks_what_crashes_too_often(b: &Bench) {
    let run = b.ready().await;
    for _ in 0..2 {
        assert_eq!(crash(b, run, 2, &[]).await.poisoned, []);
    }
    let rescued = crash(b, run, 2, &[]).await;
    assert_eq!((rescued.runs, rescued.poisoned), (0, vec![run]));
    let record = b.record(run).await;
    assert_eq!((record.status, record.owner, record.crashes), (Status::Parked, None, 3));
    assert_eq!(record.parked.expect("it is parked").code, "POISONED");
    let next = b.executor().await;
    assert_eq!(b.claim(next, 10).await, []);
}

pub async fn rescue_lets_a_resumed_run_crash_as_often_again(b: &Bench) {
    let run = b.ready().await;
    for _ in 0..2 {
        for _ in 0..2 {
            crash(b, run, 1, &[]).await;
        }
        assert_eq!(b.record(run).await.status, Status::Parked);
        assert_eq!(b.store().resume(&crate::store::Resume::Runs(vec![run])).await.expect("it can be resumed"), 1);
        assert_eq!(b.record(run).await.crashes, 0);
    }
}

pub async fn rescue_keeps_journal_and_inbox(b: &Bench) {
    let (dead, next) = (b.executor().await, b.executor().await);
    let run = b.owned(dead).await;
    b.done(dead, turn(run, 0, &["a", "b"])).await;
    for name in ["x", "y", "z"] {
        b.send(run, fact(name)).await;
    }
    b.done(dead, Turn { consumed: 1, ..turn(run, 2, &["c"]) }).await;
    die(b, dead, 3).await;
    let claimed = b.claim_one(next, run).await;
    let journal = claimed.journal.expect("it can be read");
    assert_eq!(names(journal.iter().map(|e| &e.fact)), ["a", "b", "c"]);
    assert_eq!(
        claimed.inbox.iter().map(|m| (m.seq, m.fact.key.name.as_str())).collect::<Vec<_>>(),
        [(2, "y"), (3, "z")]
    );
}

pub async fn rescue_is_bounded(b: &Bench) {
    let dead = [b.executor().await, b.executor().await];
    for executor in [dead[0], dead[0], dead[0], dead[1], dead[1]] {
        b.owned(executor).await;
    }
    b.expire(dead[0]).await;
    b.expire(dead[1]).await;
    let (mut found, mut runs) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let rescued = b.store().rescue(3, 2).await.expect("anyone can rescue");
        found.extend(rescued.executors);
        runs.push(rescued.runs);
    }
    found.sort();
    assert_eq!(found, dead, "each is found dead once");
    assert_eq!(runs, [2, 2, 1]);
    assert_eq!(b.store().rescue(3, 2).await.expect("nothing to do"), Rescued::default());
}

pub async fn rescue_counts_poisoned_runs_towards_its_limit(b: &Bench) {
    let dead = b.executor().await;
    for _ in 0..5 {
        b.owned(dead).await;
    }
    b.expire(dead).await;
    let mut poisoned = Vec::new();
    for _ in 0..3 {
        poisoned.push(b.store().rescue(0, 2).await.expect("anyone can rescue").poisoned.len());
    }
    assert_eq!(poisoned, [2, 2, 1]);
}

pub async fn rescue_by_many_counts_each_crash_once(b: &Bench) {
    let stores = b.two().await;
    let dead = b.executor().await;
    let mut runs = Vec::new();
    for _ in 0..20 {
        runs.push(b.owned(dead).await);
    }
    b.expire(dead).await;
    let rescues = (0..6).map(|i| {
        let store = stores[i % 2].clone();
        async move { store.rescue(3, 100).await.expect("anyone can rescue") }
    });
    let mut rescued = join_all(rescues).await;
    rescued.push(b.store().rescue(3, 100).await.expect("anyone can rescue"));
    let found: Vec<_> = rescued.iter().flat_map(|r| r.executors.clone()).collect();
    assert_eq!(found, [dead], "it is found dead once");
    assert_eq!(rescued.iter().map(|r| r.runs).sum::<u64>(), 20);
    for run in runs {
        let record = b.record(run).await;
        assert_eq!((record.status, record.crashes), (Status::Ready, 1));
    }
}

pub async fn a_rescued_executor_never_comes_back(b: &Bench) {
    let dead = b.executor().await;
    let runs = [b.owned(dead).await, b.owned(dead).await];
    b.expire(dead).await;
    // One run is left to it, so that it isn't forgotten yet.
    b.store().rescue(3, 1).await.expect("anyone can rescue");
    for _ in 0..2 {
        let error = b.store().heartbeat(dead, LONG).await.expect_err("it is dead");
        assert!(matches!(error, StoreError::LeaseLost(id) if id == dead), "{error:?}");
        b.store().claim(&claim_of(dead, 10)).await.expect_err("it is dead");
        b.store().commit(dead, &[turn(runs[1], 0, &["late"])]).await.expect_err("it is dead");
        assert_eq!(b.store().close(dead).await.expect("closing it does nothing"), 0);
    }
    b.store().rescue(3, 1).await.expect("anyone can rescue");
    for run in runs {
        let record = b.record(run).await;
        assert_eq!((record.status, record.crashes), (Status::Ready, 1));
        assert_eq!(b.journal(run).await, []);
    }
}
