//! Values that nest too deep or are too large are refused before they cost the stack or the memory.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;
use workflow_core::payload::MAX_DEPTH;
use workflow_core::{Codec, Failure, Payload, PayloadError};

/// So many levels of arrays, or of objects, that cost no memory.
struct Deep {
    levels: u32,
    objects: bool,
}

impl Serialize for Deep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(levels) = self.levels.checked_sub(1) else { return serializer.serialize_unit() };
        let inner = Deep { levels, ..*self };
        if self.objects {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry("a", &inner)?;
            map.end()
        } else {
            let mut seq = serializer.serialize_seq(Some(1))?;
            seq.serialize_element(&inner)?;
            seq.end()
        }
    }
}

/// Runs on a thread with as much stack as the threads have that drive workflows.
fn on_a_driver_thread(f: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().spawn(f).expect("a thread").join().expect("doesn't panic");
}

#[test]
fn a_hundred_thousand_levels_do_not_overflow_the_stack() {
    on_a_driver_thread(|| {
        for objects in [false, true] {
            let deep = |levels| Deep { levels, objects };
            let error = Payload::json(&deep(100_000)).expect_err("too deep");
            assert!(matches!(error, PayloadError::TooDeep { .. }), "{error}");
            let most = u32::try_from(MAX_DEPTH).expect("small");
            assert!(Payload::json(&deep(most + 1)).is_err());
            let deepest = Payload::json(&deep(most)).expect("can be read back");
            deepest.decode::<Value>().expect("is read back");
            let failure = Failure::new("no").with_details(&deep(100_000));
            assert!(failure.causes()[0].contains("nest deeper"), "{failure}");
            assert!(Failure::from_payload(&failure.to_payload()).is_ok());
            let (open, close) = if objects { (&b"{\"a\":"[..], &b"}"[..]) } else { (&b"["[..], &b"]"[..]) };
            let bytes = [open.repeat(100_000), b"null".to_vec(), close.repeat(100_000)].concat();
            let stored = Payload { codec: Codec::Json.tag(), bytes };
            assert!(stored.decode::<Value>().is_err());
            assert!(Failure::from_payload(&stored).is_err());
            stored.digest();
            assert_eq!(stored.display().len(), stored.bytes.len());
        }
    });
}

#[test]
fn a_value_that_is_too_large_is_counted_and_not_kept() {
    let error = Payload::encode(Codec::Json, &vec![7u8; 1_000_000], 100).expect_err("too large");
    assert_eq!(error, PayloadError::TooLarge { size_bytes: 2_000_001, limit_bytes: 100 });
    assert!(Payload::encode(Codec::Json, &"x".repeat(98), 100).is_ok());
    assert!(Payload::encode(Codec::Json, &"x".repeat(99), 100).is_err());
}
