//! The client: invokes once, reads from anywhere, and refuses what can't be.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use workflow::prelude::*;
use workflow::{Client, Error, RunId, Status, Timestamp};

use crate::support::{Probe, on_every_database, on_every_store, soon};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    id: u64,
    #[serde(default)]
    cents: f64,
}

#[workflow]
async fn order(ctx: Ctx, placed: Order) -> Result<u64> {
    let probe = ctx.state::<Probe>();
    ctx.step("ship", async || {
        probe.note("ship");
        Ok(placed.id)
    })
    .await
}

#[workflow]
async fn orders(_ctx: Ctx, n: u64) -> Result<u64> {
    Ok(n)
}

#[workflow(name = "billing/invoice", version = 3, queue = "billing")]
async fn invoice(_ctx: Ctx, n: u64) -> Result<u64> {
    Ok(n + 100)
}

#[workflow]
async fn clock(ctx: Ctx) -> Result<Timestamp> {
    ctx.step("now", async || Ok(())).await?;
    Ok(ctx.now())
}

on_every_database! {
    async fn who_waits_for_a_result_is_told_when_the_store_is_shut_down(stage: Stage) {
        let store = stage.another().await;
        let run = Client::new(store.clone()).invoke(order, Order { id: 7, cents: 1.5 }).await.expect("invokes");
        let result = tokio::spawn(async move { run.result().await });
        store.shutdown().await;
        // An outage would be waited out for a minute.
        let told = tokio::time::timeout(Duration::from_secs(20), result).await.expect("told").expect("joined");
        assert_eq!(told.expect_err("nothing drives it").code(), "STORE_UNAVAILABLE");
    }
}

on_every_store! {
    async fn the_same_id_and_input_is_the_same_run(stage: Stage) {
        let executor = stage.executor().register(order).start().await.expect("starts");
        let client = executor.client();
        let input = Order { id: 7, cents: 1.5 };
        let calls = (0..20).map(|_| { let (client, input) = (client.clone(), input.clone());
            async move { client.invoke(order, input).id("order 7").await.expect("invokes").id() } });
        let mut ids = futures::future::join_all(calls).await;
        ids.push(stage.client().invoke(order, input).id("order 7").await.expect("attaches").id());
        ids.dedup();
        assert_eq!(ids.len(), 1);
        let run = client.find::<u64>("order 7").await.expect("finds");
        assert_eq!((run.id(), soon("result", run.result()).await.expect("completes")), (ids[0], 7));
        assert_eq!(stage.probe.count("ship"), 1);
        assert_eq!(run.status().await.expect("exists").invoke_id(), Some("order 7"));
    }

    async fn the_same_id_with_another_input_or_workflow_is_a_conflict(stage: Stage) {
        let client = stage.client();
        let run = client.invoke(order, Order { id: 7, cents: 1.0 }).id("taken").await.expect("invokes");
        let before = stage.picture().await;
        let other_input = client.invoke(order, Order { id: 8, cents: 1.0 }).id("taken").await.expect_err("conflicts");
        let other_workflow = client.invoke(orders, 7).id("taken").await.expect_err("conflicts");
        for error in [other_input, other_workflow] {
            assert_eq!(error.code(), "ID_CONFLICT");
            let told = error.to_string();
            assert!(told.contains("taken") && told.contains(&run.id().to_string()) && told.contains("use another id"), "{told}");
        }
        assert_eq!(stage.picture().await, before);
    }

    async fn a_delayed_run_is_not_early(stage: Stage) {
        let executor = stage.executor().register(order).start().await.expect("starts");
        let run = executor.client().invoke(order, Order { id: 1, cents: 0.0 }).delay(Duration::from_millis(400)).await.expect("invokes");
        soon("result", run.result()).await.expect("completes");
        let began = stage.journal(run.id()).await[0].recorded_at;
        assert!((began - run.status().await.expect("exists").created_at()).num_milliseconds() >= 400);
    }

    async fn many_are_all_or_nothing(stage: Stage) {
        let client = stage.client();
        client.invoke(orders, 1).id("b").await.expect("invokes");
        let before = stage.picture().await;
        let ids = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();

        let conflict = client.invoke_many(orders, [1, 2, 3]).ids(ids(&["a", "b", "c"])).await.expect_err("conflicts");
        assert!(matches!(&conflict, Error::Store(workflow::StoreError::Conflict { index: 1, id, .. }) if id == "b"), "{conflict:?}");
        let bad_id = client.invoke_many(orders, [1, 2, 3]).ids(ids(&["a", "c", "new\nline"])).await.expect_err("bad id");
        assert!(bad_id.to_string().contains("item 2") && bad_id.to_string().contains("'\\n'"), "{bad_id}");
        let too_few = client.invoke_many(orders, [1, 2, 3]).ids(ids(&["a"])).await.expect_err("too few ids");
        assert!(too_few.to_string().contains("1 ids were given for 3 inputs"), "{too_few}");
        let nan = client.invoke_many(order, [Order { id: 1, cents: 0.0 }, Order { id: 2, cents: f64::NAN }]).await.expect_err("NaN");
        assert!(nan.to_string().contains("item 1") && nan.to_string().contains("NaN"), "{nan}");
        assert_eq!(stage.picture().await, before);

        let runs = client.invoke_many(orders, 0..2_000).await.expect("invokes");
        assert_eq!(runs.len(), 2_000);
        assert!(client.invoke_many(orders, []).await.expect("is nothing").is_empty());
    }

    async fn an_unknown_name_is_told_with_its_neighbours(stage: Stage) {
        let executor = stage.executor().register(order).register(orders).register(invoice).register(clock).start().await.expect("starts");
        let before = stage.picture().await;
        let error = executor.client().invoke_named("oder", &1).await.expect_err("is unknown");
        assert_eq!(error.code(), "UNKNOWN_WORKFLOW");
        assert_eq!(error.to_string(), "there is no workflow \"oder\": did you mean order, orders, clock?");
        assert_eq!(stage.picture().await, before);
    }

    async fn a_name_finds_its_version_and_queue(stage: Stage) {
        let executor = stage.executor().register(invoice).start().await.expect("starts");
        let run = executor.client().invoke_named("billing/invoice", &1).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 101);
        let status = run.status().await.expect("exists");
        assert_eq!((status.version(), status.queue()), (3, "billing"));
    }

    async fn a_result_is_read_from_anywhere(stage: Stage) {
        let executor = stage.executor().register(order).start().await.expect("starts");
        let run = executor.client().invoke(order, Order { id: 5, cents: 0.0 }).id("far").await.expect("invokes");
        let far = workflow::Client::new(stage.another().await);
        assert_eq!(soon("result", far.find::<u64>("far").await.expect("finds").result()).await.expect("completes"), 5);
        assert_eq!(soon("result", far.handle::<u64>(run.id()).result()).await.expect("completes"), 5);
        let input: Order = far.status(run.id()).await.expect("exists").input().expect("decodes");
        assert_eq!(input.id, 5);
    }

    async fn an_output_of_another_type_is_told(stage: Stage) {
        let executor = stage.executor().register(orders).start().await.expect("starts");
        let run = executor.client().invoke(orders, 5).await.expect("invokes");
        let wrong = executor.client().handle::<Vec<String>>(run.id());
        let error = soon("result", wrong.result()).await.expect_err("is no list");
        assert_eq!(error.code(), "PAYLOAD");
        assert!(error.to_string().contains("expected a sequence"), "{error}");
    }

    async fn unknown_runs_are_told(stage: Stage) {
        let client = stage.client();
        let nobody = RunId::generate();
        for error in [
            client.status(nobody).await.expect_err("unknown"),
            client.resume(nobody).await.expect_err("unknown"),
            client.handle::<()>(nobody).result().await.expect_err("unknown"),
        ] {
            assert_eq!(error.code(), "NO_SUCH_RUN");
            assert!(error.to_string().contains(&nobody.to_string()), "{error}");
        }
        let error = client.find::<()>("nobody's").await.expect_err("unknown");
        assert!(error.to_string().contains("nobody's"), "{error}");
    }

    async fn lists_filter_and_page(stage: Stage) {
        let client = stage.client();
        client.invoke_many(orders, 0..25).await.expect("invokes");
        client.invoke(invoice, 1).await.expect("invokes");
        client.invoke(orders, 1).queue("slow").delay(Duration::from_secs(60)).await.expect("invokes");
        assert_eq!(client.list().workflow("orders").await.expect("lists").len(), 26);
        assert_eq!(client.list().queue("billing").await.expect("lists").len(), 1);
        assert_eq!(client.list().status(Status::Waiting).await.expect("lists").len(), 1);
        assert_eq!(client.list().status(Status::Waiting).status(Status::Ready).await.expect("lists").len(), 27);
        assert_eq!(client.list().status(Status::Parked).await.expect("lists").len(), 0);
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let list = client.list().workflow("orders").limit(10);
            let page = match before { Some(run) => list.before(run), None => list }.await.expect("lists");
            let Some(last) = page.last() else { break };
            before = Some(last.id());
            seen.extend(page.iter().map(|run| run.id()));
        }
        assert_eq!(seen.len(), 26);
        assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice");
    }

    async fn a_wait_for_a_result_may_be_dropped_and_repeated(stage: Stage) {
        let client = stage.client();
        let run = client.invoke(orders, 4).await.expect("invokes");
        for _ in 0..3 {
            let mut wait = Box::pin(run.result());
            assert!(futures::poll!(&mut wait).is_pending());
        }
        let _executor = stage.executor().register(orders).start().await.expect("starts");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 4);
    }

    async fn the_time_of_a_run_is_the_stores(stage: Stage) {
        let executor = stage.executor().register(clock).start().await.expect("starts");
        let run = executor.client().invoke(clock, ()).await.expect("invokes");
        let now = soon("result", run.result()).await.expect("completes");
        assert_eq!(now, stage.journal(run.id()).await[0].recorded_at);
        let status = run.status().await.expect("exists");
        assert!(status.created_at() <= now && now <= status.finished_at().expect("has ended"));
    }

    async fn a_client_outlives_its_executor(stage: Stage) {
        let executor = stage.executor().register(orders).start().await.expect("starts");
        let client = executor.client();
        executor.shutdown().await.expect("shuts down");
        let run = client.invoke(orders, 3).await.expect("invokes");
        assert_eq!(run.status().await.expect("exists").status(), Status::Ready);
        let _next = stage.executor().register(orders).start().await.expect("starts");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 3);
    }
}
