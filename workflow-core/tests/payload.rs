//! Payloads from anybody: no bytes make the reader panic, and what was written is read back.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use workflow_core::{Codec, Failure, Payload};

/// A bit of everything that users' types have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    delta: i64,
    price: f64,
    name: String,
    note: Option<String>,
    lines: Vec<Line>,
    tags: BTreeMap<String, u32>,
    pair: (bool, char),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Line {
    Empty,
    Item(u32),
    Sum { of: Vec<i64>, currency: String },
}

fn line() -> impl Strategy<Value = Line> {
    prop_oneof![
        Just(Line::Empty),
        any::<u32>().prop_map(Line::Item),
        (prop::collection::vec(any::<i64>(), 0..4), ".{0,8}").prop_map(|(of, currency)| Line::Sum { of, currency }),
    ]
}

prop_compose! {
    fn order()(
        id: u64, delta: i64, price in prop::num::f64::NORMAL | prop::num::f64::ZERO, name in ".{0,20}",
        note in prop::option::of(".{0,20}"), lines in prop::collection::vec(line(), 0..4),
        tags in prop::collection::btree_map(".{0,5}", any::<u32>(), 0..4), pair: (bool, char),
    ) -> Order {
        Order { id, delta, price, name, note, lines, tags, pair }
    }
}

/// Reading it as anything gives a value or an error; a value can be written again.
fn is_bearable(payload: &Payload) {
    fn reads<T: DeserializeOwned + Serialize>(payload: &Payload) {
        if let Ok(value) = payload.decode::<T>() {
            let again = Payload::encode(Codec::Json, &value, usize::MAX).expect("what was read can be written");
            again.decode::<T>().expect("and read again");
        }
    }
    reads::<Value>(payload);
    reads::<Order>(payload);
    reads::<Vec<Line>>(payload);
    reads::<String>(payload);
    reads::<HashMap<String, Option<f64>>>(payload);
    reads::<(u8, i128)>(payload);
    reads::<Failure>(payload);
    payload.digest();
    payload.display();
}

/// Bytes that look like JSON often enough.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let text = order().prop_map(|order| serde_json::to_vec(&order).expect("JSON"));
    let spoilt = (text, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    let tokens = prop::sample::select(vec![
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"a\"",
        "\"kind\"",
        "\"failed\"",
        "1",
        "-1e999",
        "null",
        "true",
        "\"\\ud800\"",
        "\u{0}",
        "1e400",
        "0.1",
        "18446744073709551616",
        " ",
        "\"Item\"",
        "\"retry_after\"",
        "{\"secs\":",
        "\"",
    ]);
    let jumble = prop::collection::vec(tokens, 0..40).prop_map(|tokens| tokens.concat().into_bytes());
    prop_oneof![prop::collection::vec(any::<u8>(), 0..60), spoilt, jumble]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(codec in prop_oneof![4 => Just(0i16), 1 => Just(1), 1 => any::<i16>()], bytes in bytes()) {
        is_bearable(&Payload { codec, bytes });
    }

    #[test]
    fn what_was_written_is_read_back(order in order()) {
        let (payload, back) = Payload::round_trip(Codec::Json, &order, usize::MAX).expect("written");
        prop_assert_eq!(&back, &order);
        prop_assert_eq!(&payload.bytes, &serde_json::to_vec(&order).expect("JSON"));
        let value: Value = payload.decode().expect("JSON");
        let shuffled = Payload { codec: 0, bytes: serde_json::to_vec_pretty(&value).expect("JSON") };
        prop_assert_eq!(payload.digest(), shuffled.digest());
    }

    #[test]
    fn failures_are_read_back(message in ".{0,40}", causes in prop::collection::vec(".{0,10}", 0..3), details in order()) {
        let failure = causes.iter().fold(Failure::new(&message), |failure, _| failure.with_details(&details));
        let back = Failure::from_payload(&failure.to_payload()).expect("read back");
        prop_assert_eq!(&back, &failure);
        prop_assert_eq!(back.details::<Order>().is_some(), !causes.is_empty());
    }
}

#[cfg(feature = "bincode")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compact_values_are_read_back(order in order()) {
        let (_, back) = Payload::round_trip(Codec::Bincode, &order, usize::MAX).expect("written");
        prop_assert_eq!(back, order);
    }
}
