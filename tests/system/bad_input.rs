//! Bad input: a stable code, a message that names the value and the way out, nothing changed, and the next run works.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use workflow::prelude::*;
use workflow::{Error, Status};

use crate::support::{Stage, on_every_store, soon};

#[workflow]
async fn healthy(ctx: Ctx, n: u64) -> Result<u64> {
    ctx.step("add", async || Ok(n + 1)).await
}

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    price: u64,
}

#[workflow]
async fn shop(_ctx: Ctx, items: BTreeMap<String, Vec<Item>>) -> Result<usize> {
    Ok(items.len())
}

#[workflow]
async fn echo(ctx: Ctx, text: String) -> Result<String> {
    let said = ctx.step("echo", async || Ok(text.clone())).await?;
    let key = ctx.run_id().to_string();
    ctx.emit("echoed", &said).key(&key).await?;
    ctx.wait_for_event::<String>("echoed").key(&key).await
}

#[workflow]
async fn any(_ctx: Ctx, value: serde_json::Value) -> Result<serde_json::Value> {
    Ok(value)
}

#[workflow]
async fn pairs(_ctx: Ctx, _pairs: BTreeMap<(u8, u8), u8>) -> Result<()> {
    Ok(())
}

#[workflow]
async fn output(_ctx: Ctx, which: String) -> Result<serde_json::Value> {
    Ok(match which.as_str() {
        "deep" => nested(200),
        _ => serde_json::Value::String("x".repeat(3 << 20)),
    })
}

#[workflow]
async fn not_a_number(_ctx: Ctx) -> Result<f64> {
    Ok(f64::NAN)
}

mod twin {
    //! Another workflow of the same name.
    use super::*;
    #[workflow(name = "healthy")]
    pub async fn healthy(_ctx: Ctx, n: u64) -> Result<u64> {
        Ok(n)
    }
}

#[workflow]
async fn named(ctx: Ctx, name: String) -> Result<String> {
    let failure = match ctx.step(&name, async || Ok(1)).await {
        Ok(_) => return Ok("fine".into()),
        Err(failure) => failure,
    };
    let scoped = ctx.scope("x".repeat(150)).step(&"y".repeat(60), async || Ok(1)).await.expect_err("too long together");
    Ok(format!("{}: {failure}\n{}: {scoped}", failure.code(), scoped.code()))
}

#[workflow]
async fn crowd(ctx: Ctx, count: u64) -> Result<String> {
    let steps = (0..count).map(|n| ctx.step("one", async move || Ok(n)));
    let results = futures::future::join_all(steps.collect::<Vec<_>>()).await;
    let refused: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).collect();
    Ok(format!("{} refused: {}", refused.len(), refused.first().map(|f| f.to_string()).unwrap_or_default()))
}

#[workflow]
async fn chatty(ctx: Ctx, count: u64) -> Result<u64> {
    for n in 0..count {
        ctx.step("line", async || Ok(n)).await?;
    }
    Ok(count)
}

fn spawns() {
    drop(tokio::spawn(async {}));
}

#[workflow]
async fn spawner(ctx: Ctx) -> Result<()> {
    ctx.step("first", async || Ok(())).await?;
    spawns();
    Ok(())
}

/// Which code is deployed.
struct Deployed(&'static str);

#[workflow]
async fn changing(ctx: Ctx) -> Result<u64> {
    let code = ctx.state::<Deployed>().0;
    let one = async || Ok(1u64);
    if code == "added" {
        ctx.step("zero", one).await?;
    }
    if code == "reordered" {
        ctx.step("b", one).await?;
        ctx.step("a", one).await?;
    } else if code == "other kind" {
        ctx.sleep(Duration::ZERO).await?;
        ctx.step("b", one).await?;
    } else {
        ctx.step("a", one).await?;
        if code != "removed" {
            ctx.step("b", one).await?;
        }
    }
    let input = if code == "other input" { 8 } else { 7 };
    if code != "ended" {
        ctx.invoke(healthy, input).await?;
    }
    let key = if code == "other key" { "there" } else { "here" };
    if code != "ended" {
        ctx.wait_for_event::<u64>("go").key(key).await?;
    }
    Ok(1)
}

fn nested(levels: usize) -> serde_json::Value {
    (0..levels).fold(serde_json::Value::Null, |inner, _| serde_json::Value::Array(vec![inner]))
}

async fn assert_healthy(executor: &Executor) {
    let run = executor.client().invoke(healthy, 1).await.expect("invokes");
    assert_eq!(soon("result", run.result()).await.expect("completes"), 2);
}

/// The call is refused with this code and these words, and changes nothing.
async fn refused<T: std::fmt::Debug>(
    stage: &Stage,
    code: &str,
    words: &[&str],
    call: impl Future<Output = std::result::Result<T, Error>>,
) {
    let before = stage.picture().await;
    let error = call.await.expect_err("is refused");
    assert_eq!(error.code(), code, "{error}");
    for words in words {
        assert!(error.to_string().contains(words), "{words:?} is missing in: {error}");
    }
    assert!(error.to_string().len() < 1_000, "nobody reads {} bytes", error.to_string().len());
    assert_eq!(stage.picture().await, before);
}

const ODD_NAMES: [(&str, &str); 7] = [
    ("", "it is empty"),
    ("a b", "' '"),
    ("quo'te", "'\\''"),
    ("quo\"te", "'\"'"),
    ("new\nline", "'\\n'"),
    ("zero\u{200b}width", "'\\u{200b}'"),
    ("'; DROP TABLE runs; --", "'; DROP TABLE runs; --"),
];

on_every_store! {
    async fn values_that_cannot_be_stored_are_refused_before_they_are(stage: Stage) {
        let executor = stage.executor().register(any).register(pairs).register(healthy).start().await.expect("starts");
        let client = executor.client();
        let large = "x".repeat(2 * 1024 * 1024 - 1);
        let too_large = ["2097153 bytes", "limit of 2097152", "max_payload_bytes", "store large data elsewhere"];
        refused(&stage, "PAYLOAD_TOO_LARGE", &too_large, async { client.invoke(any, large.clone().into()).await }).await;
        refused(&stage, "PAYLOAD_TOO_LARGE", &too_large, client.emit("large", &large)).await;
        let too_deep = ["deeper than 127 levels", "flatten it"];
        refused(&stage, "PAYLOAD", &too_deep, async { client.invoke(any, nested(200)).await }).await;
        refused(&stage, "PAYLOAD", &too_deep, client.emit("deep", &nested(200))).await;
        let keys = BTreeMap::from([((1, 2), 3)]);
        refused(&stage, "PAYLOAD", &["key must be a string"], async { client.invoke(pairs, keys).await }).await;
        let just = client.invoke(any, serde_json::Value::String("x".repeat(2 * 1024 * 1024 - 2))).await.expect("just fits");
        soon("result", just.result()).await.expect("completes");
        assert_healthy(&executor).await;
    }

    async fn an_output_that_cannot_be_stored_fails_the_run_once(stage: Stage) {
        let executor = stage.executor().register(output).register(not_a_number).register(healthy).start().await.expect("starts");
        for (which, words) in [("deep", "deeper than 127 levels"), ("large", "more than the limit")] {
            let run = executor.client().invoke(output, which.to_owned()).await.expect("invokes");
            let error = soon("result", run.result()).await.expect_err("fails");
            assert_eq!(error.code(), "MISUSE");
            assert!(error.to_string().contains("output can't be stored") && error.to_string().contains(words), "{error}");
        }
        let run = executor.client().invoke(not_a_number, ()).await.expect("invokes");
        let error = soon("result", run.result()).await.expect_err("fails");
        assert!(error.to_string().contains("NaN"), "{error}");
        assert_healthy(&executor).await;
    }

    async fn an_input_of_another_shape_parks_and_names_the_path(stage: Stage) {
        let executor = stage.executor().register(shop).register(healthy).start().await.expect("starts");
        for (input, words) in [
            (serde_json::json!({"fruit": [{"price": 1}, {"price": "dear"}]}), ["fruit[1].price", "expected u64"]),
            (serde_json::json!({"fruit": [{}]}), ["fruit[0]", "missing field `price`"]),
            (serde_json::json!([1]), ["expected a map", "workflow shop"]),
        ] {
            let run = executor.client().invoke_named("shop", &input).await.expect("invokes");
            let reason = stage.parked(&run).await;
            assert_eq!(reason.code, "PAYLOAD");
            for words in words {
                assert!(reason.message.contains(words), "{words:?} is missing in: {}", reason.message);
            }
            assert_healthy(&executor).await;
        }
    }

    async fn odd_text_comes_back_as_it_went(stage: Stage) {
        let executor = stage.executor().register(echo).start().await.expect("starts");
        for (n, text) in ["nul \0 inside", "\u{feff}\u{202e}\u{1F980}", "'; DROP TABLE runs; --", "\\u0000 \\ \"", ""].iter().enumerate() {
            let id = format!("{n} 'quoted' \u{1F980}");
            executor.client().invoke(echo, (*text).to_owned()).id(id.clone()).await.expect("invokes");
            let run = executor.client().find::<String>(&id).await.expect("finds");
            assert_eq!(soon("result", run.result()).await.expect("completes"), *text);
        }
    }

    async fn odd_ids_are_refused_by_name(stage: Stage) {
        let executor = stage.executor().register(healthy).start().await.expect("starts");
        let client = executor.client();
        let long = "x".repeat(10_000);
        for (id, words) in [("", "it is empty"), (long.as_str(), "it has 10000 bytes"), ("nul\0", "'\\0'"), ("tab\t", "'\\t'")] {
            refused(&stage, "INVALID_NAME", &["run id", words], async { client.invoke(healthy, 1).id(id).await }).await;
        }
        for (key, words) in [("", "it is empty"), (long.as_str(), "it has 10000 bytes"), ("nul\0", "'\\0'")] {
            refused(&stage, "INVALID_NAME", &["event key", words], client.emit_to("news", key, &1)).await;
        }
        assert_healthy(&executor).await;
    }

    async fn odd_names_are_refused_by_name(stage: Stage) {
        let executor = stage.executor().register(named).register(healthy).start().await.expect("starts");
        let client = executor.client();
        let long = "x".repeat(10_000);
        for (name, words) in ODD_NAMES.into_iter().chain([(long.as_str(), "it has 10000 bytes")]) {
            refused(&stage, "INVALID_NAME", &["event", words, "A-Z a-z 0-9"], client.emit(name, &1)).await;
            refused(&stage, "INVALID_NAME", &["queue", words], async { client.invoke(healthy, 1).queue(name).await }).await;
            refused(&stage, "INVALID_NAME", &["workflow", words], async { client.invoke_named(name, &1).await }).await;
            refused(&stage, "INVALID_NAME", &["queue", words], async {
                stage.executor().queue(Queue::new(name)).register(healthy).start().await
            }).await;
            let run = client.invoke(named, name.to_owned()).await.expect("invokes");
            let told = soon("result", run.result()).await.expect("completes");
            assert!(told.starts_with("MISUSE: step ") && told.contains(words), "{told}");
            assert!(told.contains("MISUSE: step \"yyy") && told.contains("211 bytes"), "{told}");
            assert_eq!(stage.lines(run.id()).await, Vec::<String>::new());
        }
        // Only a name: it opens no file.
        let run = client.invoke(named, "../../etc/passwd".to_owned()).await.expect("invokes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), "fine");
        assert_healthy(&executor).await;
    }

    async fn durations_without_sense_are_refused(stage: Stage) {
        let executor = stage.executor().register(healthy).start().await.expect("starts");
        let client = executor.client();
        let years = Duration::from_secs(300_000 * 365 * 24 * 3600);
        refused(&stage, "MISUSE", &["a delay of 300000 years", "limit of 100 years"], async { client.invoke(healthy, 1).delay(years).await }).await;
        refused(&stage, "MISUSE", &["a delay of"], async { client.invoke_many(healthy, [1]).delay(Duration::MAX).await }).await;
        refused(&stage, "MISUSE", &["a retention of"], async { client.invoke(healthy, 1).retain(Duration::MAX).await }).await;
        let run = client.invoke(healthy, 1).delay(Duration::ZERO).await.expect("invokes");
        soon("result", run.result()).await.expect("completes");
        assert_healthy(&executor).await;
    }

    async fn an_executor_that_could_not_work_is_refused(stage: Stage) {
        refused(&stage, "DUPLICATE_WORKFLOW", &["healthy version 1", "bad_input.rs:", "give one another"], async {
            stage.executor().register(healthy).register(twin::healthy).start().await
        }).await;
        refused(&stage, "MISUSE", &["has no workflow", ".register(name)"], async { stage.executor().start().await }).await;
        refused(&stage, "MISUSE", &["a lease of 1s with a heartbeat of 500ms", "three heartbeats"], async {
            stage.executor().lease(Duration::from_secs(1), Duration::from_millis(500)).register(healthy).start().await
        }).await;
        refused(&stage, "MISUSE", &["a heartbeat of 0ns"], async {
            stage.executor().lease(Duration::from_secs(1), Duration::ZERO).register(healthy).start().await
        }).await;
        assert_healthy(&stage.executor().register(healthy).start().await.expect("starts")).await;
    }

    async fn a_workflow_that_nobody_registers_waits_visibly(stage: Stage) {
        let executor = stage.executor().register(healthy).start().await.expect("starts");
        let run = stage.client().invoke(chatty, 2).await.expect("invokes");
        assert_healthy(&executor).await;
        let ready = stage.client().list().workflow("chatty").status(Status::Ready).await.expect("lists");
        assert_eq!(ready.len(), 1);
        let _other = stage.executor().register(chatty).start().await.expect("starts");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 2);
    }

    async fn more_operations_at_once_than_allowed_are_refused(stage: Stage) {
        let executor = stage.executor().max_pending(50).register(crowd).register(healthy).start().await.expect("starts");
        let run = executor.client().invoke(crowd, 60).await.expect("invokes");
        let told = soon("result", run.result()).await.expect("completes");
        assert!(told.starts_with("10 refused: more than 50 operations are pending") && told.contains("`max_pending`"), "{told}");
        assert_healthy(&executor).await;
    }

    async fn a_journal_that_grows_too_long_parks_and_goes_on_with_a_higher_limit(stage: Stage) {
        let small = stage.executor().max_journal(20, 1 << 20).register(chatty).register(healthy).start().await.expect("starts");
        let run = small.client().invoke(chatty, 30).await.expect("invokes");
        let reason = stage.parked(&run).await;
        assert_eq!(reason.code, "JOURNAL_FULL");
        for words in ["21 entries", "limits are 20", "ctx.invoke", "`max_journal(..)`"] {
            assert!(reason.message.contains(words), "{words:?} is missing in: {}", reason.message);
        }
        assert_eq!(stage.journal(run.id()).await.len(), 20);
        assert_healthy(&small).await;
        small.shutdown().await.expect("shuts down");
        let _large = stage.executor().register(chatty).start().await.expect("starts");
        let done = stage.status(&run, Status::Completed).await;
        assert_eq!(done.id(), run.id());
        assert_eq!(stage.journal(run.id()).await.len(), 30);
    }

    async fn a_spawn_outside_of_a_step_is_named(stage: Stage) {
        let executor = stage.executor().register(spawner).register(healthy).start().await.expect("starts");
        let run = executor.client().invoke(spawner, ()).await.expect("invokes");
        let reason = stage.parked(&run).await;
        assert_eq!(reason.code, "FOREIGN_AWAIT");
        assert!(reason.message.contains("bad_input.rs:"), "{}", reason.message);
        assert_healthy(&executor).await;
    }

    async fn every_change_of_code_under_a_run_is_told_and_taken_back(stage: Stage) {
        let deploy = |code| stage.executor().linger(Duration::ZERO).state(Deployed(code)).register(changing).register(healthy);
        let first = deploy("first").start().await.expect("starts");
        let run = first.client().invoke(changing, ()).await.expect("invokes");
        // Until it waits for the event: sleeping on its child first.
        crate::support::eventually("it waits", async || {
            let lines = stage.lines(run.id()).await;
            let status = run.status().await.expect("exists").status();
            if lines.len() == 5 && status == Status::Waiting { Ok(()) } else { Err(format!("{status} {lines:?}")) }
        }).await;
        first.shutdown().await.expect("shuts down");
        let journal = stage.journal(run.id()).await;
        for (code, words) in [
            ("added", "step zero"),
            ("removed", "step b"),
            ("other kind", "sleep"),
            ("other input", "another input"),
            ("other key", "\"there\""),
            ("ended", "the end of the workflow"),
        ] {
            let wrong = deploy(code).start().await.expect("starts");
            poke(&stage, run.id()).await;
            let reason = stage.parked(&run).await;
            assert_eq!(reason.code, "DIVERGED", "{code}: {}", reason.message);
            assert!(reason.message.contains(words), "{code}: {words:?} is missing in: {}", reason.message);
            assert_eq!(stage.journal(run.id()).await, journal, "{code}");
            assert_healthy(&wrong).await;
            wrong.shutdown().await.expect("shuts down");
            let right = deploy("first").start().await.expect("starts");
            stage.status(&run, Status::Waiting).await;
            right.shutdown().await.expect("shuts down");
        }
        // Operations are known by their names: those that don't hang on each other may change places.
        let reordered = deploy("reordered").start().await.expect("starts");
        poke(&stage, run.id()).await;
        crate::support::until("it was replayed and hung up", || reordered.replays() == 1 && reordered.resident() == 0).await;
        stage.status(&run, Status::Waiting).await;
        assert_eq!(stage.journal(run.id()).await, journal);
        reordered.shutdown().await.expect("shuts down");
        let last = deploy("first").start().await.expect("starts");
        stage.client().emit_to("go", "here", &1).await.expect("emits");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 1);
        last.shutdown().await.expect("shuts down");
    }
}

/// Has a waiting run taken up once more: with a message that concerns no operation of it.
async fn poke(stage: &Stage, run: workflow::RunId) {
    let key = workflow_core::journal::OpKey::new("event", "nothing", 1);
    let payload = workflow::Payload::json(&()).expect("encodes");
    let fact = workflow_core::journal::Fact { key, phase: workflow_core::journal::Phase::Ok, payload, mark: None };
    stage.store.deliver(&[workflow::store::NewMessage { to: run, fact }], &[], 10).await.expect("delivers");
}
