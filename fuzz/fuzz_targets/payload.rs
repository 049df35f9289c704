//! Bytes with a codec's tag, read as this and that: a value that can be written again, or an error.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use workflow_core::{Codec, Failure, Payload};

type Nested = BTreeMap<String, Vec<Option<(i64, f64, String)>>>;

fuzz_target!(|input: (u8, &[u8])| {
    let (codec, bytes) = input;
    let payload = Payload { codec: i16::from(codec % 3), bytes: bytes.to_vec() };
    if let Ok(value) = payload.decode::<serde_json::Value>() {
        let (again, back) = Payload::round_trip(Codec::Json, &value, usize::MAX).expect("what was read can be written");
        assert_eq!(value, back);
        assert_eq!(again.digest(), Payload { codec: 0, ..payload.clone() }.digest());
    }
    if let Ok(value) = payload.decode::<Nested>() {
        Payload::encode(Codec::Json, &value, usize::MAX).expect("what was read can be written");
    }
    if let Ok(failure) = Failure::from_payload(&payload) {
        assert_eq!(Failure::from_payload(&failure.to_payload()), Ok(failure));
    }
    payload.decode::<Vec<u8>>().ok();
    payload.display();
    payload.digest();
});
