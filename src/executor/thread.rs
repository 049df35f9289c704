//! What a driver lives in: a thread, or in a simulation a task of the one thread that there is.
//!
//! Runs never leave their thread, so workflows needn't be `Send`. The thread has a small runtime of its own, for what it
//! waits for itself: messages, the clock, and the commits of lone turns. It isn't entered while workflows are polled, so
//! that whatever needs a tokio context outside of a step is noticed; a task has one always, so there it isn't.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::driver::Driver;
use super::shared::{Msg, Shared};

/// Before a driver takes the place of one that panicked.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// Starts a driver as a thread. One that panics, which is a mistake of the engine's, takes its runs with it, and nobody would
/// ever drive what is sent to it: another takes its place, and the life ends as in a crash. So all runs are taken up anew, and
/// one that makes every driver panic is parked in the end.
pub(crate) fn start_thread(index: usize, shared: Arc<Shared>) -> std::io::Result<UnboundedSender<Msg>> {
    let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("workflow-{index}")).spawn(move || {
        loop {
            let mut driver = Driver::new(index, shared.clone());
            let drives = || {
                loop {
                    let first = runtime.block_on(driver.next(&mut messages));
                    if driver.pass(first, &mut messages).is_break() {
                        break;
                    }
                }
            };
            let driven = catch_unwind(AssertUnwindSafe(drives));
            // Its connection belongs to the runtime. What it has left may be what it panicked over.
            let _ = catch_unwind(AssertUnwindSafe(|| runtime.block_on(async { drop(driver) })));
            if driven.is_ok() {
                break;
            }
            tracing::error!(
                "a mistake in workflow itself: a driver has panicked, and all runs are taken up anew when the lease has run \
                 out; please report it"
            );
            shared.commits.crash();
            std::thread::sleep(AFTER_PANIC);
        }
    })?;
    Ok(sender)
}

/// Starts a driver as a task of this thread's `LocalSet`.
pub(crate) fn start_task(index: usize, shared: Arc<Shared>) -> std::io::Result<UnboundedSender<Msg>> {
    let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel();
    tokio::task::spawn_local(async move {
        let mut driver = Driver::new(index, shared);
        loop {
            let first = driver.next(&mut messages).await;
            if driver.pass(first, &mut messages).is_break() {
                return;
            }
        }
    });
    Ok(sender)
}
