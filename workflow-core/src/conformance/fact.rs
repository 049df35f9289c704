//! Cases of facts: what goes in comes out, in journals and in inboxes.

use super::bench::{Bench, fact, json};
use crate::journal::{Fact, OpKey, Phase};
use crate::payload::Payload;
use crate::store::{NewMessage, Turn};

/// Writes the facts to a journal and sends them to an inbox, and compares.
async fn keeps(b: &Bench, facts: Vec<Fact>) {
    let executor = b.executor().await;
    let run = b.owned(executor).await;
    b.done(executor, Turn { entries: facts.clone(), ..Turn::new(run, 0) }).await;
    let journal: Vec<_> = b.journal(run).await.into_iter().map(|e| e.fact).collect();
    assert_eq!(journal, facts);
    let sends: Vec<_> = facts.iter().map(|fact| NewMessage { to: run, fact: fact.clone() }).collect();
    b.store().deliver(&sends, &[], 0).await.expect("messages can be sent");
    let inbox: Vec<_> = b.inbox(executor, run).await.into_iter().map(|m| m.fact).collect();
    assert_eq!(inbox, facts);
    b.store().close(executor).await.expect("an executor can be closed");
    let next = b.executor().await;
    let claimed = b.claim_one(next, run).await;
    let journal: Vec<_> = claimed.journal.expect("it can be read").into_iter().map(|e| e.fact).collect();
    let inbox: Vec<_> = claimed.inbox.into_iter().map(|m| m.fact).collect();
    assert_eq!((&journal, &inbox), (&facts, &facts));
}

pub async fn every_phase_is_kept(b: &Bench) {
    let phases = [Phase::Asked, Phase::Retry, Phase::Ok, Phase::Failed];
    keeps(b, phases.map(|phase| Fact { phase, ..fact("a") }).to_vec()).await;
}

pub async fn every_mark_is_kept(b: &Bench) {
    let marks = [None, Some(0), Some(1), Some(-1), Some(i64::MIN), Some(i64::MAX)];
    keeps(b, marks.map(|mark| Fact { mark, ..fact("a") }).to_vec()).await;
}

pub async fn every_payload_is_kept(b: &Bench) {
    let payloads = [
        Payload::default(),
        Payload { codec: 77, bytes: (0..=255).collect() },
        Payload { codec: i16::MIN, bytes: vec![0] },
        Payload { codec: i16::MAX, bytes: vec![0xff; 100_000] },
        json("\"\\u0000 ß 🦀\""),
    ];
    keeps(b, payloads.map(|payload| Fact { payload, ..fact("a") }).to_vec()).await;
}

pub async fn long_names_and_high_numbers_are_kept(b: &Bench) {
    let keys = [
        OpKey::new("event", "", 1),
        OpKey::new("step", "x".repeat(200), 1),
        OpKey::new("step", "outer/inner:a_b.c-d", i32::MAX as u32),
        OpKey::new("a kind nobody knows", "ß 注文 🦀 'quoted' \"twice\" \\ %", 2),
    ];
    keeps(b, keys.map(|key| Fact { key, ..fact("a") }).to_vec()).await;
}
