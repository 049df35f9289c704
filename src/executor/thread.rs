//! What a driver lives in: a thread, or in a simulation a task of the one thread that there is.
//!
//! Runs never leave their thread, so workflows needn't be `Send`. The thread has no tokio context, so that whatever
//! needs one outside of a step is noticed; a task has, so there it isn't.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use tokio::sync::mpsc::UnboundedReceiver;

use super::driver::Driver;
use super::shared::{Msg, Sender, Shared};

/// Starts a driver as a thread.
pub(crate) fn start_thread(index: usize, shared: Arc<Shared>) -> std::io::Result<Sender> {
    let (sender, messages) = std::sync::mpsc::channel();
    let name = format!("workflow-{index}");
    std::thread::Builder::new().name(name).spawn(move || block(Driver::new(index, shared), &messages))?;
    Ok(Sender::Thread(sender))
}

/// Starts a driver as a task of this thread's `LocalSet`.
pub(crate) fn start_task(index: usize, shared: Arc<Shared>) -> std::io::Result<Sender> {
    let (sender, messages) = tokio::sync::mpsc::unbounded_channel();
    tokio::task::spawn_local(wait(Driver::new(index, shared), messages));
    Ok(Sender::Task(sender))
}

/// The thread's life: one blocking look at the messages a pass.
fn block(mut driver: Driver, messages: &Receiver<Msg>) {
    loop {
        let first = match driver.next_deadline() {
            Some(wait) => match messages.recv_timeout(wait) {
                Ok(msg) => Some(msg),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            },
            None => match messages.recv() {
                Ok(msg) => Some(msg),
                Err(_) => return,
            },
        };
        if driver.pass(first, || messages.try_recv().ok()).is_break() {
            return;
        }
    }
}

/// The task's life.
#[expect(clippy::disallowed_methods, reason = "the deadline, where there is no thread to block")]
async fn wait(mut driver: Driver, mut messages: UnboundedReceiver<Msg>) {
    loop {
        let deadline = driver.next_deadline();
        let passed = async {
            match deadline {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let first = tokio::select! {
            biased;
            msg = messages.recv() => match msg {
                Some(msg) => Some(msg),
                None => return,
            },
            () = passed => None,
        };
        if driver.pass(first, || messages.try_recv().ok()).is_break() {
            return;
        }
    }
}
