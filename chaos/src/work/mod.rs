//! What the executors run, and how its steps tell the ledger what they do.

mod cancels;
mod drags;
mod events;
mod fans;
mod hauls;
mod orders;
mod releases;
mod squeezes;
mod timers;
mod transfers;

pub use cancels::{Endless, endless};
pub use drags::{Drag, drag};
pub use events::{BELL, Bell, Ring, Wait, ringer, waiter};
pub use fans::{Fan, fan};
pub use hauls::{Haul, haul};
pub use orders::{Order, order};
pub use releases::{release, release_2};
pub use squeezes::{NARROW, squeeze};
pub use timers::{Naps, timer};
pub use transfers::{Transfer, transfer_pg, transfer_sqlite};

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use workflow::prelude::*;
use workflow::{Builder, Queue, StepCtx};
use workflow_checker::client::{Body, BodyStart, Client as Ledger};
use workflow_checker::record::{Record, Step};

/// What every step has at hand.
pub struct World {
    pub ledger: Ledger,
    /// The process's name.
    pub process: String,
    /// The database's clock; without, it is the machine's.
    pub clock: Option<PgPool>,
    /// A directory with a mark for each step that was begun, of those that want to know.
    pub marks: PathBuf,
}

/// What a step comes to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    /// The body whose outcome this is.
    pub body: u64,
}

/// What a body does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Work {
    pub millis: u64,
    /// How many attempts fail before one succeeds.
    pub fails: u32,
    /// Fails for good.
    pub refused: bool,
}

impl Work {
    /// So many milliseconds of it.
    pub fn of(millis: u64) -> Self {
        Self { millis, ..Self::default() }
    }
}

/// Registers what this build of the application has.
pub fn register(builder: Builder, build: u32, postgres: bool) -> Builder {
    let builder = builder
        .register(order)
        .register(haul)
        .register(timer)
        .register(waiter)
        .register(ringer)
        .register(fan)
        .register(fans::leaf)
        .register(endless)
        .register(cancels::dozer)
        .register(release)
        .register(squeeze)
        .queue(Queue::new(NARROW.0).concurrency(NARROW.1 as usize));
    let builder =
        if postgres { builder.register(transfer_pg).register(drag) } else { builder.register(transfer_sqlite) };
    if build >= 2 { builder.register(release_2) } else { builder }
}

impl World {
    pub async fn tell(&self, record: Record) -> Result<()> {
        self.ledger.append(record).await?;
        Ok(())
    }

    /// The time of the store's clock.
    pub async fn now(&self) -> Result<DateTime<Utc>> {
        match &self.clock {
            Some(pool) => Ok(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await?),
            None => Ok(Utc::now()),
        }
    }

    /// Whether this is asked for the first time, in any process. When nobody knows, it is.
    fn is_first(&self, key: &str) -> bool {
        let made = std::fs::create_dir_all(&self.marks).and_then(|()| std::fs::File::create_new(self.marks.join(key)));
        !made.is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists)
    }

    /// A transactional body begins.
    pub async fn begin(&self, run: RunId, transaction: &str) -> Result<Body> {
        let step = Step::transaction(run.0, transaction);
        // It isn't told its attempt and key.
        Ok(self.ledger.body(BodyStart { step, attempt: 0, key: String::new(), cleanup: false }).await?)
    }
}

/// Databases and networks come back: nothing is given up for them.
pub fn patient() -> RetryPolicy {
    RetryPolicy::exponential(Duration::from_millis(30)).cap(Duration::from_millis(400)).forever()
}

/// A body with everything around it that the ledger is told.
pub async fn body(step: &StepCtx, work: Work, cleanup: bool) -> Result<Done> {
    let world = step.state::<World>();
    let start = BodyStart {
        step: Step::new(step.run_id().0, step.step_name()),
        attempt: step.attempt(),
        key: step.idempotency_key(),
        cleanup,
    };
    let body = world.ledger.body(start).await?;
    println!("body");
    tokio::time::sleep(Duration::from_millis(work.millis)).await;
    if step.attempt() <= work.fails {
        body.end(false).await?;
        return Err(Failure::new(format!("attempt {} was to fail", step.attempt())));
    }
    if work.refused {
        body.end(false).await?;
        return Err(Failure::fatal("it was to be refused"));
    }
    body.effect("done").await?;
    body.end(true).await?;
    Ok(Done { body: body.id() })
}

/// A step with an effect.
pub async fn noted(ctx: &Ctx, name: &str, work: Work) -> Result<Done> {
    ctx.step_with(name, async |step| body(&step, work, false).await).retry(patient()).await
}

/// A step that tells the ledger something that the run saw.
pub async fn told(ctx: &Ctx, name: &str, record: Record) -> Result<Done> {
    ctx.step_with(name, async |step| {
        let done = body(&step, Work::default(), false).await?;
        step.state::<World>().tell(record.clone()).await?;
        Ok(done)
    })
    .retry(patient())
    .await
}
