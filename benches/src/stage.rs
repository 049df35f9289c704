//! One measurement: a process of its own, on a database of its own, so that memory and processor time are its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use workflow::{Builder, Executor, Queue, Store};

use crate::code::{self, Stamps};
use crate::cost::{Costs, Meter};
use crate::figure::Figures;
use crate::{AnyError, clock, server};

/// What a process of the program is to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Setup {
    pub workload: String,
    pub url: String,
    /// How long to measure, where that isn't given by the size.
    pub seconds: f64,
    pub in_flight: u64,
    pub size: u64,
    pub executors: u64,
    pub queues: u64,
    pub variant: String,
    /// Whether only the work matters, not the figures.
    pub smoke: bool,
}

/// What a measurement found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Measured {
    pub figures: Figures,
    /// What the costs are divided by.
    pub operations: f64,
    pub costs: Costs,
    pub settings: BTreeMap<String, String>,
    /// Plans of statements, for those who want to look.
    pub plans: BTreeMap<String, Vec<String>>,
}

impl Measured {
    pub fn figure(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }
}

/// A process that measures.
pub struct Stage {
    pub setup: Setup,
}

impl Stage {
    pub fn url(&self) -> &str {
        &self.setup.url
    }

    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.setup.seconds)
    }

    pub async fn store(&self) -> Result<Arc<dyn Store>, AnyError> {
        let store = workflow::connect(self.url()).await?;
        store.migrate().await?;
        Ok(store)
    }

    /// An executor that works on at least so many runs at once, and has `stamps` as its state.
    pub async fn builder(&self, runs: u64, stamps: &Stamps) -> Result<Builder, AnyError> {
        let runs = usize::try_from(runs)?;
        // A place is given back a moment after the caller knows of the end, and whoever finds none has to wait for a claim.
        let default = Queue::new("default").concurrency((runs * 2).max(1_000));
        // Above the most children of any workload.
        let limits = Executor::builder(self.store().await?).max_pending(20_000).max_children(20_000);
        Ok(limits
            .verify(false)
            .max_resident((runs * 2).max(10_000))
            .queue(default)
            .state(stamps.clone())
            .register(code::no_step)
            .register(code::one_step)
            .register(code::ten_steps)
            .register(code::serial_steps)
            .register(code::parent)
            .register(code::waits_for_own)
            .register(code::waits_for_all)
            .register(code::sleeper)
            .register(code::history)
            .register(code::long)
            .register(code::inserts))
    }

    /// An executor that works on at least so many runs at once.
    pub async fn executor(&self, runs: u64) -> Result<Executor, AnyError> {
        Ok(self.builder(runs, &Stamps::new(0)).await?.start().await?)
    }

    pub async fn meter(&self) -> Result<Meter, AnyError> {
        Meter::of(self.url()).await
    }

    /// Waits until so many runs are in this state.
    pub async fn until(
        &self,
        table: server::Table,
        condition: &str,
        expected: u64,
        limit: f64,
    ) -> Result<(), AnyError> {
        let began = Instant::now();
        let mut counter = server::Counter::of(self.url(), table, condition).await?;
        loop {
            let looked = Instant::now();
            let found = counter.count().await?;
            if found >= expected {
                return Ok(());
            }
            if began.elapsed().as_secs_f64() > limit {
                return Err(
                    format!("after {limit} s only {found} of {expected} rows of {table:?} have {condition}").into()
                );
            }
            // Counting many takes its time, and must not take it from what is measured.
            clock::pass(looked.elapsed().as_secs_f64().mul_add(20.0, 0.002)).await;
        }
    }
}
