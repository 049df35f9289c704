//! Statements with a bug in them, in builds that are made for it: see [`workflow_core::seeded`].

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

pub(crate) use workflow_core::seeded::{Bug, is};

use workflow_core::seeded::COMPILED;

use crate::sql;

/// The statement, or what the chosen bug makes of it.
#[inline]
pub(crate) fn sql(text: &'static str) -> &'static str {
    if COMPILED { altered(text) } else { text }
}

fn altered(text: &'static str) -> &'static str {
    static KEPT: Mutex<BTreeMap<usize, &'static str>> = Mutex::new(BTreeMap::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.entry(text.as_ptr().addr()).or_insert_with(|| match spoil(text) {
        Some(spoilt) => Box::leak(spoilt.into_boxed_str()),
        None => text,
    })
}

fn spoil(text: &'static str) -> Option<String> {
    if is(Bug::UnfencedCommit) && [sql::COMMIT_ENTRY, sql::COMMIT_ENTRIES, sql::COMMIT_TURNS].contains(&text) {
        let (before, rest) = text.split_once("\n    FROM workflow.executor_writers")?;
        let (_, after) = rest.split_once("FOR KEY SHARE OF w\n")?;
        // The parameters are still there, so that their types are known.
        return Some(format!("{before}\n    WHERE $1::uuid IS NOT NULL AND $2::smallint IS NOT NULL\n{after}"));
    }
    let replace = |from: &str, to: &str| Some(text.replace(from, to)).filter(|spoilt| spoilt != text);
    if is(Bug::LostWake) && text == sql::COMMIT_TURNS {
        return replace("OR r.status = 'waiting' THEN 'ready'", "THEN 'ready'").map(|spoilt| {
            spoilt
                .replace("WHEN t.what IS NULL AND r.status = 'waiting' THEN g.now\n", "")
                .replace("wake_at = CASE\n", "wake_at = CASE\n            WHEN t.what IS NULL THEN r.wake_at\n")
        });
    }
    if is(Bug::HandoverIsCrash) && text == sql::TAKE_OVER {
        return replace("WHEN t.state = 'closed' THEN r.crashes\n", "");
    }
    if is(Bug::RescueWithoutLock) && text == sql::END_EXECUTOR {
        return replace(
            "USING ended AS e\n    WHERE w.executor_id",
            "USING ended AS e\n    WHERE FALSE AND w.executor_id",
        );
    }
    None
}
