//! Journals and messages that somebody spoilt: a run is parked, goes on or ends, and never panics or spins.

mod support;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use support::{Closure, Run, State};
use workflow_core::env::{MachineOptions, Notice};
use workflow_core::journal::{Entry, Fact, OpKey, Phase};
use workflow_core::registry::AnyWorkflow;
use workflow_core::replay::Next;
use workflow_core::store::Then;
use workflow_core::{Ctx, Failure, Payload, Result, RetryPolicy, Workflow, WorkflowFuture};

#[derive(Clone, Copy)]
struct ChildFlow;

impl Workflow for ChildFlow {
    type Input = u8;
    type Output = u64;
    const NAME: &'static str = "child";
    fn call(self, _: Ctx, _: u8) -> WorkflowFuture<u64> {
        Box::pin(async { Ok(0) })
    }
}

/// Every kind of operation.
async fn everything(ctx: Ctx) -> Result<serde_json::Value> {
    let retry = RetryPolicy::fixed(Duration::from_secs(1)).attempts(3);
    let tried = ctx.step_with("tried", async |step| match step.attempt() {
        1 => Err(Failure::new("not yet").with_details(&json!([1]))),
        n => Ok(n),
    });
    let n = tried.retry(retry).await?;
    ctx.sleep(Duration::from_secs(5)).await?;
    let (a, b) = futures::join!(ctx.step("a", async || Ok(n)), ctx.step("b", async || Ok("b".to_owned())));
    let child = ctx.invoke(ChildFlow, 7);
    ctx.emit("told", &(a?, b?)).key("k").await?;
    let word: String = ctx.wait_for_event("word").key("k").timeout(Duration::from_secs(60)).await?;
    let other = ctx.invoke(ChildFlow, 8).detached().await?;
    ctx.sleep_until(ctx.now() + Duration::from_secs(5)).await?;
    let late = ctx.wait_for_event::<u32>("late").timeout(Duration::from_secs(1)).await;
    let refused = ctx.step("refused", async || Err::<(), _>(Failure::fatal("no"))).await;
    let (ended, random) = (child.await?, ctx.random());
    let said = ctx.shield().step("last", async || Ok(vec![1, 2])).await?;
    Ok(json!([word, other.to_string(), late.is_err(), refused.is_err(), ended, random % 2 < 2, said]))
}

fn workflow() -> Arc<dyn AnyWorkflow> {
    Arc::new(Closure(everything))
}

fn ok(key: OpKey, json: &str, mark: Option<i64>) -> Fact {
    Fact { key, phase: Phase::Ok, payload: Payload { codec: 0, bytes: json.as_bytes().to_vec() }, mark }
}

/// The journal of a life in which all went well.
fn journal() -> Vec<Entry> {
    let mut run = Run::with(workflow(), Vec::new(), false);
    loop {
        match run.go() {
            State::Finished(result) => {
                result.expect("ends well");
                return run.journal;
            }
            State::Blocked(at) => {
                let waits = |key: &OpKey| !run.journal.iter().any(|e| e.fact.key == *key && e.fact.phase == Phase::Ok);
                let (word, child) = (OpKey::new("event", "word", 1), OpKey::new("invoke", "child", 1));
                let asked = |key: &OpKey| run.journal.iter().any(|e| e.fact.key == *key);
                if asked(&word) && waits(&word) {
                    run.send(ok(word, "\"word\"", Some(1)));
                } else if asked(&OpKey::new("step", "refused", 1)) && waits(&child) {
                    run.send(ok(child, "9", None));
                } else {
                    run.now = at.expect("a timer");
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Something that happens to a row.
#[derive(Debug, Clone)]
enum Damage {
    Remove,
    Double,
    Swap(prop::sample::Index),
    Cut,
    Kind(String),
    Name(String),
    Nth(u32),
    Phase(Phase),
    Codec(i16),
    Bytes(Vec<u8>),
    Mark(Option<i64>),
    Time(i64),
}

fn damage() -> impl Strategy<Value = Damage> {
    let kinds = vec!["step", "sleep", "event", "invoke", "emit", "cancel", "transaction", "sleep_until", "", "é\0"];
    let names = vec!["", "a", "b", "tried", "word", "late", "child", "told", "last", "x/y", "\u{202e}\0"];
    let phase = prop::sample::select(vec![Phase::Asked, Phase::Retry, Phase::Ok, Phase::Failed]);
    let json = prop::sample::select(vec![
        "null",
        "0",
        "-1",
        "\"x\"",
        "[]",
        "{}",
        "{\"for_us\":-5}",
        "{\"for_us\":9223372036854775807}",
        "{\"key\":\"k\"}",
        "{\"key\":\"k\",\"after\":18446744073709551615,\"timeout_us\":-1}",
        "{\"until\":\"+262142-12-31T23:59:59Z\"}",
        "{\"kind\":\"failed\",\"message\":\"\"}",
        "{\"kind\":\"cancelled\",\"message\":\"\\u0000\",\"retry_after\":null}",
        "{\"input\":\"\"}",
        "{\"input\":\"é\"}",
        "[[[[",
    ]);
    let bytes = prop_oneof![
        json.prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
        Just(b"[".repeat(100_000)),
    ];
    let mark = prop_oneof![Just(None), prop::sample::select(vec![i64::MIN, -1, 0, 1, i64::MAX]).prop_map(Some)];
    prop_oneof![
        2 => Just(Damage::Remove),
        2 => Just(Damage::Double),
        2 => any::<prop::sample::Index>().prop_map(Damage::Swap),
        1 => Just(Damage::Cut),
        1 => prop::sample::select(kinds).prop_map(|kind| Damage::Kind(kind.to_owned())),
        1 => prop::sample::select(names).prop_map(|name| Damage::Name(name.to_owned())),
        1 => prop::sample::select(vec![0, 1, 2, u32::MAX]).prop_map(Damage::Nth),
        2 => phase.prop_map(Damage::Phase),
        1 => any::<i16>().prop_map(Damage::Codec),
        3 => bytes.prop_map(Damage::Bytes),
        1 => mark.prop_map(Damage::Mark),
        1 => prop::sample::select(vec![i64::MIN, -1, 0, i64::MAX]).prop_map(Damage::Time),
    ]
}

fn spoil(journal: &mut Vec<Entry>, at: &prop::sample::Index, damage: Damage) {
    if journal.is_empty() {
        return;
    }
    let at = at.index(journal.len());
    let fact = &mut journal[at].fact;
    match damage {
        Damage::Remove => drop(journal.remove(at)),
        Damage::Double => journal.insert(at, journal[at].clone()),
        Damage::Swap(other) => {
            let other = other.index(journal.len());
            journal.swap(at, other);
        }
        Damage::Cut => journal.truncate(at),
        Damage::Kind(kind) => fact.key.kind = kind,
        Damage::Name(name) => fact.key.name = name,
        Damage::Nth(nth) => fact.key.nth = nth,
        Damage::Phase(phase) => fact.phase = phase,
        Damage::Codec(codec) => fact.payload.codec = codec,
        Damage::Bytes(bytes) => fact.payload.bytes = bytes,
        Damage::Mark(mark) => fact.mark = mark,
        Damage::Time(micros) => {
            let most = workflow_core::Timestamp::MAX_UTC;
            let least = workflow_core::Timestamp::MIN_UTC;
            let nearest = if micros < 0 { least } else { most };
            journal[at].recorded_at = workflow_core::Timestamp::from_timestamp_micros(micros).unwrap_or(nearest);
        }
    }
    // Stores hand out journals without gaps, or none.
    for (position, entry) in (0..).zip(journal) {
        entry.position = position;
    }
}

/// Drives a run to where it stands still, within bounds, and says how it ended.
fn stands_still(run: &mut Run) -> Option<String> {
    for _ in 0..1_000 {
        for notice in run.notices.take() {
            if let Notice::Body(op) = notice {
                run.machine.wake_body(op);
            }
        }
        match run.machine.drive(run.now) {
            Next::Commit { turn, .. } => match &turn.then {
                Then::Finish { status, .. } => return Some(status.to_string()),
                Then::Park(reason) => return Some(reason.code.clone()),
                _ => run.commit(&turn),
            },
            Next::Running if run.notices.is_empty() => return Some("running".to_owned()),
            Next::Running => {}
            Next::Blocked(wake) => match wake.at {
                Some(at) if at <= run.now => {}
                _ => return Some("blocked".to_owned()),
            },
        }
    }
    None
}

/// Where a run may stand, whatever was done to it.
const ENDS: [&str; 8] =
    ["blocked", "completed", "failed", "cancelled", "DIVERGED", "FOREIGN_AWAIT", "PAYLOAD", "CORRUPT"];

fn is_bearable(journal: Vec<Entry>, messages: &[Fact], verify: bool) -> Result<(), TestCaseError> {
    let options = MachineOptions { verify, ..MachineOptions::default() };
    let mut run = match Run::load(workflow(), journal, options) {
        Ok(run) => run,
        Err(reason) => {
            prop_assert!(ENDS.contains(&reason.code.as_str()), "{:?}", reason);
            return Ok(());
        }
    };
    for message in messages {
        run.send(message.clone());
    }
    let end = stands_still(&mut run);
    prop_assert!(end.as_deref().is_some_and(|end| ENDS.contains(&end)), "{:?}", end);
    Ok(())
}

fn message() -> impl Strategy<Value = Fact> {
    let keys = vec![
        OpKey::new("cancel", "", 1),
        OpKey::new("event", "word", 1),
        OpKey::new("event", "late", 1),
        OpKey::new("invoke", "child", 1),
        OpKey::new("step", "a", 1),
        OpKey::new("sleep", "", 1),
        OpKey::new("nonsense", "", 0),
    ];
    let phase = prop::sample::select(vec![Phase::Asked, Phase::Retry, Phase::Ok, Phase::Failed]);
    let bytes = prop::sample::select(vec!["null", "7", "\"w\"", "{", "{\"kind\":\"failed\",\"message\":\"\"}"]);
    let mark = prop::sample::select(vec![None, Some(-1), Some(1), Some(i64::MAX), Some(i64::MIN)]);
    (prop::sample::select(keys), phase, bytes, mark).prop_map(|(key, phase, bytes, mark)| {
        let payload = Payload { codec: 0, bytes: bytes.as_bytes().to_vec() };
        Fact { key, phase, payload, mark }
    })
}

#[test]
fn the_journal_holds_every_kind_of_operation() {
    let journal = journal();
    for kind in ["step", "sleep", "sleep_until", "invoke", "event", "emit"] {
        assert!(journal.iter().any(|entry| entry.fact.key.kind == kind), "{kind}");
    }
    let mut run = Run::with(workflow(), journal, true);
    assert_eq!(stands_still(&mut run).as_deref(), Some("completed"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_journal_is_borne(
        damages in prop::collection::vec((any::<prop::sample::Index>(), damage()), 1..4),
        messages in prop::collection::vec(message(), 0..4),
        verify: bool,
    ) {
        let mut journal = journal();
        for (at, damage) in damages {
            spoil(&mut journal, &at, damage);
        }
        is_bearable(journal, &messages, verify)?;
    }
}
