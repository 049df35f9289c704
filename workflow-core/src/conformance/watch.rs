//! Cases of wake-ups: who watches is told in the end, and not any more after that.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::bench::{Bench, LONG, fact, finish, hang_up, hang_up_for, new_run, park};
use crate::store::{NewMessage, NewRun, Resume, Turn, Wakeup, WatchGuard};

/// A watch that remembers what it was told.
struct Watch {
    told: Arc<Mutex<Vec<Wakeup>>>,
    guard: WatchGuard,
}

fn watch(b: &Bench) -> Watch {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = told.clone();
    let guard = b.store().watch(Arc::new(move |wakeup| sink.lock().expect("no sink panics").push(wakeup)));
    Watch { told, guard }
}

impl Watch {
    fn told(&self) -> Vec<Wakeup> {
        self.told.lock().expect("no sink panics").clone()
    }

    /// Waits until it was told, and forgets everything.
    async fn hears(&self, b: &Bench, wakeup: Wakeup) {
        for _ in 0..1_000 {
            if self.told().contains(&wakeup) {
                // What came along with it may still be under way: it belongs to the same deed.
                b.advance(Duration::from_millis(20)).await;
                self.told.lock().expect("no sink panics").clear();
                return;
            }
            b.advance(Duration::from_millis(10)).await;
        }
        panic!("{wakeup:?} never came, only {:?}", self.told());
    }
}

fn ready(queue: &str) -> Wakeup {
    Wakeup::Ready(queue.to_owned())
}

pub async fn watch_tells_of_new_runs(b: &Bench) {
    let watch = watch(b);
    b.created(NewRun { queue: "a".into(), ..new_run() }).await;
    watch.hears(b, ready("a")).await;
    b.created(NewRun { queue: "b".into(), delay: Some(LONG), ..new_run() }).await;
    watch.hears(b, ready("b")).await;
    let executor = b.executor().await;
    let parent = b.owned(executor).await;
    let starts = vec![NewRun { queue: "c".into(), ..new_run() }];
    b.done(executor, Turn { starts, ..Turn::new(parent, 0) }).await;
    watch.hears(b, ready("c")).await;
}

pub async fn watch_tells_of_runs_that_became_ready(b: &Bench) {
    let watch = watch(b);
    let executor = b.executor().await;
    let run = b.created(NewRun { queue: "a".into(), owner: Some(executor), ..new_run() }).await.id;
    b.hang_up(executor, run).await;
    b.send(run, fact("x")).await;
    watch.hears(b, ready("a")).await;
}

pub async fn watch_tells_of_wake_times(b: &Bench) {
    let watch = watch(b);
    let executor = b.executor().await;
    let run = b.created(NewRun { queue: "a".into(), owner: Some(executor), ..new_run() }).await.id;
    b.done(executor, Turn { then: hang_up_for(LONG), ..Turn::new(run, 0) }).await;
    watch.hears(b, ready("a")).await;
}

pub async fn watch_tells_of_runs_handed_over(b: &Bench) {
    let watch = watch(b);
    let of = |queue: &str, owner| NewRun { queue: queue.to_owned(), owner: Some(owner), ..new_run() };
    let (closing, dying, next) = (b.executor().await, b.executor().await, b.executor().await);
    let early = b.created(of("handed", closing)).await.id;
    b.store().hand_over(closing, &[early]).await.expect("it can be handed over");
    watch.hears(b, ready("handed")).await;
    b.created(of("closed", closing)).await;
    b.created(of("rescued", dying)).await;
    b.store().close(closing).await.expect("an executor can be closed");
    watch.hears(b, ready("closed")).await;
    b.expire(dying).await;
    b.store().rescue(3, 100).await.expect("anyone can rescue");
    watch.hears(b, ready("rescued")).await;
    let run = b.created(of("resumed", next)).await.id;
    b.done(next, Turn { then: park("DIVERGED"), ..Turn::new(run, 0) }).await;
    b.store().resume(&Resume::Runs(vec![run])).await.expect("it can be resumed");
    watch.hears(b, ready("resumed")).await;
}

pub async fn watch_tells_of_mail(b: &Bench) {
    let watch = watch(b);
    let (executor, other) = (b.executor().await, b.executor().await);
    let (run, theirs) = (b.owned(executor).await, b.owned(other).await);
    b.send(run, fact("x")).await;
    watch.hears(b, Wakeup::Mail(executor)).await;
    let sends = vec![NewMessage { to: theirs, fact: fact("x") }];
    b.done(executor, Turn { sends, ..Turn::new(run, 0) }).await;
    watch.hears(b, Wakeup::Mail(other)).await;
}

pub async fn mail_within_an_executor_is_answered_or_told(b: &Bench) {
    let watch = watch(b);
    let executor = b.executor().await;
    let [one, two] = [b.owned(executor).await, b.owned(executor).await];
    let sends = vec![NewMessage { to: two, fact: fact("x") }];
    let committed = b.done(executor, Turn { sends, ..Turn::new(one, 0) }).await;
    if committed.mail.is_empty() {
        watch.hears(b, Wakeup::Mail(executor)).await;
    } else {
        assert_eq!((committed.mail[0].run, committed.mail[0].message.seq), (two, 1));
    }
}

pub async fn watch_tells_of_the_end(b: &Bench) {
    let watch = watch(b);
    let executor = b.executor().await;
    for then in [finish(), park("DIVERGED")] {
        let run = b.owned(executor).await;
        b.done(executor, Turn { then, ..Turn::new(run, 0) }).await;
        watch.hears(b, Wakeup::Ended(run)).await;
    }
    let poisoned = b.owned(executor).await;
    b.expire(executor).await;
    b.store().rescue(0, 100).await.expect("anyone can rescue");
    watch.hears(b, Wakeup::Ended(poisoned)).await;
}

pub async fn watch_tells_every_watcher(b: &Bench) {
    let watches = [watch(b), watch(b), watch(b)];
    b.ready().await;
    for watch in &watches {
        watch.hears(b, ready("default")).await;
    }
}

pub async fn watch_ends_with_its_guard(b: &Bench) {
    let (ending, other) = (watch(b), watch(b));
    b.created(NewRun { queue: "a".into(), ..new_run() }).await;
    ending.hears(b, ready("a")).await;
    let Watch { told, guard } = ending;
    drop(guard);
    b.created(NewRun { queue: "b".into(), ..new_run() }).await;
    other.hears(b, ready("b")).await;
    assert!(!told.lock().expect("no sink panics").contains(&ready("b")));
}

pub async fn a_sink_may_be_called_while_the_store_is_used(b: &Bench) {
    // A sink that watches and ends a watch must not meet a lock of the store.
    let [store, _] = b.two().await;
    let inner = store.clone();
    let calls = Arc::new(Mutex::new(0));
    let count = calls.clone();
    let guard = store.watch(Arc::new(move |_| {
        *count.lock().expect("no sink panics") += 1;
        drop(inner.watch(Arc::new(|_| {})));
    }));
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    b.done(executor, Turn { then: hang_up(0), ..Turn::new(run, 0) }).await;
    b.send(run, fact("x")).await;
    let other = watch(b);
    b.created(NewRun { queue: "last".into(), ..new_run() }).await;
    other.hears(b, ready("last")).await;
    assert!(*calls.lock().expect("no sink panics") > 0);
    drop(guard);
}
