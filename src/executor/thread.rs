//! What a driver lives in: a thread, or in a simulation a task of the one thread that there is.
//!
//! Runs never leave their thread, so workflows needn't be `Send`. The thread has a small runtime of its own, for what it
//! waits for itself: messages, the clock, and the commits of lone turns. It isn't entered while workflows are polled, so
//! that whatever needs a tokio context outside of a step is noticed; a task has one always, so there it isn't.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::driver::Driver;
use super::shared::{Msg, Shared};

/// Starts a driver as a thread.
pub(crate) fn start_thread(index: usize, shared: Arc<Shared>) -> std::io::Result<UnboundedSender<Msg>> {
    let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("workflow-{index}")).spawn(move || {
        let mut driver = Driver::new(index, shared);
        loop {
            let first = runtime.block_on(driver.next(&mut messages));
            if driver.pass(first, &mut messages).is_break() {
                break;
            }
        }
        // Its connection belongs to the runtime.
        runtime.block_on(async { drop(driver) });
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
