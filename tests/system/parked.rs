//! Parked runs: what can't go on says why, keeps its journal, and goes on when it is mended.

use std::time::Duration;

use workflow::prelude::*;
use workflow::{ExecutorId, Status};

use crate::support::{Faulty, Probe, Stage, eventually, literals, on_every_database, on_every_store, soon};

mod old {
    //! The code as it was deployed first.
    use super::*;
    #[workflow(name = "ship")]
    pub async fn ship(ctx: Ctx, n: u64) -> Result<u64> {
        let probe = ctx.state::<Probe>();
        let a = ctx
            .step("pick", async || {
                Ok({
                    probe.note("pick");
                    n
                })
            })
            .await?;
        ctx.wait_for_event::<u64>("go").key(n.to_string()).await?;
        ctx.step("send", async || Ok(a + 1)).await
    }
}

mod renamed {
    //! The code with a step renamed.
    use super::*;
    #[workflow(name = "ship")]
    pub async fn ship(ctx: Ctx, n: u64) -> Result<u64> {
        let a = ctx.step("collect", async || Ok(n)).await?;
        ctx.wait_for_event::<u64>("go").key(n.to_string()).await?;
        ctx.step("send", async || Ok(a + 1)).await
    }
}

mod retyped {
    //! The code with another type of outcome.
    use super::*;
    #[workflow(name = "ship")]
    pub async fn ship(ctx: Ctx, n: u64) -> Result<u64> {
        let a: Vec<u64> = ctx.step("pick", async || Ok(vec![n])).await?;
        ctx.wait_for_event::<u64>("go").key(n.to_string()).await?;
        ctx.step("send", async || Ok(a[0] + 1)).await
    }
}

mod second {
    //! The code as version 2, side by side with the old one.
    use super::*;
    #[workflow(name = "ship", version = 2)]
    pub async fn ship(ctx: Ctx, n: u64) -> Result<u64> {
        ctx.step("fly", async || Ok(n + 1_000)).await
    }
}

#[workflow]
async fn healthy(ctx: Ctx, n: u64) -> Result<u64> {
    ctx.step("add", async || Ok(n + 1)).await
}

async fn assert_healthy(executor: &Executor) {
    let run = executor.client().invoke(healthy, 1).await.expect("invokes");
    assert_eq!(soon("result", run.result()).await.expect("completes"), 2);
}

/// A run of the old code that waits, with nobody serving it.
async fn waiting(stage: &Stage, n: u64) -> RunHandle<u64> {
    let executor = stage.executor().linger(Duration::ZERO).register(old::ship).start().await.expect("starts");
    let run = stage.client().invoke(old::ship, n).await.expect("invokes");
    stage.status(&run, Status::Waiting).await;
    executor.shutdown().await.expect("shuts down");
    run
}

async fn wake(stage: &Stage, n: u64) {
    stage.client().emit_to("go", &n.to_string(), &1u64).await.expect("emits");
}

#[expect(clippy::disallowed_methods, reason = "this is the mistake")]
async fn nap() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[workflow]
async fn foreign(ctx: Ctx) -> Result<()> {
    ctx.step("first", async || Ok(())).await?;
    nap().await;
    Ok(())
}

#[workflow(name = "foreign")]
async fn foreign_mended(ctx: Ctx) -> Result<()> {
    ctx.step("first", async || Ok(())).await?;
    ctx.sleep(Duration::from_millis(1)).await
}

#[workflow]
async fn dice(ctx: Ctx) -> Result<u64> {
    let probe = ctx.state::<Probe>();
    probe.note("rolled");
    let name = format!("side {}", probe.count("rolled")).replace(' ', "-");
    ctx.step(&name, async || Ok(1)).await
}

#[workflow]
async fn held(ctx: Ctx) -> Result<()> {
    let probe = ctx.state::<Probe>();
    ctx.step("held", async || {
        probe.note("held");
        probe.pass("held").await;
        Ok(())
    })
    .await
}

#[workflow]
async fn parent_of_ship(ctx: Ctx, n: u64) -> Result<String> {
    match ctx.invoke(old::ship, n).await {
        Ok(n) => Ok(n.to_string()),
        Err(failure) => Ok(format!("{}: {failure}", failure.code())),
    }
}

on_every_store! {
    async fn a_diverged_run_says_what_differs_and_goes_on_with_the_old_code(stage: Stage) {
        let run = waiting(&stage, 1).await;
        wake(&stage, 1).await;
        let journal = stage.journal(run.id()).await;
        let wrong = stage.executor().register(renamed::ship).register(healthy).start().await.expect("starts");
        let reason = stage.parked(&run).await;
        assert_eq!(reason.code, "DIVERGED");
        for words in ["recorded: step pick", "asked:", "step collect", "parked.rs:", "roll it back", "version = 2"] {
            assert!(reason.message.contains(words), "{words:?} is missing in: {}", reason.message);
        }
        assert_eq!(stage.journal(run.id()).await, journal);
        assert_healthy(&wrong).await;
        wrong.shutdown().await.expect("shuts down");
        // The next executor that starts with code for it tries it again by itself.
        let right = stage.executor().register(old::ship).start().await.expect("starts");
        assert_eq!(soon("result", async { eventually("mended", async || match run.result().await {
            Ok(value) => Ok(value),
            Err(error) => Err(error.to_string()),
        }).await }).await, 2);
        assert_eq!(stage.probe.count("pick"), 1);
        right.shutdown().await.expect("shuts down");
    }

    async fn an_outcome_of_another_type_parks_and_resume_goes_on(stage: Stage) {
        let run = waiting(&stage, 2).await;
        wake(&stage, 2).await;
        let right = stage.executor_on(stage.another().await).queue(Queue::new("unused")).register(healthy).start().await.expect("starts");
        let wrong = stage.executor().register(retyped::ship).start().await.expect("starts");
        let reason = stage.parked(&run).await;
        assert_eq!(reason.code, "PAYLOAD");
        for words in ["step pick", "parked.rs:", "expected a sequence", "#[serde(default)]"] {
            assert!(reason.message.contains(words), "{words:?} is missing in: {}", reason.message);
        }
        wrong.shutdown().await.expect("shuts down");
        right.shutdown().await.expect("shuts down");
        let right = stage.executor().register(old::ship).start().await.expect("starts");
        stage.client().resume(run.id()).await.expect("resumes");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 3);
        right.shutdown().await.expect("shuts down");
    }

    async fn a_started_run_stays_on_its_version(stage: Stage) {
        let run = waiting(&stage, 3).await;
        let both = stage.executor().register(old::ship).register(second::ship).start().await.expect("starts");
        wake(&stage, 3).await;
        assert_eq!(soon("result", run.result()).await.expect("completes"), 4);
        let new = both.client().invoke(second::ship, 3).await.expect("invokes");
        assert_eq!(soon("result", new.result()).await.expect("completes"), 1_003);
        let named = both.client().invoke_named("ship", &4).await.expect("invokes");
        assert_eq!(soon("result", named.result()).await.expect("completes"), 1_004);
    }

    async fn a_version_that_nobody_has_waits_visibly(stage: Stage) {
        let run = waiting(&stage, 4).await;
        wake(&stage, 4).await;
        let newer = stage.executor().register(second::ship).register(healthy).start().await.expect("starts");
        assert_healthy(&newer).await;
        assert_eq!(run.status().await.expect("exists").status(), Status::Ready);
        let _old = stage.executor().register(old::ship).start().await.expect("starts");
        assert_eq!(soon("result", run.result()).await.expect("completes"), 5);
    }

    async fn a_foreign_await_is_named_and_mended_by_code(stage: Stage) {
        let wrong = stage.executor().register(foreign).register(healthy).start().await.expect("starts");
        let run = wrong.client().invoke(foreign, ()).await.expect("invokes");
        let reason = stage.parked(&run).await;
        assert_eq!(reason.code, "FOREIGN_AWAIT");
        for words in ["workflow foreign", "parked.rs:", "wrap it in ctx.step", "ctx.sleep"] {
            assert!(reason.message.contains(words), "{words:?} is missing in: {}", reason.message);
        }
        assert_healthy(&wrong).await;
        wrong.shutdown().await.expect("shuts down");
        let _right = stage.executor().register(foreign_mended).start().await.expect("starts");
        eventually("mended", async || run.result().await.map_err(|error| error.to_string())).await;
    }

    async fn hidden_chance_is_found_at_once(stage: Stage) {
        let executor = stage.executor().verify(true).register(dice).register(healthy).start().await.expect("starts");
        let run = executor.client().invoke(dice, ()).await.expect("invokes");
        let reason = stage.parked(&run).await;
        assert_eq!(reason.code, "DIVERGED");
        assert!(reason.message.contains("isn't journaled") && reason.message.contains("side-"), "{}", reason.message);
        assert_healthy(&executor).await;
    }

    async fn a_parked_run_can_be_cancelled_and_tells_its_parent(stage: Stage) {
        let first = stage.executor().linger(Duration::ZERO).register(parent_of_ship).register(old::ship).start().await.expect("starts");
        let parent = stage.client().invoke(parent_of_ship, 5).await.expect("invokes");
        let child = eventually("the child waits", async || {
            let child = stage.client().list().parent(parent.id()).status(Status::Waiting).await.expect("lists").pop();
            child.ok_or_else(|| "no child".to_owned())
        }).await;
        first.shutdown().await.expect("shuts down");
        wake(&stage, 5).await;
        let _wrong = stage.executor().register(parent_of_ship).register(renamed::ship).start().await.expect("starts");
        let child = stage.client().handle::<u64>(child.id());
        stage.parked(&child).await;
        child.cancel("give it up").await.expect("cancels");
        stage.status(&child, Status::Cancelled).await;
        assert_eq!(soon("result", parent.result()).await.expect("completes"), "CANCELLED: give it up");
    }

    async fn a_run_that_kills_its_executors_is_poisoned(stage: Stage) {
        let client = stage.client();
        let run = client.invoke(held, ()).await.expect("invokes");
        for _ in 0..4 {
            // An executor that takes the run and dies, as the store sees it.
            let executor = ExecutorId::generate();
stage.store.register(executor, "doomed", Duration::from_secs(60)).await.expect("registers");
            let claim = workflow::store::Claim {
                executor,
                queues: vec![("default".to_owned(), 1)],
                workflows: vec![("held".to_owned(), 1)],
            };
            assert_eq!(stage.store.claim(&claim).await.expect("claims").runs.len(), 1);
            stage.store.heartbeat(executor, Duration::from_millis(1)).await.expect("beats for the last time");
            eventually("found dead", async || {
                let rescued = stage.store.rescue(3, 100).await.expect("rescues");
                if rescued.executors.contains(&executor) { Ok(()) } else { Err(format!("{rescued:?}")) }
            }).await;
        }
        let reason = stage.parked(&run).await;
        assert_eq!(reason.code, "POISONED");
        assert!(reason.message.contains('4') && reason.message.contains("resume"), "{}", reason.message);
        let executor = stage.executor().register(held).register(healthy).start().await.expect("starts");
        assert_healthy(&executor).await;
        assert_eq!(run.status().await.expect("exists").status(), Status::Parked, "no new code mends that");
        stage.probe.open("held", 1);
        client.resume(run.id()).await.expect("resumes");
        soon("result", run.result()).await.expect("completes");
        assert_eq!(run.status().await.expect("exists").crashes(), 0);
    }

    async fn resume_leaves_alone_what_is_not_parked(stage: Stage) {
        let executor = stage.executor().register(healthy).start().await.expect("starts");
        let run = executor.client().invoke(healthy, 1).await.expect("invokes");
        soon("result", run.result()).await.expect("completes");
        let before = stage.picture().await;
        executor.client().resume(run.id()).await.expect("does nothing");
        assert_eq!(stage.picture().await, before);
    }

    async fn a_turn_that_can_never_be_written_parks_its_run_alone(stage: Stage) {
        let faulty = Faulty::new(stage.store.clone());
        let executor = stage.executor_on(faulty.store()).register(held).register(healthy).start().await.expect("starts");
        let run = executor.client().invoke(held, ()).await.expect("invokes");
        stage.probe.noted("held", 1).await;
        faulty.refuse_turns_of(run.id());
        stage.probe.open("held", 1);
        let reason = stage.parked(&run).await;
        assert!(reason.message.contains("refused by hand"), "{}", reason.message);
        assert_healthy(&executor).await;
        faulty.mend();
        stage.probe.open("held", 1);
        executor.client().resume(run.id()).await.expect("resumes");
        soon("result", run.result()).await.expect("completes");
    }
}

on_every_database! {
    async fn a_journal_edited_by_hand_parks_its_run_alone(stage: Stage) {
        for (n, (postgres, sqlite, words)) in [
            ("UPDATE workflow.journal SET kind = 'stepp' WHERE run_id = ID AND position = 0",
             "UPDATE wf_journal SET kind = 'stepp' WHERE run = ID AND position = 0", "stepp"),
            ("UPDATE workflow.journal SET phase = 'okay' WHERE run_id = ID AND position = 0",
             "UPDATE wf_journal SET phase = 'okay' WHERE run = ID AND position = 0", "okay"),
            ("DELETE FROM workflow.journal WHERE run_id = ID AND position = 0",
             "DELETE FROM wf_journal WHERE run = ID AND position = 0", "position"),
            ("UPDATE workflow.journal SET payload = '\\xff00' WHERE run_id = ID AND position = 0",
             "UPDATE wf_journal SET payload = x'ff00' WHERE run = ID AND position = 0", "step pick"),
            ("UPDATE workflow.journal SET payload = convert_to('\"\\ud800\"', 'UTF8') WHERE run_id = ID AND position = 0",
             "UPDATE wf_journal SET payload = CAST('\"\\ud800\"' AS BLOB) WHERE run = ID AND position = 0", "step pick"),
            ("UPDATE workflow.journal SET codec = 99 WHERE run_id = ID AND position = 0",
             "UPDATE wf_journal SET codec = 99 WHERE run = ID AND position = 0", "codec tag 99"),
            ("UPDATE workflow.journal SET version = 99 WHERE run_id = ID AND position = 0",
             "UPDATE wf_journal SET entry_version = 99 WHERE run = ID AND position = 0", "99"),
            ("INSERT INTO workflow.journal SELECT run_id, 9, kind, name, nth, phase, codec, payload, mark, version, recorded_at FROM workflow.journal WHERE run_id = ID AND position = 0",
             "INSERT INTO wf_journal SELECT run, 9, entry_version, kind, name, nth, phase, mark, codec, payload, recorded_at FROM wf_journal WHERE run = ID AND position = 0", "position"),
            ("INSERT INTO workflow.journal SELECT run_id, 2, kind, name, nth, phase, codec, payload, mark, version, recorded_at FROM workflow.journal WHERE run_id = ID AND position = 0",
             "INSERT INTO wf_journal SELECT run, 2, entry_version, kind, name, nth, phase, mark, codec, payload, recorded_at FROM wf_journal WHERE run = ID AND position = 0", "outcome"),
            ("UPDATE workflow.journal SET name = 'wrap' WHERE run_id = ID AND position = 0",
             "UPDATE wf_journal SET name = 'wrap' WHERE run = ID AND position = 0", "step wrap"),
        ].into_iter().enumerate() {
            let n = n as u64;
            let run = waiting(&stage, n).await;
            let (pg, lite) = literals(run.id());
            stage.edit(&postgres.replace("ID", &pg), &sqlite.replace("ID", &lite)).await;
            wake(&stage, n).await;
            let executor = stage.executor().register(old::ship).register(healthy).start().await.expect("starts");
            let reason = stage.parked(&run).await;
            assert!(["CORRUPT", "PAYLOAD", "DIVERGED"].contains(&reason.code.as_str()), "{reason:?}");
            assert!(reason.message.contains(words), "{words:?} is missing in: {}", reason.message);
            assert!(reason.message.contains("way out") || reason.message.contains("ways out"), "{}", reason.message);
            assert_healthy(&executor).await;
            run.cancel("hopeless").await.expect("cancels");
            stage.status(&run, Status::Cancelled).await;
            executor.shutdown().await.expect("shuts down");
        }
    }

    async fn a_damaged_message_parks_its_run_alone(stage: Stage) {
        let run = waiting(&stage, 1).await;
        wake(&stage, 1).await;
        let (pg, lite) = literals(run.id());
        stage.edit(
            &format!("UPDATE workflow.inbox SET phase = 'okay' WHERE run_id = {pg}"),
            &format!("UPDATE wf_inbox SET phase = 'okay' WHERE run = {lite}"),
        ).await;
        let executor = stage.executor().register(old::ship).register(healthy).start().await.expect("starts");
        let reason = stage.parked(&run).await;
        assert_eq!(reason.code, "CORRUPT");
        assert!(reason.message.contains("okay"), "{}", reason.message);
        assert_healthy(&executor).await;
        run.cancel("hopeless").await.expect("cancels");
        stage.status(&run, Status::Cancelled).await;
    }

    async fn a_damaged_message_to_a_run_in_memory_keeps_nobody_else_waiting(stage: Stage) {
        let executor = stage.executor().linger(Duration::from_secs(600)).register(old::ship).register(healthy).start().await.expect("starts");
        let (hit, other) = (
            executor.client().invoke(old::ship, 1).await.expect("invokes"),
            executor.client().invoke(old::ship, 2).await.expect("invokes"),
        );
        for run in [&hit, &other] {
            eventually("it waits", async || match stage.lines(run.id()).await.len() { 2 => Ok(()), n => Err(n.to_string()) }).await;
        }
        let (pg, lite) = literals(hit.id());
        stage.edit(
            &format!("INSERT INTO workflow.inbox (run_id, seq, kind, name, nth, phase, codec, payload, sent_at) VALUES ({pg}, 1, 'event', 'go', 1, 'okay', 0, '1', now());
                      UPDATE workflow.runs SET mail = 1 WHERE id = {pg}"),
            &format!("INSERT INTO wf_inbox (run, seq, kind, name, nth, phase, codec, payload) VALUES ({lite}, 1, 'event', 'go', 1, 'okay', 0, x'31');
                      UPDATE wf_run SET mail = 1 WHERE id = {lite}"),
        ).await;
        // From another process, so that it has to be fetched.
        Client::new(stage.another().await).emit_to("go", "2", &1u64).await.expect("emits");
        assert_eq!(soon("result", other.result()).await.expect("completes"), 3);
        assert_healthy(&executor).await;
        executor.shutdown().await.expect("shuts down");
        let next = stage.executor().register(old::ship).register(healthy).start().await.expect("starts");
        assert_eq!(stage.parked(&hit).await.code, "CORRUPT");
        assert_healthy(&next).await;
    }

    async fn a_damaged_run_keeps_nobody_else_waiting(stage: Stage) {
        for (n, (postgres, sqlite)) in [
            ("UPDATE workflow.runs SET mail = -5 WHERE id = ID", "UPDATE wf_run SET mail = -5 WHERE id = ID"),
            ("UPDATE workflow.runs SET input = '\\xff00' WHERE id = ID", "UPDATE wf_run SET input = x'ff00' WHERE id = ID"),
            ("UPDATE workflow.runs SET input_codec = 77 WHERE id = ID", "UPDATE wf_run SET input_codec = 77 WHERE id = ID"),
            ("UPDATE workflow.runs SET parent_id = id, parent_kind = 'x', parent_name = 'y', parent_nth = -1 WHERE id = ID",
             "UPDATE wf_run SET parent_run = id, parent_kind = 'x', parent_name = 'y', parent_nth = -1 WHERE id = ID"),
        ].into_iter().enumerate() {
            let client = stage.client();
            let run = client.invoke(old::ship, n as u64).await.expect("invokes");
            let (pg, lite) = literals(run.id());
            stage.edit(&postgres.replace("ID", &pg), &sqlite.replace("ID", &lite)).await;
            let executor = stage.executor().register(old::ship).register(healthy).start().await.expect("starts");
            for _ in 0..3 {
                assert_healthy(&executor).await;
                let other = client.invoke(healthy, 1).await.expect("invokes");
                // Looked up together with the damaged one.
                let looks = (0..20).map(|_| async { run.status().await.map(drop) });
                let (_, result) = futures::join!(futures::future::join_all(looks), soon("result", other.result()));
                assert_eq!(result.expect("completes"), 2);
            }
            executor.shutdown().await.expect("shuts down");
        }
    }

    async fn an_input_that_nobody_can_read_parks_its_run_alone(stage: Stage) {
        let executor = stage.executor().register(old::ship).register(healthy).start().await.expect("starts");
        for (input, words) in [
            (serde_json::json!({"n": 1}), "expected u64"),
            (serde_json::json!("nul \u{0} here"), "expected u64"),
            (serde_json::json!(-1), "expected u64"),
        ] {
            let run = executor.client().invoke_named("ship", &input).await.expect("invokes");
            let reason = stage.parked(&run).await;
            assert_eq!(reason.code, "PAYLOAD");
            assert!(reason.message.contains("workflow ship") && reason.message.contains(words), "{}", reason.message);
            assert!(!reason.message.contains('\0'));
            assert_healthy(&executor).await;
        }
    }
}
