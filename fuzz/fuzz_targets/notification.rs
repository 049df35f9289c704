//! What other sessions notify: read, written again and read again, it is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &str| {
    workflow_pg::fuzzing::notification(payload);
});
