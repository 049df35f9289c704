//! `underway`: jobs as a queue of tasks, one for each step, in Postgres.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError};
use std::time::Duration;

use jiff::Span;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, oneshot};
use underway::{Job, Queue, Task, To, task};

use super::postgres::count;
use crate::rival::{Recorded, Rival, Site, Workload};
use crate::{Result, gauge};

/// A job has no result: who waits for one is told by its last step.
static ENDS: LazyLock<std::sync::Mutex<HashMap<u64, oneshot::Sender<()>>>> = LazyLock::new(Default::default);

/// The jobs, one for each number of steps, built when it is first asked for.
pub struct Underway {
    url: String,
    pool: PgPool,
    jobs: Mutex<HashMap<u32, Arc<Job<u64, ()>>>>,
    next: AtomicU64,
    tuned: Tuned,
}

#[derive(Clone, Copy)]
struct Tuned {
    pool: u32,
    workers: usize,
    concurrency: usize,
    poll_ms: i64,
}

fn tuned(site: &Site) -> Tuned {
    Tuned {
        pool: site.setting("pool", 40),
        workers: site.setting("workers", 1),
        concurrency: site.setting("concurrency", 16),
        poll_ms: site.setting("poll_ms", 10),
    }
}

async fn job(pool: &PgPool, steps: u32) -> Result<Job<u64, ()>> {
    // As many steps as are asked for, one at least: a job without steps can't be built.
    let last = |_, run: u64| async move {
        gauge::step();
        if let Some(end) = ENDS.lock().unwrap_or_else(PoisonError::into_inner).remove(&run) {
            let _ = end.send(());
        }
        To::done()
    };
    let name = format!("steps-{steps}");
    let builder = Job::<u64, ()>::builder();
    if steps <= 1 {
        return Ok(builder.step(last).name(name).pool(pool.clone()).build().await?);
    }
    let step = |_, run: u64| async move {
        gauge::step();
        To::next(run)
    };
    let mut builder = builder.step(step);
    for _ in 2..steps {
        builder = builder.step(step);
    }
    Ok(builder.step(last).name(name).pool(pool.clone()).build().await?)
}

/// For what is enqueued and not executed.
struct Plain;

impl Task for Plain {
    type Input = u32;
    type Output = ();

    async fn execute(&self, _: sqlx::Transaction<'_, sqlx::Postgres>, _: u32) -> task::Result<()> {
        Ok(())
    }
}

impl Rival for Underway {
    const NAME: &'static str = "underway";
    const CRATES: &'static [&'static str] = &["underway"];
    const WORKLOADS: &'static [Workload] = &[Workload::W1, Workload::W2, Workload::W3, Workload::W3b, Workload::W15];

    fn best_in_flight(_workload: Workload) -> usize {
        64
    }

    fn settings(site: &Site) -> Value {
        let Tuned { pool, workers, concurrency, poll_ms } = tuned(site);
        json!({
            "pool": pool,
            "workers": workers,
            "concurrency_limit": concurrency,
            "poll_ms": poll_ms,
            "result": "told by the last step before it commits: a job has none",
        })
    }

    async fn open(site: &Site) -> Result<Self> {
        let tuned = tuned(site);
        let pool = PgPoolOptions::new().max_connections(tuned.pool).connect(&site.url).await?;
        // Its future isn't `Send` for every lifetime, which this one has to be.
        let migrated = || Handle::current().block_on(underway::run_migrations(&pool));
        tokio::task::block_in_place(migrated)?;
        Ok(Self { url: site.url.clone(), pool, jobs: Mutex::default(), next: AtomicU64::new(0), tuned })
    }

    async fn run(&self, steps: u32) -> Result<u32> {
        let run = self.next.fetch_add(1, Ordering::Relaxed);
        let (end, ended) = oneshot::channel();
        ENDS.lock().unwrap_or_else(PoisonError::into_inner).insert(run, end);
        self.job(steps).await?.enqueue(&run).await?;
        ended.await?;
        Ok(steps)
    }

    async fn enqueue(&self, runs: u32) -> Result<()> {
        let queue: Queue<Plain> = Queue::builder().name("plain").pool(self.pool.clone()).build().await?;
        let inputs: Vec<u32> = (0..runs).collect();
        let enqueued = queue.enqueue_multi(&self.pool, &Plain, &inputs).await?;
        if enqueued == runs as usize { Ok(()) } else { Err(format!("{enqueued} of {runs} are enqueued").into()) }
    }

    async fn recorded(&self) -> Result<Option<Recorded>> {
        // What has told of its end is committed by then.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ended = "SELECT count(*) FROM underway.task WHERE state = 'succeeded' AND (input ->> 'step_index')::int + 1
            = greatest(substring(task_queue_name FROM 'steps-([0-9]+)')::int, 1)";
        let runs = count(&self.url, ended).await?;
        let steps = count(&self.url, "SELECT count(*) FROM underway.task WHERE state = 'succeeded'").await?;
        Ok(Some(Recorded { runs, steps: Some(steps) }))
    }
}

impl Underway {
    /// The job that enqueues. The one that executes is another, since a job remembers which step it has run last and
    /// would enqueue the next run at that one.
    async fn job(&self, steps: u32) -> Result<Arc<Job<u64, ()>>> {
        let mut jobs = self.jobs.lock().await;
        if let Some(job) = jobs.get(&steps) {
            return Ok(Arc::clone(job));
        }
        let enqueues = Arc::new(job(&self.pool, steps).await?);
        let executes = job(&self.pool, steps).await?;
        for _ in 0..self.tuned.workers {
            let mut worker = executes.worker();
            worker.set_concurrency_limit(self.tuned.concurrency);
            let poll = Span::new().milliseconds(self.tuned.poll_ms);
            tokio::spawn(async move {
                if let Err(error) = worker.run_every(poll).await {
                    eprintln!("underway: a worker ended: {error}");
                }
            });
        }
        jobs.insert(steps, Arc::clone(&enqueues));
        Ok(enqueues)
    }
}
