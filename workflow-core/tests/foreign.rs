//! Futures that aren't journaled: each is caught as early as it can be known, with its line where that can be known.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use serde_json::json;
use support::{Run, State};
use workflow_core::Ctx;

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
