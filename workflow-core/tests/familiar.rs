//! What only goes on between the branches of a workflow isn't taken for a future that isn't journaled.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::json;
use support::{Closure, Run};
use workflow_core::{Ctx, Failure};

const HOUR: Duration = Duration::from_secs(3600);

/// Runs to the end with a hang-up after each commit, and once more with a replay after each commit.
fn no_alarm<Fut>(code: impl Fn(Ctx) -> Fut + Send + Sync + Copy + 'static)
where
    Fut: Future<Output = Result<serde_json::Value, Failure>> + 'static,
{
    let plain = Run::new(code).finish().expect("ends well");
    let mut verified = Run::with(Arc::new(Closure(code)), Vec::new(), true);
    assert_eq!(verified.finish().expect("ends well"), plain);
    for length in 0..=verified.journal.len() {
        let mut again = Run::with(Arc::new(Closure(code)), verified.journal[..length].to_vec(), false);
        again.now = verified.now;
        assert_eq!(again.finish().expect("ends well"), plain, "from {length} entries on");
    }
}

async fn step(ctx: &Ctx, name: &str) -> Result<u64, Failure> {
    ctx.step(name, async || Ok(1)).await
}

/// A workflow whose branches share a mutex of this kind, and are joined by this macro.
macro_rules! share_a_mutex {
    ($mutex:ty, $($join:ident)::+) => {
        no_alarm(|ctx| async move {
            let lock = <$mutex>::new(0);
            let branch = |name: &'static str| {
                let (ctx, lock) = (&ctx, &lock);
                async move {
                    for _ in 0..3 {
                        let mut held = lock.lock().await;
                        *held += step(ctx, name).await?;
                        drop(held);
                        ctx.sleep(Duration::from_secs(1)).await?;
                    }
                    Ok::<_, Failure>(())
                }
            };
            let (a, b, c) = $($join)::+!(branch("a"), branch("b"), branch("c"));
            for result in [a, b, c] {
                result?;
            }
            Ok(json!(*lock.lock().await))
        })
    };
}

#[test]
fn mutexes_between_branches_raise_no_alarm() {
    share_a_mutex!(tokio::sync::Mutex<u64>, tokio::join);
}

/// This mutex goes to whoever asks first, so the branches must be asked in an order that is always the same.
#[test]
fn an_unfair_mutex_between_branches_of_a_fixed_order_raises_no_alarm() {
    share_a_mutex!(futures::lock::Mutex<u64>, futures::join);
}

#[test]
fn channels_between_branches_raise_no_alarm() {
    no_alarm(|ctx| async move {
        let (once, answer) = tokio::sync::oneshot::channel();
        let (many, mut received) = tokio::sync::mpsc::channel(1);
        let (also_once, also_answer) = futures::channel::oneshot::channel();
        let (watch, mut watched) = tokio::sync::watch::channel(0);
        let (sent, got) = tokio::join!(
            async {
                once.send(step(&ctx, "once").await?).expect("awaited");
                for i in 0..4 {
                    many.send(step(&ctx, "many").await? + i).await.expect("awaited");
                }
                drop(many);
                watch.send(step(&ctx, "watch").await?).expect("awaited");
                also_once.send(1u64).expect("awaited");
                Ok::<_, Failure>(())
            },
            async {
                let mut sum = answer.await.expect("sent");
                while let Some(value) = received.recv().await {
                    sum += value + step(&ctx, "between").await?;
                }
                watched.changed().await.expect("sent");
                let watched = *watched.borrow();
                Ok::<_, Failure>(sum + watched + also_answer.await.expect("sent"))
            }
        );
        sent?;
        Ok(json!(got?))
    });
}

#[test]
fn notify_semaphore_and_barrier_between_branches_raise_no_alarm() {
    no_alarm(|ctx| async move {
        let (notify, semaphore) = (tokio::sync::Notify::new(), tokio::sync::Semaphore::new(1));
        let barrier = tokio::sync::Barrier::new(2);
        let (a, b) = futures::join!(
            async {
                notify.notified().await;
                let _permit = semaphore.acquire().await.expect("open");
                step(&ctx, "a").await?;
                barrier.wait().await;
                Ok::<_, Failure>(())
            },
            async {
                let permit = semaphore.acquire().await.expect("open");
                step(&ctx, "b").await?;
                notify.notify_one();
                ctx.sleep(HOUR).await?;
                drop(permit);
                barrier.wait().await;
                Ok::<_, Failure>(())
            }
        );
        a?;
        b?;
        Ok(json!("both"))
    });
}

#[test]
fn shared_and_futures_unordered_raise_no_alarm() {
    no_alarm(|ctx| async move {
        let first = step(&ctx, "first").map(|result| result.map_err(|f| f.to_string())).shared();
        let mut all: FuturesUnordered<_> = (0..100)
            .map(|i| {
                let (first, ctx) = (first.clone(), &ctx);
                async move { Ok::<_, Failure>(first.await.map_err(Failure::new)? + step(ctx, &format!("s{i}")).await?) }
            })
            .collect();
        let mut sum = 0;
        while let Some(value) = all.next().await {
            sum += value?;
        }
        Ok(json!(sum))
    });
}

#[test]
fn yielding_raises_no_alarm() {
    no_alarm(|ctx| async move {
        let yielding = |n: usize| async move {
            for _ in 0..n {
                tokio::task::yield_now().await;
            }
        };
        let (a, ()) = tokio::join!(step(&ctx, "a"), yielding(200));
        yielding(50).await;
        Ok(json!(a? + step(&ctx, "b").await?))
    });
}

#[test]
fn buffered_streams_raise_no_alarm() {
    no_alarm(|ctx| async move {
        let steps = futures::stream::iter(0..50).map(|i| step_numbered(&ctx, i)).buffer_unordered(7);
        let values: Vec<_> = steps.collect().await;
        let mut values = values.into_iter().collect::<Result<Vec<_>, _>>()?;
        values.sort_unstable();
        Ok(json!(values))
    });
}

async fn step_numbered(ctx: &Ctx, i: u64) -> Result<u64, Failure> {
    ctx.sleep(Duration::from_secs(i % 7)).await?;
    ctx.step(&format!("n{i}"), async || Ok(i)).await
}

#[test]
fn a_wake_up_from_a_destructor_raises_no_alarm() {
    struct Tells(Option<futures::channel::oneshot::Sender<()>>);
    impl Drop for Tells {
        fn drop(&mut self) {
            if let Some(sender) = self.0.take() {
                let _ = sender.send(());
            }
        }
    }
    no_alarm(|ctx| async move {
        let (sender, receiver) = futures::channel::oneshot::channel();
        let told = Rc::new(Cell::new(false));
        let (slept, ()) = futures::join!(
            async {
                let _tells = Tells(Some(sender));
                ctx.sleep(HOUR).await
            },
            async {
                let _ = receiver.await;
                told.set(true);
            }
        );
        slept?;
        Ok(json!(told.get()))
    });
}
