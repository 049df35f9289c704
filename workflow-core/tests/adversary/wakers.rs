//! Wakers that are kept, called late or from elsewhere.

use super::*;

thread_local! {
    static AT_DROP: RefCell<Vec<Box<dyn FnOnce()>>> = const { RefCell::new(Vec::new()) };
}

/// A waker of the user's: it does things when it is dropped, and panics when it is woken.
struct Noisy {
    parent: Waker,
    panics: bool,
}

impl Wake for Noisy {
    fn wake(self: Arc<Self>) {
        self.parent.wake_by_ref();
        assert!(!self.panics, "a waker that panics");
    }
}

impl Drop for Noisy {
    fn drop(&mut self) {
        let action = AT_DROP.with_borrow_mut(Vec::pop);
        action.into_iter().for_each(|action| action());
    }
}

/// Polls with a new noisy waker each time.
struct Noise<F>(F, bool);

impl<F: Future + Unpin> Future for Noise<F> {
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let panics = self.1;
        let waker = Waker::from(Arc::new(Noisy { parent: cx.waker().clone(), panics }));
        Pin::new(&mut self.0).poll(&mut Context::from_waker(&waker))
    }
}

#[test]
fn a_waker_may_do_what_it_wants_when_it_is_dropped() {
    let mut run = Run::new(|ctx| async move {
        for round in 0..6 {
            let other = ctx.clone();
            // Dropping operations, making them and asking the context all touch the machine's table.
            let held = RefCell::new(Some(ctx.sleep(HOUR)));
            AT_DROP.with_borrow_mut(|actions| {
                actions.push(Box::new(move || {
                    held.borrow_mut().take();
                    let _ = other.random();
                    drop(other.sleep(HOUR));
                }));
            });
            match round % 3 {
                0 => drop(Noise(ctx.step("a", async || Ok(1)), false).await?),
                1 => Noise(ctx.sleep(Duration::from_secs(1)), false).await?,
                _ => {
                    let losing = Noise(ctx.wait_for_event::<u32>("e"), false);
                    let _ = select(losing, Noise(ctx.sleep(Duration::from_secs(1)), false)).await;
                }
            }
        }
        Ok(json!(null))
    });
    run.finish().expect("ends well");
    AT_DROP.take();
}

#[test]
fn a_waker_that_panics_is_survived() {
    let mut run = Run::new(|ctx| async move {
        let value = Noise(ctx.step("a", async || Ok(1)), true).await?;
        Noise(ctx.sleep(Duration::from_secs(1)), true).await?;
        Ok(json!(value))
    });
    assert_eq!(run.finish().expect("ends well"), json!(1));
}
