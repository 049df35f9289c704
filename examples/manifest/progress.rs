//! The progress bar. Where standard error is no terminal, there is none.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::walk::Host;

/// Shows the counters of `host` until it is dropped. Never ends by itself.
pub async fn show(host: Host) {
    // An empty bar would be a full one.
    let bar = ProgressBar::new(1);
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} [{wide_bar}] {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let _clear = Clear(bar.clone());
    let (begun, before) = (Instant::now(), host.bytes.load(Ordering::Relaxed));
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (files, listed) = (host.files.load(Ordering::Relaxed), host.listed.load(Ordering::Relaxed));
        // Files that were listed before, or by another process, are hashed here, too.
        let (bytes, listed) = (host.bytes.load(Ordering::Relaxed), listed.max(files));
        let rate = (bytes - before) as f64 / begun.elapsed().as_secs_f64().max(0.001);
        bar.update(|state| {
            state.set_len(listed.max(1));
            state.set_pos(files);
        });
        bar.set_message(format!(
            "{} of {} files, {}, {}/s",
            HumanCount(files),
            HumanCount(listed),
            HumanBytes(bytes),
            HumanBytes(rate as u64)
        ));
    }
}

struct Clear(ProgressBar);

impl Drop for Clear {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
