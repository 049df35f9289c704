//! What `#[workflow]` accepts, and the messages it gives for the rest.

#[test]
fn accepted_forms_compile_and_wrong_ones_say_what_to_write() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
