//! The progress bar. Where standard error is no terminal, there is none.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::walk::Host;

/// Shows the counters of `host` until it is dropped. Never ends by itself.
pub async fn show(host: Host) {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} [{wide_bar}] {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let _clear = Clear(bar.clone());
    let (begun, before) = (Instant::now(), host.bytes.load(Ordering::Relaxed));
    loop {
        let (files, listed) = (host.files.load(Ordering::Relaxed), host.listed.load(Ordering::Relaxed));
        let bytes = host.bytes.load(Ordering::Relaxed);
        let rate = (bytes - before) as f64 / begun.elapsed().as_secs_f64().max(0.001);
        bar.set_length(listed.max(files));
        bar.set_position(files);
        bar.set_message(format!(
            "{} of {} files, {}, {}/s",
            HumanCount(files),
            HumanCount(listed.max(files)),
            HumanBytes(bytes),
            HumanBytes(rate as u64)
        ));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

struct Clear(ProgressBar);

impl Drop for Clear {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
