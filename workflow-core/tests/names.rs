//! Names and ids from anybody are refused or can be stored as they are.

use proptest::prelude::*;
use workflow_core::ids::{MAX_NAME_BYTES, check_id, check_name};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[A-Za-z0-9_.:/-]{0,210}",
        "\\PC{0,210}",
        prop::collection::vec(
            prop::sample::select(vec!['a', '\0', '\n', '\u{7f}', '\u{200b}', '\u{202e}', 'é', '/', '.', '\'', '"']),
            0..8
        )
        .prop_map(|chars| chars.into_iter().collect()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_keep_their_rule(name in text()) {
        let allowed = |c: char| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '.' | ':' | '/' | '-');
        let good = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.chars().all(allowed);
        let checked = check_name("step", &name);
        prop_assert_eq!(checked.is_ok(), good);
        if let Err(error) = checked {
            let message = error.to_string();
            prop_assert!(message.chars().all(|c| !c.is_control()), "{:?}", message);
            prop_assert!(message.len() < 1_000 && message.contains("step"));
        }
    }

    #[test]
    fn ids_keep_their_rule(id in text()) {
        let good = (1..=MAX_NAME_BYTES).contains(&id.len()) && id.chars().all(|c| !c.is_control());
        let checked = check_id("id", &id);
        prop_assert_eq!(checked.is_ok(), good);
        if let Err(error) = checked {
            prop_assert!(error.to_string().chars().all(|c| !c.is_control()));
        }
    }
}
