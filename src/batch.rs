//! Group commit for calls: what comes while a batch is under way goes together into the next one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

type Run<Q, A> = dyn Fn(Vec<Q>) -> Pin<Box<dyn Future<Output = Vec<A>> + Send>> + Send + Sync;

/// Gathers calls into batches. An alone call goes at once; there is no timer.
pub(crate) struct Batcher<Q, A> {
    calls: mpsc::UnboundedSender<(Q, oneshot::Sender<A>)>,
}

impl<Q, A> Clone for Batcher<Q, A> {
    fn clone(&self) -> Self {
        Self { calls: self.calls.clone() }
    }
}

impl<Q: Send + 'static, A: Send + 'static> Batcher<Q, A> {
    /// Hands batches of up to `max` calls to `run`, of which up to `in_flight` may be under way at once.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn new<F, Fut>(max: usize, in_flight: usize, run: F) -> Self
    where
        F: Fn(Vec<Q>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<A>> + Send + 'static,
    {
        let run: Arc<Run<Q, A>> = Arc::new(move |batch| Box::pin(run(batch)));
        let (calls, mut queue) = mpsc::unbounded_channel::<(Q, oneshot::Sender<A>)>();
        tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(in_flight));
            while let Some(first) = queue.recv().await {
                let Ok(place) = places.clone().acquire_owned().await else { return };
                let (mut batch, mut answers) = (vec![first.0], vec![first.1]);
                while batch.len() < max
                    && let Ok((call, answer)) = queue.try_recv()
                {
                    batch.push(call);
                    answers.push(answer);
                }
                let run = run.clone();
                tokio::spawn(async move {
                    for (result, answer) in run(batch).await.into_iter().zip(answers) {
                        // Nobody waits any more when the caller was dropped.
                        let _ = answer.send(result);
                    }
                    drop(place);
                });
            }
        });
        Self { calls }
    }

    /// Makes one call as part of a batch. `None` when the runtime is going down.
    pub(crate) async fn call(&self, call: Q) -> Option<A> {
        let (answer, result) = oneshot::channel();
        self.calls.send((call, answer)).ok()?;
        result.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn calls_that_come_meanwhile_share_a_batch() {
        let batches = Arc::new(AtomicUsize::new(0));
        let counter = batches.clone();
        let gate = Arc::new(Semaphore::new(0));
        let hold = gate.clone();
        let batcher: Batcher<u32, u32> = Batcher::new(1_000, 1, move |batch: Vec<u32>| {
            counter.fetch_add(1, Ordering::SeqCst);
            let hold = hold.clone();
            async move {
                hold.acquire().await.expect("open").forget();
                batch.into_iter().map(|n| n * 2).collect()
            }
        });
        let calls = futures::future::join_all((0..100).map(|n| batcher.call(n)));
        gate.add_permits(100);
        let answers = calls.await;
        assert_eq!(answers[99], Some(198));
        assert!(batches.load(Ordering::SeqCst) <= 2, "{}", batches.load(Ordering::SeqCst));
    }
}
