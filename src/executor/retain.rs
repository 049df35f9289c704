//! Retention: deletes what has outlived its time, in bounded sweeps.

use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;

/// The most rows of one sweep.
const MAX_SWEEP: usize = 1_000;

/// Sweeps every `interval`, and again at once while there is more.
#[expect(clippy::disallowed_methods, reason = "the sweep's interval")]
pub(crate) async fn run(engine: Arc<Engine>, interval: Duration) {
    loop {
        tokio::select! {
            biased;
            () = engine.closed() => return,
            () = tokio::time::sleep(interval) => {}
        }
        loop {
            match engine.shared.env.store.sweep(MAX_SWEEP).await {
                Ok(swept) => {
                    if swept.runs + swept.events > 0 {
                        tracing::debug!(runs = swept.runs, events = swept.events, "swept");
                    }
                    if !swept.more || engine.closing() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, code = error.code(), "sweeping failed");
                    break;
                }
            }
        }
    }
}
