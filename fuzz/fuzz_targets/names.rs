//! Names and ids: refused, or within their rule.
#![no_main]

use libfuzzer_sys::fuzz_target;
use workflow_core::ids::{MAX_NAME_BYTES, check_id, check_name};

fuzz_target!(|text: &str| {
    let fits = (1..=MAX_NAME_BYTES).contains(&text.len());
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:/-".contains(&b));
    for (checked, good) in
        [(check_name("step", text), fits && plain), (check_id("id", text), fits && !text.chars().any(char::is_control))]
    {
        assert_eq!(checked.is_ok(), good);
        if let Err(error) = checked {
            let message = error.to_string();
            assert!(message.len() < 4_000 && !message.chars().any(char::is_control));
        }
    }
});
