//! Calls fail at random, by seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::{self, StreamExt};
use workflow::MemoryStore;

use crate::faulty::{Error, Faults, Verdict};
use crate::workload;

const SEEDS: u64 = 24;

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// One call in twenty fails.
fn judge(seed: u64) -> impl Fn() -> Verdict {
    let calls = AtomicU64::new(seed << 32);
    move || match mix(calls.fetch_add(1, Ordering::Relaxed)) % 80 {
        0 => Verdict::Before(Error::Unavailable),
        1 => Verdict::Before(Error::Contention),
        2 => Verdict::Before(Error::Unknown),
        3 => Verdict::After(Error::Unknown),
        _ => Verdict::Pass,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_at_random_change_no_result() {
    let runs = stream::iter(0..SEEDS).map(|seed| async move {
        let memory = MemoryStore::default();
        let judge = judge(seed);
        let faulty = Faults::around(Arc::new(memory.clone()), move |_| judge());
        workload::run(&format!("seed {seed}"), faulty, &memory).await;
    });
    runs.buffer_unordered(8).collect::<()>().await;
}
