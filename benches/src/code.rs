//! The workflows that are measured, and what they tell the measurement beside their journals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use workflow::postgres::TransactionExt as _;
use workflow::prelude::*;

use crate::clock::micros;

/// How many step bodies have run in this process.
static STEPS: AtomicU64 = AtomicU64::new(0);
/// How many runs of [`no_step`] have begun in this process.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// How many step bodies have run in this process.
pub fn steps() -> u64 {
    STEPS.load(Ordering::Relaxed)
}

/// How many runs of [`no_step`] have begun in this process.
pub fn begun() -> u64 {
    BEGUN.load(Ordering::Relaxed)
}

/// When things happened first, by their number: state of an executor. Clones are the same stamps.
#[derive(Clone)]
pub struct Stamps(Arc<[AtomicU64]>);

impl Stamps {
    pub fn new(count: u64) -> Self {
        Self((0..count).map(|_| AtomicU64::new(0)).collect())
    }

    /// It happens now, unless it has before.
    pub fn set(&self, index: u64) {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(slot) = self.0.get(index) {
            let _ = slot.compare_exchange(0, micros(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The instants; 0 for what hasn't happened.
    pub fn all(&self) -> Vec<u64> {
        self.0.iter().map(|slot| slot.load(Ordering::Relaxed)).collect()
    }

    /// How many have happened.
    pub fn count(&self) -> u64 {
        self.0.iter().filter(|slot| slot.load(Ordering::Relaxed) > 0).count() as u64
    }
}

/// Ends as soon as it begins.
#[workflow]
pub async fn no_step(_ctx: Ctx, n: u64) -> Result<u64> {
    BEGUN.fetch_add(1, Ordering::Relaxed);
    Ok(n)
}

/// Ten serial steps.
#[workflow]
pub async fn ten_steps(ctx: Ctx, n: u64) -> Result<u64> {
    let mut sum = n;
    for i in 0..10u64 {
        sum += ctx.step("one", || trivial(i)).await?;
    }
    Ok(sum)
}

/// One step, which says when it began.
#[workflow]
pub async fn one_step(ctx: Ctx, _n: u64) -> Result<u64> {
    ctx.step("one", || {
        let began = micros();
        trivial(began)
    })
    .await
}

/// So many serial steps, the beginning of each stamped.
#[workflow]
pub async fn serial_steps(ctx: Ctx, count: u64) -> Result<u64> {
    let stamps = ctx.state::<Stamps>();
    for i in 0..count {
        ctx.step("one", || {
            stamps.set(i);
            trivial(i)
        })
        .await?;
    }
    stamps.set(count);
    Ok(count)
}

/// So many children at once; the sum of what they return.
#[workflow]
pub async fn parent(ctx: Ctx, children: u64) -> Result<u64> {
    let all = (0..children).map(|n| ctx.invoke(no_step, n)).collect::<Vec<_>>();
    let results = futures::future::join_all(all).await;
    results.into_iter().sum()
}

/// Waits for the event `go` with its number as the key, and stamps that it goes on.
#[workflow]
pub async fn waits_for_own(ctx: Ctx, n: u64) -> Result<u64> {
    let sent = ctx.wait_for_event::<u64>("go").key(n.to_string()).await?;
    ctx.state::<Stamps>().set(n);
    Ok(sent)
}

/// Waits for the one event `go`, and stamps that it goes on.
#[workflow]
pub async fn waits_for_all(ctx: Ctx, n: u64) -> Result<u64> {
    let sent = ctx.wait_for_event::<u64>("go").await?;
    ctx.state::<Stamps>().set(n);
    Ok(sent)
}

/// Its number, and when it wakes in microseconds since 1970.
#[workflow]
pub async fn sleeper(ctx: Ctx, (n, due): (u64, i64)) -> Result<u64> {
    let due = workflow::Timestamp::from_timestamp_micros(due).ok_or_else(|| Failure::new("no such instant"))?;
    ctx.sleep_until(due).await?;
    ctx.state::<Stamps>().set(n);
    Ok(n)
}

/// So many steps, then a wait for an event with its name, and stamps that it goes on.
#[workflow]
pub async fn history(ctx: Ctx, (steps, name): (u64, String)) -> Result<u64> {
    let mut sum = 0;
    for i in 0..steps {
        sum += ctx.step("one", || trivial(i)).await?;
    }
    ctx.wait_for_event::<u64>("go").key(name).await?;
    ctx.state::<Stamps>().set(0);
    Ok(sum)
}

/// How many steps [`long`] has.
pub const LONG_STEPS: u64 = 10;

/// Steps of a second each; stamps when this process first began one of this run.
#[workflow]
pub async fn long(ctx: Ctx, n: u64) -> Result<u64> {
    let stamps = ctx.state::<Stamps>();
    for _ in 0..LONG_STEPS {
        ctx.step("second", || async {
            stamps.set(n);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(())
        })
        .await?;
    }
    Ok(n)
}

/// The row that [`inserts`] and the plain transaction insert.
pub const INSERT: &str = "INSERT INTO bench_row (n, note) VALUES ($1, $2)";

/// So many serial steps that insert a row each, together with their entries; the beginning of each stamped, from a number.
#[workflow]
pub async fn inserts(ctx: Ctx, (count, from): (u64, u64)) -> Result<u64> {
    let stamps = ctx.state::<Stamps>();
    for i in from..from + count {
        let number = i64::try_from(i).unwrap_or(i64::MAX);
        ctx.transaction("insert", async |tx| {
            stamps.set(i);
            sqlx::query(INSERT).bind(number).bind("a transactional step").execute(&mut **tx).await?;
            Ok(())
        })
        .await?;
    }
    stamps.set(from + count);
    Ok(count)
}

/// So many serial steps, and nothing else: to be replayed.
#[workflow]
pub async fn replayed(ctx: Ctx, count: u64) -> Result<u64> {
    let mut sum = 0;
    for i in 0..count {
        sum += ctx.step("one", || trivial(i)).await?;
    }
    Ok(sum)
}

async fn trivial(n: u64) -> Result<u64> {
    STEPS.fetch_add(1, Ordering::Relaxed);
    Ok(n)
}
