//! Clients: they invoke, invoke again, emit, cancel and read.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use workflow::store::RunRecord;
use workflow::{Client, Error, RunHandle, StoreError};

use crate::interpret::{interpret, topic_name};
use crate::plan::Root;
use crate::program::{End, Program, Seen, TOPICS};
use crate::scenario::{Places, Stage, is_injected, pass};

/// How long a client waits for the answer of an executor that may be dead.
const ANSWER: Duration = Duration::from_secs(5);

/// Invokes a run, and does with it what the plan says.
pub(crate) async fn root(stage: Arc<Stage>, places: Places, outside: Client, root: Root) {
    pass(root.at_ms).await;
    let run = invoke(&stage, &places, &outside, &root).await;
    stage.invoked.fetch_add(1, Ordering::SeqCst);
    let Some(run) = run else { return };
    let id = run.id();
    stage.ledger.log("client", || format!("invoked {id} as root {}", root.program.name));
    // What was acknowledged is there, whoever looks.
    if let Err(Error::NoSuchRun(_)) = outside.status(id).await {
        stage.ledger.violation("I22", Some(id), "it was acknowledged, and isn't there".to_owned());
    }
    if root.twice {
        again(&stage, &outside, &root, &run).await;
    }
    if let Some(after) = root.cancel_after_ms {
        pass(after).await;
        cancel(&stage, &outside, &run).await;
    }
    loop {
        match run.result().await {
            Err(error) if is_injected(&error) => pass(50).await,
            Ok(_) | Err(Error::Failed { .. }) => return,
            Err(error) => return stage.ledger.violation("I24", Some(id), format!("its result is {error}")),
        }
    }
}

fn key(root: &Root) -> String {
    format!("root-{}", root.program.name)
}

async fn invoke(stage: &Stage, places: &Places, outside: &Client, root: &Root) -> Option<RunHandle<Seen>> {
    let mut through = match root.through.and_then(|place| places.get(place)) {
        // An executor that is being replaced has no client.
        Some(place) => place.try_lock().ok().and_then(|place| place.client.clone()),
        None => None,
    };
    loop {
        let client = through.take().unwrap_or_else(|| outside.clone());
        let mut invocation = client.invoke(interpret, root.program.clone()).id(key(root));
        if let Some(delay) = root.delay_ms {
            invocation = invocation.delay(Duration::from_millis(delay));
        }
        match tokio::time::timeout(ANSWER, invocation.into_future()).await {
            Ok(Ok(run)) => return Some(outside.handle(run.id())),
            Ok(Err(error)) if is_injected(&error) || matches!(error, Error::ShuttingDown) => {}
            Ok(Err(error)) => {
                stage.ledger.violation("I24", None, format!("root {} can't be invoked: {error}", root.program.name));
                return None;
            }
            Err(_) => {}
        }
        pass(10).await;
    }
}

/// The same id and input give the same run, another input an error.
async fn again(stage: &Stage, outside: &Client, root: &Root, run: &RunHandle<Seen>) {
    let id = run.id();
    loop {
        match outside.invoke(interpret, root.program.clone()).id(key(root)).await {
            Ok(same) if same.id() == id => break,
            Ok(other) => return stage.ledger.violation("I17", Some(id), format!("its id gave {} as well", other.id())),
            Err(error) if is_injected(&error) => pass(10).await,
            Err(error) => return stage.ledger.violation("I17", Some(id), format!("its id gave {error}")),
        }
    }
    let other = Program { name: u32::MAX, ..root.program.clone() };
    loop {
        match outside.invoke(interpret, other.clone()).id(key(root)).await {
            Err(Error::Store(StoreError::Conflict { existing, .. })) if existing == id => return,
            Err(error) if is_injected(&error) => pass(10).await,
            Err(error) => return stage.ledger.violation("I17", Some(id), format!("another input gave {error}")),
            Ok(run) => return stage.ledger.violation("I17", Some(id), format!("another input gave {}", run.id())),
        }
    }
}

async fn cancel(stage: &Stage, outside: &Client, run: &RunHandle<Seen>) {
    let id = run.id();
    stage.ledger.book().cancelled.insert(id);
    loop {
        match outside.cancel(id, "enough").await {
            Ok(()) | Err(Error::Ended { .. }) => return,
            Err(error) if is_injected(&error) => pass(10).await,
            Err(error) => return stage.ledger.violation("I24", Some(id), format!("it can't be cancelled: {error}")),
        }
    }
}

async fn emit(stage: &Stage, outside: &Client, topic: u8, value: u64) {
    loop {
        match outside.emit(&topic_name(topic), &value).await {
            Ok(()) => return stage.ledger.book().acknowledged.push((topic, value)),
            Err(error) if is_injected(&error) => pass(10).await,
            Err(error) => return stage.ledger.violation("I24", None, format!("an event can't be emitted: {error}")),
        }
    }
}

/// The events of the plan.
pub(crate) async fn events(stage: Arc<Stage>, outside: Client) {
    let all = stage.plan.events.iter().map(async |event| {
        pass(event.at_ms).await;
        emit(&stage, &outside, event.topic, event.value).await;
    });
    futures::future::join_all(all).await;
}

/// As many events of each topic as anybody can wait for, one after the other.
pub(crate) async fn last_events(stage: &Stage, outside: &Client) {
    for n in 0..stage.plan.waits() {
        for topic in 0..TOPICS {
            emit(stage, outside, topic, 2_000_000 + u64::from(n)).await;
        }
    }
}

/// Cancels runs from outside that end only so.
pub(crate) async fn end_the_endless(stage: &Stage, outside: &Client, open: &[RunRecord]) {
    for run in open.iter().filter(|run| run.parent.is_none()) {
        let program: Option<Program> = run.input.decode().ok();
        let asked = stage.ledger.book().cancelled.contains(&run.id);
        if program.is_some_and(|program| program.end == End::Never) && !asked {
            cancel(stage, outside, &outside.handle(run.id)).await;
        }
    }
}
