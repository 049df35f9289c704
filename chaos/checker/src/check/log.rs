//! What parties say: only codes that are documented, no panic, and no secret.

use std::collections::BTreeSet;

use super::Violation;
use super::evidence::Evidence;
use super::facts::Facts;
use crate::record::{Answer, Finding, Record};

/// The page that explains every code.
const PAGE: &str = include_str!("../../../../docs/errors.md");

/// The codes in the first column of the page's tables.
fn documented() -> BTreeSet<&'static str> {
    let first_cells = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    let quoted = first_cells.flat_map(|cell| cell.split('`').step_by(2));
    quoted.filter(|code| !code.is_empty() && code.chars().all(|c| c.is_ascii_uppercase() || c == '_')).collect()
}

/// I24.
pub(super) fn is_clean(facts: &Facts<'_>) -> Vec<Violation> {
    let codes = documented();
    let mut found = Vec::new();
    for line in facts.lines {
        let what = match &line.record {
            Record::ErrorSeen { code, process } if !codes.contains(code.as_str()) => {
                format!("{process} saw {code:?}, which no page explains")
            }
            Record::Answered { answer: Answer::Failed { code }, .. } if !codes.contains(code.as_str()) => {
                format!("a client was told {code:?}, which no page explains")
            }
            Record::LogFound { process, finding: Finding::Panic, .. } => format!("{process} panicked"),
            Record::LogFound { process, finding: Finding::Secret, .. } => {
                format!("the log of {process} shows a payload")
            }
            _ => continue,
        };
        found.push(facts.violation("I24", None, what, Evidence::default().line(line)));
    }
    for row in facts.dump.runs.values() {
        let Some((code, _)) = row.parked.as_ref().filter(|(code, _)| !codes.contains(code.as_str())) else { continue };
        let what = format!("it is parked as {code:?}, which no page explains");
        found.push(facts.violation("I24", Some(row.id), what, Evidence::default().run(row)));
    }
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_understood() {
        let codes = super::documented();
        assert!(codes.len() >= 29, "{codes:?}");
        for code in ["MISUSE", "DIVERGED", "PAYLOAD_TOO_LARGE", "COMMIT_UNKNOWN", "STORE_UNUSABLE"] {
            assert!(codes.contains(code), "{code} isn't among {codes:?}");
        }
    }
}
