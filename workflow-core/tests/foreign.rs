//! Futures that aren't journaled: each is caught as early as it can be known, with its line where that can be known,
//! and nothing that only goes on between the branches of a workflow is taken for one.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::json;
use support::{Closure, Run, State};
use workflow_core::{Ctx, Failure};

const HOUR: Duration = Duration::from_secs(3600);

type Foreign = fn() -> LocalBoxFuture<'static, ()>;

/// The message a run that awaits `foreign` is parked with by its first drive; with a durable wait beside it or not.
fn caught(foreign: Foreign, beside_a_wait: bool) -> String {
    let mut run = start(foreign, beside_a_wait);
    match run.go() {
        State::Parked(reason) => {
            assert_eq!(reason.code, "FOREIGN_AWAIT");
            assert!(run.journal.is_empty(), "something was recorded");
            reason.message
        }
        other => panic!("not caught: {other:?}"),
    }
}

fn start(foreign: Foreign, beside_a_wait: bool) -> Run {
    Run::new(move |ctx: Ctx| async move {
        if beside_a_wait {
            let (slept, ()) = futures::join!(ctx.sleep(HOUR), foreign());
            slept?;
        } else {
            foreign().await;
        }
        Ok(json!("came through"))
    })
}

/// Tokio's resources panic where there is no runtime: at the first poll, at the user's line, whatever is awaited too.
fn holds_at_once(foreign: Foreign, line: u32) {
    for beside_a_wait in [false, true] {
        let message = caught(foreign, beside_a_wait);
        let place = format!("tests/foreign.rs:{line}");
        assert!(message.contains(&place), "{place} isn't in: {message}");
        assert!(message.contains("wrap it in ctx.step"), "{message}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the mistake that is caught")]
fn tokio_sleep_is_caught_at_its_line() {
    holds_at_once(|| Box::pin(async { tokio::time::sleep(Duration::from_millis(1)).await }), line!());
}

#[test]
fn tokio_timeout_is_caught_at_its_line() {
    holds_at_once(
        || {
            Box::pin(async {
                let _ = tokio::time::timeout(HOUR, std::future::pending::<()>()).await;
            })
        },
        line!() - 3,
    );
}

#[test]
fn a_tokio_timeout_of_a_durable_operation_is_caught_at_its_line() {
    let line = line!() + 2;
    let mut run = Run::new(|ctx| async move {
        let slept = tokio::time::timeout(HOUR, ctx.sleep(HOUR)).await;
        Ok(json!(slept.is_ok()))
    });
    let State::Parked(reason) = run.go() else { panic!("caught") };
    assert!(reason.message.contains(&format!("tests/foreign.rs:{line}")), "{}", reason.message);
}

#[test]
fn tokio_spawn_is_caught_at_its_line() {
    holds_at_once(
        || {
            Box::pin(async {
                let task = tokio::spawn(async {});
                let _ = task.await;
            })
        },
        line!() - 4,
    );
}

#[test]
fn tokio_spawn_local_is_caught_at_its_line() {
    holds_at_once(
        || {
            Box::pin(async {
                let _ = tokio::task::spawn_local(async {}).await;
            })
        },
        line!() - 3,
    );
}

#[test]
fn tokio_spawn_blocking_is_caught_at_its_line() {
    holds_at_once(
        || {
            Box::pin(async {
                let _ = tokio::task::spawn_blocking(|| ()).await;
            })
        },
        line!() - 3,
    );
}

#[test]
fn a_tokio_socket_is_caught_at_its_line() {
    holds_at_once(
        || {
            Box::pin(async {
                let _ = tokio::net::TcpStream::connect("127.0.0.1:1").await;
            })
        },
        line!() - 3,
    );
}

#[test]
fn a_tokio_file_is_caught_at_its_line() {
    holds_at_once(
        || {
            Box::pin(async {
                let _ = tokio::fs::read("Cargo.toml").await;
            })
        },
        line!() - 3,
    );
}

fn another_runtimes_timer() -> LocalBoxFuture<'static, ()> {
    Box::pin(futures_timer::Delay::new(Duration::from_millis(200)))
}

fn never() -> LocalBoxFuture<'static, ()> {
    Box::pin(std::future::pending())
}

/// Answers that another thread gives, when it is told to.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<Vec<oneshot::Sender<()>>>>);

impl Answers {
    fn ask(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().expect("no panic holds it").push(sender);
        receiver
    }

    fn give(&self) {
        let answers = std::mem::take(&mut *self.0.lock().expect("no panic holds it"));
        let thread = std::thread::spawn(|| answers.into_iter().for_each(|answer| answer.send(()).unwrap_or_default()));
        thread.join().expect("doesn't panic");
    }
}

fn asks(answers: &Answers, beside_a_wait: bool) -> Run {
    let answers = answers.clone();
    Run::new(move |ctx| {
        let answers = answers.clone();
        async move {
            if beside_a_wait {
                let (slept, answer) = futures::join!(ctx.sleep(HOUR), answers.ask());
                slept?;
                answer?;
            } else {
                answers.ask().await?;
            }
            Ok(json!("came through"))
        }
    })
}

#[test]
fn what_no_operation_wakes_is_caught_at_the_first_poll() {
    for foreign in [another_runtimes_timer as Foreign, never] {
        let message = caught(foreign, false);
        assert!(message.contains("none of its operations is pending; it has come to no operation yet"), "{message}");
    }
    let State::Parked(reason) = asks(&Answers::default(), false).go() else { panic!("caught") };
    assert!(
        reason.message.contains("none of its operations is pending; it has come to no operation yet"),
        "{}",
        reason.message
    );
}

#[test]
fn what_is_awaited_after_an_operation_is_told_with_that_operation() {
    let line = line!() + 2;
    let mut run = Run::new(|ctx| async move {
        ctx.step("load", async || Ok(())).await?;
        std::future::pending::<()>().await;
        Ok(json!(null))
    });
    let State::Parked(reason) = run.go() else { panic!("caught") };
    assert!(
        reason.message.contains(&format!("its last operation was step load (workflow-core/tests/foreign.rs:{line})")),
        "{}",
        reason.message
    );
}

#[test]
fn beside_a_durable_wait_the_timer_of_another_runtime_is_caught_when_it_fires() {
    let mut run = start(another_runtimes_timer, true);
    assert!(matches!(run.go(), State::Blocked(Some(_))));
    run.notices.wait();
    let State::Parked(reason) = run.go() else { panic!("caught") };
    assert_eq!(reason.code, "FOREIGN_AWAIT");
    assert!(reason.message.contains("something that is no operation of its own woke it"), "{}", reason.message);
}

#[test]
fn beside_a_durable_wait_a_thread_is_caught_when_it_answers() {
    let answers = Answers::default();
    let mut run = asks(&answers, true);
    assert!(matches!(run.go(), State::Blocked(Some(_))));
    answers.give();
    let State::Parked(reason) = run.go() else { panic!("caught") };
    assert_eq!(reason.code, "FOREIGN_AWAIT");
}

#[test]
fn beside_a_durable_wait_what_nobody_wakes_is_caught_when_the_wait_is_over() {
    let mut run = start(never, true);
    let State::Blocked(Some(due)) = run.go() else { panic!("waits") };
    run.now = due;
    let State::Parked(reason) = run.go() else { panic!("caught") };
    assert_eq!(reason.code, "FOREIGN_AWAIT");
    assert!(
        reason.message.contains(
            "none of its operations is pending; its last operation was sleep (workflow-core/tests/foreign.rs:"
        ),
        "{}",
        reason.message
    );
}

#[test]
fn a_foreign_wake_up_is_caught_after_a_hang_up_as_well() {
    let answers = Answers::default();
    let mut run = asks(&answers, true);
    assert!(matches!(run.go(), State::Blocked(Some(_))));
    run.hang_up();
    answers.give();
    // That was for the future that is gone.
    assert!(matches!(run.go(), State::Blocked(Some(_))));
    answers.give();
    let State::Parked(reason) = run.go() else { panic!("caught") };
    assert_eq!(reason.code, "FOREIGN_AWAIT");
}

#[test]
fn beside_a_durable_wait_a_thread_that_never_answers_is_caught_when_the_wait_is_over() {
    let mut run = asks(&Answers::default(), true);
    let State::Blocked(Some(due)) = run.go() else { panic!("waits") };
    run.now = due;
    let State::Parked(reason) = run.go() else { panic!("caught") };
    assert_eq!(reason.code, "FOREIGN_AWAIT");
}

#[test]
fn another_run_on_the_same_thread_is_foreign() {
    let shared = Arc::new(tokio::sync::Notify::new());
    let theirs = shared.clone();
    let mut waiting = Run::new(move |ctx| {
        let shared = theirs.clone();
        async move {
            let (slept, ()) = futures::join!(ctx.sleep(HOUR), shared.notified());
            slept?;
            Ok(json!(null))
        }
    });
    assert!(matches!(waiting.go(), State::Blocked(_)));
    let mut waking = Run::new(move |_| {
        let shared = shared.clone();
        async move {
            shared.notify_waiters();
            Ok(json!(null))
        }
    });
    waking.finish().expect("ends well");
    waiting.notices.wait();
    let State::Parked(reason) = waiting.go() else { panic!("caught") };
    assert_eq!(reason.code, "FOREIGN_AWAIT");
}

#[test]
fn a_loop_that_only_yields_is_caught() {
    let mut run = Run::new(|ctx| async move {
        let mut slept = ctx.sleep(HOUR);
        loop {
            tokio::select! {
                biased;
                result = &mut slept => break Ok(json!(result?)),
                () = tokio::task::yield_now() => {}
            }
        }
    });
    let State::Parked(reason) = run.go() else { panic!("caught") };
    assert!(reason.message.contains("wakes itself again and again"), "{}", reason.message);
}

#[test]
fn a_panic_that_only_talks_about_timers_is_a_failure() {
    let mut run = Run::new(|_| async move { panic!("IO is disabled for this account, and timers are disabled too") });
    assert_eq!(run.finish().expect_err("panicked").code(), "PANICKED");
}

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

#[test]
fn mutexes_between_branches_raise_no_alarm() {
    no_alarm(|ctx| async move {
        let lock = tokio::sync::Mutex::new(0);
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
        let (a, b, c) = tokio::join!(branch("a"), branch("b"), branch("c"));
        for result in [a, b, c] {
            result?;
        }
        Ok(json!(*lock.lock().await))
    });
}

/// This mutex goes to whoever asks first, so the branches must be asked in an order that is always the same.
#[test]
fn an_unfair_mutex_between_branches_of_a_fixed_order_raises_no_alarm() {
    no_alarm(|ctx| async move {
        let lock = futures::lock::Mutex::new(0);
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
        let (a, b, c) = futures::join!(branch("a"), branch("b"), branch("c"));
        for result in [a, b, c] {
            result?;
        }
        Ok(json!(*lock.lock().await))
    });
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
