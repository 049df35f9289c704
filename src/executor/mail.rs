//! Messages for runs in memory: fetched when the store says so, and by a slow poll.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::commit::pause;
use super::engine::Engine;

/// The most messages of one look.
const MAX_MAIL: usize = 5_000;

/// Fetches mail until the executor closes.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut delay = Duration::from_millis(10);
    loop {
        let told = wait(&engine).await;
        if engine.closing() {
            return;
        }
        // Who is told of mail owns a run, though perhaps the answer to the claim that made it so is still on its way.
        if !told && engine.shared.resident.load(Ordering::Acquire) == 0 {
            continue;
        }
        match engine.shared.env.store.mail(engine.life.executor(), MAX_MAIL).await {
            Ok(mail) => {
                delay = Duration::from_millis(10);
                if mail.len() == MAX_MAIL {
                    // The rest comes once these are consumed.
                    engine.shared.letters.notify_one();
                    pause(&mut Duration::from_millis(5)).await;
                }
                engine.shared.mail(mail);
            }
            Err(error) => {
                tracing::warn!(%error, code = error.code(), "fetching mail failed");
                pause(&mut delay).await;
                engine.shared.letters.notify_one();
            }
        }
    }
}

/// Until it is time to look. Returns whether somebody said so.
#[expect(clippy::disallowed_methods, reason = "the poll that is the truth when every wake-up is lost")]
async fn wait(engine: &Engine) -> bool {
    tokio::select! {
        biased;
        () = engine.shared.letters.notified() => true,
        () = tokio::time::sleep(engine.poll) => false,
        () = engine.closed() => false,
    }
}
