//! What must not be in the logs of the executors: panics, and the secret of the payloads.

use std::path::Path;

use workflow_checker::record::{Finding, Record};

use crate::setup::CANARY;

/// How many lines of a kind are told of one log.
const MOST: usize = 5;

/// Everything found in the logs of a directory.
pub fn logs(directory: &Path) -> Vec<Record> {
    let mut found = Vec::new();
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for file in files.filter(|file| file.path().extension().is_some_and(|extension| extension == "log")) {
        let text = std::fs::read(file.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let process = file.path().file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        for (finding, what) in [(Finding::Panic, "panicked at"), (Finding::Secret, CANARY)] {
            for line in text.lines().filter(|line| line.contains(what)).take(MOST) {
                let line = line.replace(CANARY, "(the secret)");
                found.push(Record::LogFound { process: process.clone(), finding, line });
            }
        }
    }
    found
}
