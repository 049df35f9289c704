//! What the clients want done: one kind of run each, over and over.

use std::sync::Arc;

use tokio::task::JoinSet;
use workflow::{Client, RunHandle};

use crate::AnyError;
use crate::caller::Caller;
use crate::database::ACCOUNTS;
use crate::faults;
use crate::field::Field;
use crate::options::{Class, Kind};
use crate::rng::Rng;
use crate::setup::CANARY;
use crate::work::{
    self, Drag, Endless, Fan, Haul, Naps, Order, Ring, Transfer, Wait, drag, endless, fan, haul, order, release,
    release_2, ringer, squeeze, timer, waiter,
};

/// How many clients of each kind there are.
const CLIENTS: [(&str, u32); 10] = [
    ("order", 36),
    ("haul", 12),
    ("drag", 4),
    ("transfer", 30),
    ("timer", 10),
    ("event", 10),
    ("fan", 10),
    ("cancel", 8),
    ("release", 8),
    ("squeeze", 4),
];

/// Begins all clients. Each ends its round when the field is stopped.
pub async fn begin(field: &Arc<Field>) -> Result<JoinSet<()>, AnyError> {
    let mut clients = Vec::new();
    if field.lines.is_empty() {
        clients.push(Client::new(field.place.open(&field.place.url(), 4).await?));
    }
    for line in &field.lines {
        clients.push(Client::new(field.place.open(&field.place.url_over(line.port), 6).await?));
    }
    let mut tasks = JoinSet::new();
    for (kind, count) in CLIENTS {
        // Whoever takes a dead executor's runs over waits for its commits: then recovery isn't the engine's time alone.
        if kind == "drag" && !(field.options.has(Class::F3) && field.options.store == Kind::Postgres) {
            continue;
        }
        // A late write of a frozen executor is only seen where whoever has the run by then hasn't come as far.
        let hauls_only = field.options.until_violation && faults::only_freezes(field);
        if hauls_only && kind != "haul" {
            continue;
        }
        let count = if hauls_only { 2 * count } else { count };
        // A file has one writer.
        let count = if field.options.store == Kind::Sqlite { count.div_ceil(3) } else { count };
        for n in 0..count {
            let client = clients[n as usize % clients.len()].clone();
            let caller = Caller::new(field.clone(), client, format!("{kind}-{n}"));
            tasks.spawn(rounds(kind, caller));
        }
    }
    Ok(tasks)
}

async fn rounds(kind: &'static str, mut caller: Caller) {
    while !caller.done() {
        match kind {
            "order" => orders(&mut caller).await,
            "haul" => hauls(&mut caller).await,
            "drag" => drags(&mut caller).await,
            "transfer" => transfers(&mut caller).await,
            "timer" => timers(&mut caller).await,
            "event" => events(&mut caller).await,
            "fan" => fans(&mut caller).await,
            "squeeze" => squeezes(&mut caller).await,
            "cancel" => cancels(&mut caller).await,
            _ => releases(&mut caller).await,
        }
    }
}

/// How long a body takes: some are in the middle of something when their process dies.
fn body(rng: &mut Rng) -> u64 {
    if rng.chance(20) { 100 + rng.below(300) } else { rng.below(25) }
}

async fn orders(caller: &mut Caller) {
    let id = caller.id();
    let input = Order {
        number: caller.rng.next() >> 12,
        items: 1 + u32::try_from(caller.rng.below(3)).unwrap_or(0),
        flaky: if caller.rng.chance(25) { 1 + u32::from(caller.rng.chance(40)) } else { 0 },
        millis: body(&mut caller.rng),
        card: CANARY.to_owned(),
    };
    let run = caller.invoke(order, &input, &id, true).await;
    if caller.rng.chance(8) {
        caller.invoke_again(order, &input, &id, false).await;
    }
    let Some(run) = run else { return };
    if caller.rng.chance(5) {
        let other = Order { number: input.number + 1, ..input.clone() };
        caller.invoke_again(order, &other, &id, true).await;
    }
    caller.ended(&run).await;
    if caller.rng.chance(5) {
        caller.invoke_again(order, &input, &id, false).await;
        caller.status(run.id()).await;
    }
}

async fn hauls(caller: &mut Caller) {
    let id = caller.id();
    let input = Haul {
        loads: 10 + u32::try_from(caller.rng.below(30)).unwrap_or(0),
        again_millis: 2_000 + caller.rng.below(3_000),
    };
    if let Some(run) = caller.invoke(haul, &input, &id, true).await {
        caller.ended(&run).await;
    }
}

async fn drags(caller: &mut Caller) {
    let id = caller.id();
    let input = Drag { millis: 100 + i32::try_from(caller.rng.below(900)).unwrap_or(0) };
    if let Some(run) = caller.invoke(drag, &input, &id, true).await {
        caller.ended(&run).await;
    }
}

async fn transfers(caller: &mut Caller) {
    let id = caller.id();
    let rng = &mut caller.rng;
    let mut account = || i64::try_from(rng.below(ACCOUNTS.unsigned_abs())).unwrap_or(0) + 1;
    let (from, to) = (account(), account());
    let amount = i64::try_from(rng.below(20)).unwrap_or(0) + 1;
    let (refused, millis) = (rng.chance(20), body(rng));
    // Some are frozen with a transaction open.
    let open_millis = if rng.chance(20) { 20 + rng.below(60) } else { 0 };
    let input = Transfer { number: caller.number(), from, to, amount, refused, millis, open_millis };
    if caller.field.options.store == Kind::Postgres {
        if let Some(run) = caller.invoke(work::transfer_pg, &input, &id, true).await {
            caller.ended(&run).await;
        }
    } else if let Some(run) = caller.invoke(work::transfer_sqlite, &input, &id, true).await {
        caller.ended(&run).await;
    }
}

async fn timers(caller: &mut Caller) {
    let id = caller.id();
    let count = 1 + caller.rng.below(3);
    // Some are shorter than the linger time, and some longer.
    let millis =
        (0..count).map(|_| if caller.rng.chance(60) { caller.rng.below(300) } else { 700 + caller.rng.below(1_500) });
    let input = Naps { millis: millis.collect() };
    if let Some(run) = caller.invoke(timer, &input, &id, true).await {
        caller.ended(&run).await;
    }
}

/// Waiters before and after the events; the last event comes from within a run.
async fn events(caller: &mut Caller) {
    let key = caller.id();
    // Few events for many, or many for the same: then one is taken in while the next ones come.
    let many = if caller.rng.chance(40) { 6 + caller.rng.below(10) } else { 1 + caller.rng.below(2) };
    let count = u32::try_from(many).unwrap_or(1);
    let input = Wait { key: key.clone(), count };
    let mut runs: Vec<RunHandle<_>> = Vec::new();
    let (early, late) = (2 + caller.rng.below(4), 1 + caller.rng.below(3));
    for _ in 0..early {
        let id = caller.id();
        runs.extend(caller.invoke(waiter, &input, &id, false).await);
    }
    caller.rest_for(0, 150).await;
    for _ in 1..count {
        caller.emit(&key).await;
        caller.rest_for(0, 30).await;
    }
    if caller.rng.chance(50) {
        let id = caller.id();
        let ring = caller.invoke(ringer, &Ring { key: key.clone() }, &id, false).await;
        for _ in 0..late {
            let id = caller.id();
            runs.extend(caller.invoke(waiter, &input, &id, false).await);
        }
        if let Some(ring) = ring {
            caller.ended(&ring).await;
        }
    } else {
        caller.emit(&key).await;
        for _ in 0..late {
            let id = caller.id();
            runs.extend(caller.invoke(waiter, &input, &id, false).await);
        }
    }
    for run in runs {
        caller.ended(&run).await;
    }
}

async fn fans(caller: &mut Caller) {
    let id = caller.id();
    let children = 2 + u32::try_from(caller.rng.below(20)).unwrap_or(0);
    let input = Fan { children, bad: 4, millis: body(&mut caller.rng) };
    if let Some(run) = caller.invoke(fan, &input, &id, true).await {
        caller.ended(&run).await;
    }
}

async fn squeezes(caller: &mut Caller) {
    let mut runs = Vec::new();
    for _ in 0..6 {
        let (id, millis) = (caller.id(), 5 + caller.rng.below(20));
        runs.extend(caller.invoke(squeeze, &millis, &id, true).await);
    }
    for run in runs {
        caller.ended(&run).await;
    }
}

async fn cancels(caller: &mut Caller) {
    let id = caller.id();
    let children = u32::try_from(caller.rng.below(4)).unwrap_or(0);
    let input = Endless { number: caller.number(), children };
    let Some(run) = caller.invoke(endless, &input, &id, false).await else { return };
    caller.rest_for(0, 400).await;
    caller.cancel(run.id()).await;
    caller.ended(&run).await;
}

async fn releases(caller: &mut Caller) {
    let (id, number) = (caller.id(), caller.number());
    let run = if caller.rng.chance(50) {
        caller.invoke(release, &number, &id, true).await
    } else {
        caller.invoke(release_2, &number, &id, true).await
    };
    if let Some(run) = run {
        caller.ended(&run).await;
    }
}
