//! The statements: every file of `queries/`, and those that take many rows at once.

use std::sync::{Arc, LazyLock};

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr, SqliteConnection};
use workflow_core::{RunId, StoreError};

use crate::error;

/// A statement that takes rows, `VALUES (?, ..)`, repeated for some numbers of rows.
pub(crate) struct Many {
    sizes: [Arc<str>; SIZES.len()],
}

/// How many rows a statement takes. Few sizes, so that each is prepared once and kept; the largest times the widest
/// row stays far below SQLite's limit of 32,766 parameters.
const SIZES: [usize; 4] = [256, 32, 4, 1];

const MARK: &str = "VALUES (";

impl Many {
    fn new(one: &'static str) -> Self {
        Self { sizes: SIZES.map(|rows| repeat(one, rows).into()) }
    }

    /// Cuts `items` into pieces, each with the statement that takes it.
    pub(crate) fn pieces<'a, T>(
        &self,
        items: &'a [T],
    ) -> impl Iterator<Item = (SqlStr, &'a [T])> + Send + use<'a, '_, T>
    where
        T: Sync,
    {
        let mut rest = items;
        std::iter::from_fn(move || {
            let (size, sql) = SIZES.iter().zip(&self.sizes).find(|(size, _)| **size <= rest.len())?;
            let (piece, left) = rest.split_at(*size);
            rest = left;
            // Made of a file of `queries/` and a number: no text of a user is in it.
            Some((AssertSqlSafe(Arc::clone(sql)).into_sql_str(), piece))
        })
    }
}

/// Runs a statement that takes run ids. Returns how many rows it changed.
pub(crate) async fn for_runs(
    connection: &mut SqliteConnection,
    many: &Many,
    runs: &[RunId],
) -> Result<u64, StoreError> {
    let mut changed = 0;
    for (sql, piece) in many.pieces(runs) {
        let query = piece.iter().fold(sqlx::query(sql), |query, run| query.bind(run.0));
        changed += query.execute(&mut *connection).await.map_err(error::statement)?.rows_affected();
    }
    Ok(changed)
}

/// `one` with its `VALUES (..)` for `rows` rows.
fn repeat(one: &str, rows: usize) -> String {
    let Some(at) = one.find(MARK) else { return one.to_owned() };
    let start = at + MARK.len() - 1;
    let end = one[start..].find(')').map_or(one.len(), |close| start + close + 1);
    let tuples = vec![&one[start..end]; rows].join(", ");
    format!("{}{}{}", &one[..start], tuples, &one[end..])
}

macro_rules! statements {
    ($($name:ident = $file:literal;)*) => {
        $(pub(crate) const $name: &str = include_str!(concat!("../queries/", $file, ".sql"));)*
        /// Every statement with the name of its file.
        #[cfg(test)]
        const STATEMENTS: &[(&str, &str)] = &[$(($file, $name)),*];
    };
}

macro_rules! many {
    ($($name:ident = $file:literal;)*) => {
        $(pub(crate) static $name: LazyLock<Many> =
            LazyLock::new(|| Many::new(include_str!(concat!("../queries/", $file, ".sql"))));)*
        /// Every statement that takes many rows with the name of its file.
        #[cfg(test)]
        fn many() -> Vec<(&'static str, &'static Many)> {
            vec![$(($file, &*$name)),*]
        }
    };
}

statements! {
    OTHER_EXECUTORS = "other_executors";
    LIVING_EXECUTORS = "living_executors";
    END_LEASE = "end_lease";
    CHECK_FENCE = "check_fence";
    CLAIMABLE = "claimable";
    COUNT_EVENTS = "count_events";
    COUNT_MESSAGE = "count_message";
    DATA_VERSION = "data_version";
    DETACH_CHILDREN = "detach_children";
    EVENT_KNOWN = "event_known";
    FIND_BY_ID = "find_by_id";
    FIND_BY_INVOKE_ID = "find_by_invoke_id";
    FIND_SAME = "find_same";
    FIRST_EVENT_AFTER = "first_event_after";
    FIRST_EVENT_SEQ = "first_event_seq";
    FIRST_TAKEN = "first_taken";
    FORGET_EXECUTOR = "forget_executor";
    FORGET_THE_DEAD = "forget_the_dead";
    HAND_OVER_RUNS = "hand_over_runs";
    INBOX_OF_RUN = "inbox_of_run";
    INSERT_EVENT = "insert_event";
    INSERT_MESSAGE = "insert_message";
    JOURNAL_MODE = "journal_mode";
    JOURNAL_OF_RUN = "journal_of_run";
    LANDED = "landed";
    LIST_CHILDREN = "list_children";
    LIST_RUNS = "list_runs";
    MAIL_OF_EXECUTOR = "mail_of_executor";
    MARK_DEAD = "mark_dead";
    MIGRATION_DONE = "migration_done";
    MIGRATION_LEVEL = "migration_level";
    MIGRATION_TABLE = "migration_table";
    NEXT_DUE = "next_due";
    NEXT_EVENT_SEQ = "next_event_seq";
    PARK = "park";
    POISON_RUN = "poison_run";
 PROVE_WRITABLE = "prove_writable";
    REGISTER_EXECUTOR = "register_executor";
    RENEW_LEASE = "renew_lease";
    RESCUE_RUN = "rescue_run";
    RESUME_CODES = "resume_codes";
    RESUME_RUN = "resume_run";
    RUNS_OF_THE_DEAD = "runs_of_the_dead";
    RUNS_TO_SWEEP = "runs_to_sweep";
    STATUS_OF_RUN = "status_of_run";
    SUBSCRIBE = "subscribe";
    SWEEP_EVENTS = "sweep_events";
    TAKE_SUBSCRIPTIONS = "take_subscriptions";
    UNSUBSCRIBE = "unsubscribe";
}

many! {
    CLAIM_RUNS = "claim_runs";
    CONSUME = "consume";
    DELETE_RUNS = "delete_runs";
    DROP_INBOX = "drop_inbox";
    DROP_JOURNAL = "drop_journal";
    DROP_SUBSCRIPTIONS = "drop_subscriptions";
    FINISH = "finish";
    GIVE_BACK = "give_back";
    HANG_UP = "hang_up";
    INSERT_ENTRIES = "insert_entries";
    INSERT_RUNS = "insert_runs";
    OWNED_RUNS = "owned_runs";
}

#[cfg(test)]
mod tests {
    use sqlx::{Executor, Row};
    use workflow_core::Store;

    use super::*;
    use crate::{SqliteOptions, SqliteStore};

    async fn migrated() -> SqliteStore {
        let store = SqliteOptions::memory().open().await.expect("opens");
        store.migrate().await.expect("migrates");
        store
    }

    #[tokio::test]
    async fn every_statement_prepares_on_a_migrated_database() {
        let store = migrated().await;
        let mut slot = store.connections.reader().await;
        let connection = slot.connection().await.expect("connects");
        for (name, sql) in STATEMENTS {
            let prepared = (&mut *connection).prepare(sql.into_sql_str()).await;
            assert!(prepared.is_ok(), "{name}: {prepared:?}");
        }
        for (name, many) in many() {
            for sql in &many.sizes {
                let prepared = (&mut *connection).prepare(AssertSqlSafe(Arc::clone(sql)).into_sql_str()).await;
                assert!(prepared.is_ok(), "{name}: {prepared:?}");
            }
        }
    }

    #[test]
    fn every_file_of_queries_is_a_statement() {
        let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/queries"))
            .expect("is there")
            .map(|file| file.expect("is read").file_name().to_string_lossy().replace(".sql", ""))
            .collect();
        files.sort();
        let mut known: Vec<&str> = STATEMENTS.iter().map(|(name, _)| *name).collect();
        known.extend(many().iter().map(|(name, _)| *name));
        known.sort_unstable();
        assert_eq!(files, known);
    }

    #[test]
    fn rows_are_repeated() {
        assert_eq!(
            repeat("INSERT INTO t (a, b)\nVALUES (?, ?)\nRETURNING a", 2),
            "INSERT INTO t (a, b)\nVALUES (?, ?), (?, ?)\nRETURNING a"
        );
        let many = Many::new("VALUES (?)");
        let sizes: Vec<usize> = many.pieces(&[0_u8; 298]).map(|(_, piece)| piece.len()).collect();
        assert_eq!(sizes, [256, 32, 4, 4, 1, 1]);
    }

    #[tokio::test]
    async fn hot_statements_use_their_indexes() {
        let store = migrated().await;
        let mut slot = store.connections.reader().await;
        let connection = slot.connection().await.expect("connects");
        for (sql, indexes) in [
            (CLAIMABLE, &["wf_run_ready", "wf_run_due"][..]),
            (NEXT_DUE, &["wf_run_next_due"]),
            (MAIL_OF_EXECUTOR, &["wf_run_owned", "sqlite_autoindex_wf_inbox_1"]),
            (RUNS_TO_SWEEP, &["wf_run_to_sweep"]),
            (RESUME_CODES, &["wf_run_parked"]),
            (LIST_CHILDREN, &["wf_run_children"]),
            (FIRST_EVENT_AFTER, &["wf_event_one_per_seq"]),
            (TAKE_SUBSCRIPTIONS, &["wf_subscription_topic"]),
            (JOURNAL_OF_RUN, &["wf_journal_one_per_position"]),
            (RUNS_OF_THE_DEAD, &["wf_run_owned", "wf_journal_one_per_position"]),
        ] {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let rows = sqlx::raw_sql(explain).fetch_all(&mut *connection).await.expect("explains");
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            let plan = plan.join("\n");
            assert!(indexes.iter().all(|index| plan.contains(index)), "{sql}\n{plan}");
        }
    }
}
