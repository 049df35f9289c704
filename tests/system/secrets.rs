//! Payloads and passwords never show: not in a log at any level, not in what is printed of handles and options.

use workflow::prelude::*;
use workflow::{Failure, Status};

use crate::support::{BRIEF, Place, Stage, log, on_every_store, soon};

const SECRET: &str = "canary-4929-1813-3266-1295";

fn card() -> String {
    SECRET.to_owned()
}

#[workflow]
async fn pays(ctx: Ctx, card: String) -> Result<String> {
    let told: String = ctx.step("step", async || Ok(card.clone())).await?;
    ctx.step_with(
        "retried",
        async |step| {
            if step.attempt() < 3 { Err(Failure::new(format!("declined {card}"))) } else { Ok(()) }
        },
    )
    .retry(RetryPolicy::exponential(std::time::Duration::from_millis(1)))
    .await?;
    ctx.invoke(declines, card.clone()).await.expect_err("declines");
    let key = ctx.run_id().to_string();
    ctx.emit("charged", &card).key(&key).await?;
    let event: String = ctx.wait_for_event("charged").key(&key).await?;
    let from_outside: String = ctx.wait_for_event("more").key(&key).await?;
    assert_eq!((&told, &event), (&card, &from_outside));
    Ok(card)
}

#[workflow]
async fn declines(ctx: Ctx, card: String) -> Result<()> {
    ctx.step("declines", async || Err::<(), _>(Failure::fatal(format!("declined {card}")))).await
}

#[workflow]
async fn panics(_ctx: Ctx, card: String) -> Result<()> {
    panic!("no such card: {card}");
}

/// Can't read what it is given, and says so in its run, which is no log.
#[workflow]
async fn reads(_ctx: Ctx, _number: u64) -> Result<()> {
    Ok(())
}

on_every_store! {
    async fn payloads_never_show(stage: Stage) {
        log::collect();
        let builder = stage.executor().lease(BRIEF.0, BRIEF.1).linger(std::time::Duration::ZERO);
        let executor = builder.register(pays).register(declines).register(panics).register(reads).start().await.expect("starts");
        let client = executor.client();
        let run = client.invoke(pays, card()).id("order").await.expect("invokes");
        client.emit_to("more", &run.id().to_string(), &card()).await.expect("emits");
        assert_eq!(soon("result", run.result()).await.expect("completes"), SECRET);
        for name in ["declines", "panics"] {
            let run = client.invoke_named(name, &card()).await.expect("invokes");
            soon("result", run.result()).await.expect_err("fails");
        }
        let parked = client.invoke_named("reads", &card()).await.expect("invokes");
        stage.parked(&parked).await;
        // What refuses it, conflicts with it, is too large for it.
        client.invoke(pays, format!("{SECRET} again")).id("order").await.expect_err("conflicts");
        client.emit("large", &SECRET.repeat(100_000)).await.expect_err("is too large");
        client.status(run.id()).await.expect("exists").input::<u64>().expect_err("is text");
        parked.cancel(&format!("because of {SECRET}")).await.expect("cancels");
        stage.status(&parked, Status::Cancelled).await;
        let shown = format!("{executor:?} {client:?} {run:?} {:?} {:?}", client.list(), stage.executor());
        assert!(!shown.contains(SECRET), "{shown}");
        executor.shutdown().await.expect("shuts down");
        tracing::trace!("the log is collected to the end");
        assert!(!log::lines_with(&["TRACE", "collected to the end"]).is_empty());
        let leaks = log::lines_with(&[SECRET]);
        assert!(leaks.is_empty(), "{} lines, {:#?}", leaks.len(), leaks.first());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_never_show() {
    log::collect();
    let stage = Stage::postgres().await;
    let Place::Postgres(database) = &stage.place else { panic!("on Postgres") };
    let password = database.url().split("://").nth(1).and_then(|rest| rest.split('@').next());
    let (_, password) = password.and_then(|login| login.split_once(':')).expect("has a password");
    let executor = stage.executor().register(pays).register(declines).start().await.expect("starts");
    let client = executor.client();
    let run = client.invoke(pays, card()).await.expect("invokes");
    client.emit_to("more", &run.id().to_string(), &card()).await.expect("emits");
    soon("result", run.result()).await.expect("completes");
    let options = workflow::postgres::PgOptions::new(database.url());
    let mut shown = vec![format!("{:?} {client:?} {executor:?} {options:?}", stage.store)];
    for url in [
        database.url().replace("127.0.0.1", "127.0.0.1:1@127.0.0.1"),
        database.url().replace("127.0.0.1", "localhost.invalid"),
        database.url().replace("postgres://", "mysql://"),
        database.url().replace("postgres://", "postgres:"),
        format!("{}?sslmode=odd", database.url()),
        format!("{}?port=odd", database.url()),
        database.url().replace(database.name(), "nowhere"),
    ] {
        let error = workflow::connect(&url).await.expect_err("can't be used");
        shown.push(format!("{error} {error:?}"));
    }
    executor.shutdown().await.expect("shuts down");
    shown.extend(log::lines_with(&[]));
    let leak = shown.iter().find(|text| text.contains(password));
    assert!(leak.is_none(), "{leak:?}");
}
