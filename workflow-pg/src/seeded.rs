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
    let chosen = || Bug::ALL.iter().copied().find(|bug| is(*bug)).and_then(|bug| spoil(bug, text));
    kept.entry(text.as_ptr().addr()).or_insert_with(|| match chosen() {
        Some(spoilt) => Box::leak(spoilt.into_boxed_str()),
        None => text,
    })
}

/// The statements whose fence [`Bug::UnfencedCommit`] takes away.
const UNFENCED: [&str; 5] = [sql::COMMIT_ENTRY, sql::COMMIT_ENTRIES, sql::COMMIT_TURNS, sql::END_RUN, sql::END_RUNS];

/// What a bug makes of a statement that it is in.
fn spoil(bug: Bug, text: &str) -> Option<String> {
    if bug == Bug::UnfencedCommit && UNFENCED.contains(&text) {
        let (before, rest) = text.split_once("\n    FROM workflow.executor_writers")?;
        let (_, after) = rest.split_once("FOR KEY SHARE OF w\n")?;
        let before = before.replace("x.lease_until", "clock_timestamp() + INTERVAL '5 seconds' AS lease_until");
        // The parameters are still there, so that their types are known.
        return Some(format!("{before}\n    WHERE $1::uuid IS NOT NULL AND $2::smallint IS NOT NULL\n{after}"));
    }
    let replace = |from: &str, to: &str| Some(text.replace(from, to)).filter(|spoilt| spoilt != text);
    if bug == Bug::LostWake && text == sql::COMMIT_TURNS {
        return replace("OR r.status = 'waiting' THEN 'ready'", "THEN 'ready'").map(|spoilt| {
            spoilt
                .replace("WHEN t.what IS NULL AND r.status = 'waiting' THEN g.now\n", "")
                .replace("wake_at = CASE\n", "wake_at = CASE\n            WHEN t.what IS NULL THEN r.wake_at\n")
        });
    }
    if bug == Bug::HandoverIsCrash && text == sql::TAKE_OVER {
        return replace("WHEN t.state = 'closed' THEN r.crashes\n", "");
    }
    if bug == Bug::RescueWithoutLock && text == sql::END_EXECUTOR {
        return replace(
            "USING ended AS e\n    WHERE w.executor_id",
            "USING ended AS e\n    WHERE FALSE AND w.executor_id",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};
    use workflow_core::Store;

    use super::*;

    /// One that can't be executed stops everything, which is no bug that anybody would have to look for.
    #[tokio::test]
    async fn every_bug_leaves_a_statement_that_can_be_executed() {
        let cases = UNFENCED.map(|text| (Bug::UnfencedCommit, text)).into_iter().chain([
            (Bug::LostWake, sql::COMMIT_TURNS),
            (Bug::HandoverIsCrash, sql::TAKE_OVER),
            (Bug::RescueWithoutLock, sql::END_EXECUTOR),
        ]);
        let database = workflow_testserver::test_database().await.expect("a database");
        let store = crate::PgStore::connect(database.url()).await.expect("connects");
        store.migrate().await.expect("migrates");
        for (bug, text) in cases {
            let spoilt = spoil(bug, text).expect("the bug is in it");
            let mut conn = store.pool().acquire().await.expect("connects");
            let prepared = (&mut *conn).prepare(AssertSqlSafe(spoilt).into_sql_str()).await;
            assert!(prepared.is_ok(), "{}: {prepared:?}", bug.name());
        }
    }
}
