//! Journals that no machine has written.

use super::*;

fn lived() -> Run {
    let mut run = Run::new(|ctx| async move {
        ctx.step("a", async || Ok(1)).await?;
        let key = ctx.wait_for_event::<i64>("go").key("k").timeout(Duration::from_secs(1));
        assert!(key.await.expect_err("timed out").is_timeout());
        ctx.sleep(Duration::from_secs(1)).await?;
        Ok(json!(ctx.step("b", async || Ok(2)).await?))
    });
    run.finish().expect("ends well");
    assert_eq!(
        run.entries(),
        ["step a ok", "event go asked", "event go failed", "sleep asked", "sleep ok", "step b ok"]
    );
    run
}

/// What becomes of the run with an edited journal: its parking code and message.
fn edited(edit: impl FnOnce(&mut Vec<workflow_core::journal::Entry>)) -> (String, String) {
    let run = lived();
    let mut journal = run.journal.clone();
    edit(&mut journal);
    match Run::load(run.workflow.clone(), journal, MachineOptions::default()) {
        Err(reason) => (reason.code, reason.message),
        Ok(mut again) => match again.go() {
            State::Parked(reason) => (reason.code, reason.message),
            other => panic!("not parked: {other:?}"),
        },
    }
}

fn renumbered(journal: &mut [workflow_core::journal::Entry]) {
    for (position, entry) in (0..).zip(journal) {
        entry.position = position;
    }
}

fn says((code, message): (String, String), expected: &str, part: &str) {
    assert_eq!(code, expected, "{message}");
    assert!(message.contains(part), "{part:?} isn't in: {message}");
}

#[test]
fn a_gap() {
    says(edited(|j| drop(j.remove(1))), "CORRUPT", "entry 1 is missing: the next one has position 2");
}

#[test]
fn an_entry_twice() {
    says(edited(|j| j.insert(0, j[0].clone())), "CORRUPT", "position 0 twice");
}

#[test]
fn an_entry_taken_out() {
    let taken = |j: &mut Vec<_>| {
        j.remove(0);
        renumbered(j);
    };
    says(edited(taken), "DIVERGED", "asked:    step a (workflow-core/tests/adversary/journals_edited_by_hand.rs:");
}

#[test]
fn two_outcomes() {
    let twice = |j: &mut Vec<workflow_core::journal::Entry>| {
        j.insert(1, j[0].clone());
        renumbered(j);
    };
    says(edited(twice), "CORRUPT", "entry 1 comes after the outcome of step a");
}

#[test]
fn two_requests() {
    let twice = |j: &mut Vec<workflow_core::journal::Entry>| {
        j.insert(1, j[1].clone());
        renumbered(j);
    };
    says(edited(twice), "CORRUPT", "entry 2 asks a second time for event go");
}

#[test]
fn an_outcome_without_its_request() {
    let without = |j: &mut Vec<_>| {
        j.remove(3);
        renumbered(j);
    };
    says(edited(without), "DIVERGED", "the outcome of sleep without its request");
}

#[test]
fn an_unknown_kind() {
    let unknown = |j: &mut Vec<workflow_core::journal::Entry>| j[0].fact.key.kind = "signal".to_owned();
    says(edited(unknown), "PAYLOAD", "entry 0 is of the kind \"signal\", which this build doesn't have");
}

#[test]
fn a_newer_format() {
    says(edited(|j| j[2].version = 9), "PAYLOAD", "entry 2 has the format 9, this build knows formats up to 1");
}

#[test]
fn two_cancellations() {
    let twice = |j: &mut Vec<workflow_core::journal::Entry>| {
        for _ in 0..2 {
            let entry = workflow_core::journal::Entry { fact: cancel("x"), ..j[0].clone() };
            j.push(entry);
        }
        renumbered(j);
    };
    says(edited(twice), "CORRUPT", "second cancellation");
}

#[test]
fn another_value() {
    let other = |j: &mut Vec<workflow_core::journal::Entry>| j[0].fact.payload = Payload::json(&"x").expect("JSON");
    says(edited(other), "PAYLOAD", "the recorded outcome of step a");
}

#[test]
fn a_request_that_is_none() {
    let garbage = |j: &mut Vec<workflow_core::journal::Entry>| j[1].fact.payload.bytes = b"{".to_vec();
    says(edited(garbage), "DIVERGED", "a request that can't be read");
}

#[test]
fn a_failure_that_is_none() {
    let garbage = |j: &mut Vec<workflow_core::journal::Entry>| j[2].fact.payload.bytes = b"17".to_vec();
    says(edited(garbage), "PAYLOAD", "the recorded outcome of event go");
}

#[test]
fn a_codec_that_this_build_has_not() {
    says(edited(|j| j[0].fact.payload.codec = 77), "PAYLOAD", "codec tag 77");
}

#[test]
fn numbers_at_the_end_of_their_range_are_harmless() {
    let run = lived();
    let mut journal = run.journal[..4].to_vec();
    journal[0].fact.phase = Phase::Retry;
    journal[0].fact.mark = Some(i64::MAX);
    journal[3].recorded_at = workflow_core::Timestamp::MAX_UTC;
    journal[1].recorded_at = workflow_core::Timestamp::MIN_UTC;
    let mut again = Run::with(run.workflow.clone(), journal, false);
    parked(again.go(), "DIVERGED");
}

/// Whatever a hand or a disk does to the bytes: parked, ended or waiting, and never a panic or a hang.
#[test]
fn any_entries_in_any_order() {
    let run = lived();
    let mut seed = 7u64;
    let mut below = |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n
    };
    for _ in 0..3_000 {
        let mut journal = run.journal.clone();
        for _ in 0..=below(4) {
            let (i, j) = (below(journal.len()), below(journal.len()));
            match below(8) {
                0 if journal.len() > 1 => drop(journal.remove(i)),
                1 => journal.swap(i, j),
                2 => journal.insert(i, journal[j].clone()),
                3 => journal[i].fact.phase = [Phase::Asked, Phase::Retry, Phase::Ok, Phase::Failed][below(4)],
                4 => journal[i].fact.key = journal[j].fact.key.clone(),
                5 => journal[i].fact.payload = journal[j].fact.payload.clone(),
                6 => journal[i].fact.key.nth = below(3) as u32,
                _ => journal[i].fact = cancel("by hand"),
            }
        }
        renumbered(&mut journal);
        let Ok(mut again) = Run::load(run.workflow.clone(), journal, MachineOptions::default()) else { continue };
        loop {
            match again.go() {
                State::Blocked(Some(at)) => again.now = at,
                State::Blocked(None) | State::Running => panic!("hangs"),
                State::Parked(_) | State::Finished(_) => break,
            }
        }
    }
}
