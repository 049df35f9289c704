//! Connection URLs: read or refused, and no word about the password.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    workflow_pg::fuzzing::url(text).ok();
    workflow_sqlite::fuzzing::url(text).ok();
    let url = format!("postgres://me:s3cr3t@{text}");
    // A later @ makes what is before it a part of the password.
    if !text.contains('@')
        && let Err(error) = workflow_pg::fuzzing::url(&url)
    {
        assert!(!error.to_string().contains("s3cr3t"), "{error}");
    }
});
