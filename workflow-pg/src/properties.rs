//! What holds for whatever comes in: rows, notifications and URLs that somebody else has written.

use std::str::FromStr;

use proptest::prelude::*;
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;
use workflow_core::Timestamp;
use workflow_core::journal::{ENTRY_VERSION, Entry};
use workflow_core::store::Wakeup;

use crate::stored::{Stored, StoredFact};
use crate::wake::Wakes;
use crate::{error, tls};

/// The row that an entry is written as.
fn written(entry: &Entry) -> Stored {
    let fact = &entry.fact;
    Stored {
        position: i32::try_from(entry.position).expect("a position of a row"),
        fact: StoredFact {
            kind: fact.key.kind.clone(),
            name: fact.key.name.clone(),
            nth: i32::try_from(fact.key.nth).expect("a number of a row"),
            phase: fact.phase.as_str().to_owned(),
            codec: fact.payload.codec,
            payload: fact.payload.bytes.clone(),
            mark: fact.mark,
        },
        version: entry.version,
        recorded_at: entry.recorded_at,
    }
}

prop_compose! {
    fn stored_fact()(
        kind in "[a-z]{0,8}|\\PC{0,8}", name in "\\PC{0,12}", nth in prop_oneof![0..4i32, any::<i32>()],
        phase in prop_oneof![4 => prop::sample::select(vec!["asked", "retry", "ok", "failed"]).prop_map(str::to_owned), 1 => "\\PC{0,6}"],
        codec: i16, payload in prop::collection::vec(any::<u8>(), 0..20), mark: Option<i64>,
    ) -> StoredFact {
        StoredFact { kind, name, nth, phase, codec, payload, mark }
    }
}

prop_compose! {
    fn stored()(
        position in prop_oneof![0..3i32, any::<i32>()], fact in stored_fact(),
        version in prop_oneof![0..3i16, any::<i16>()], seconds in 0i64..4_000_000_000,
    ) -> Stored {
        let recorded_at = Timestamp::from_timestamp(seconds, 0).expect("an instant");
        Stored { position, fact, version, recorded_at }
    }
}

fn each(wakes: &Wakes) -> Vec<Wakeup> {
    let mut all = Vec::new();
    wakes.each(|wakeup| all.push(wakeup));
    all
}

/// Parses a URL as connecting does, without connecting: what an error says, or what can be shown of the target.
fn target(url: &str) -> String {
    match PgConnectOptions::from_str(url) {
        Ok(target) => tls::secured(target, url).get_host().to_owned(),
        Err(unusable) => error::connect(unusable).to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_row_is_an_entry_that_can_be_written_back_or_none(row in stored(), position in 0..3u32) {
        let good = i64::from(row.position) == i64::from(position)
            && (0..=ENTRY_VERSION).contains(&row.version)
            && row.fact.nth >= 0
            && ["asked", "retry", "ok", "failed"].contains(&row.fact.phase.as_str());
        match row.clone().read(position) {
            Ok(entry) => {
                prop_assert!(good);
                prop_assert_eq!(written(&entry), row);
            }
            Err(reason) => prop_assert!(!good && !reason.is_empty(), "{}", reason),
        }
    }

    #[test]
    fn a_notification_of_anybody_is_read(payload in "([0-9a-f]{32})?(\\n[rmelpx]?[0-9a-f-]{0,36}|\\PC{0,5}|\r\n){0,20}") {
        let me = Uuid::from_u128(7);
        let wakes = Wakes::decode(&payload, me).expect("somebody else's");
        let mut again = Wakes::default();
        for payload in wakes.encode(me) {
            prop_assert!(payload.len() < 8_000);
            prop_assert!(Wakes::decode(&payload, me).is_none());
            again.merge(Wakes::decode(&payload, Uuid::nil()).expect("somebody else's"));
        }
        let (said, heard) = (each(&wakes), each(&again));
        prop_assert!(said.iter().all(|wakeup| heard.contains(wakeup)), "{:?} became {:?}", said, heard);
    }

    #[test]
    fn a_url_of_anybody_is_read_and_its_password_kept(
        before in "postgres(ql)?://(\\PC{0,6}:)?", secret in "s3cr3t[a-z%0-9:/?#]{0,6}", after in "@?\\PC{0,20}",
        query in "(\\?\\PC{0,20})?",
    ) {
        let told = target(&format!("{before}{secret}@{after}{query}"));
        // What stands before the last @ of the authority, and after the first colon in it, is the password.
        if before.ends_with(':') && !secret.contains(['/', '?', '#']) && !before.contains(['/', '?', '#', '@'].as_slice()) {
            prop_assert!(!told.contains("s3cr3t"), "{}", told);
        }
    }

    #[test]
    fn any_text_is_no_url_or_one(text in "\\PC{0,60}") {
        target(&text);
    }
}
