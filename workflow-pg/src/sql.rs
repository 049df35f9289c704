//! The statements, by the name of their file.

macro_rules! create_runs {
    ($where_there_is_one:literal) => {
        concat!(
            include_str!("../queries/create_runs.sql"),
            $where_there_is_one,
            "\nRETURNING r.id, r.owner IS NOT NULL AS owned, r.created_at\n"
        )
    };
}

pub(crate) const APPLIED_MIGRATIONS: &str = include_str!("../queries/applied_migrations.sql");
pub(crate) const AWAIT_ABSENCE: &str = include_str!("../queries/await_absence.sql");
pub(crate) const CHECK_TURNS: &str = include_str!("../queries/check_turns.sql");
pub(crate) const CLAIM: &str = include_str!("../queries/claim.sql");
pub(crate) const COMMIT_ENTRIES: &str = include_str!("../queries/commit_entries.sql");
pub(crate) const COMMIT_ENTRY: &str = include_str!("../queries/commit_entry.sql");
pub(crate) const COMMIT_TURNS: &str = include_str!("../queries/commit_turns.sql");
pub(crate) const COUNT_EVENTS: &str = include_str!("../queries/count_events.sql");
pub(crate) const CREATE_RUN: &str = include_str!("../queries/create_run.sql");
/// Leaves out runs whose id or invoke_id exists. Like the next, returns a row per created run: id, owned, created_at.
pub(crate) const CREATE_RUNS: &str = create_runs!("ON CONFLICT DO NOTHING");
/// Creates none when one exists. An insert that may leave a row out looks for it beforehand and logs it twice: a tenth of
/// what a run without steps costs the server.
pub(crate) const CREATE_NEW_RUNS: &str = create_runs!("");
pub(crate) const DELETE_EVENTS: &str = include_str!("../queries/delete_events.sql");
pub(crate) const DELETE_RUNS: &str = include_str!("../queries/delete_runs.sql");
pub(crate) const EMIT: &str = include_str!("../queries/emit.sql");
pub(crate) const END_EXECUTOR: &str = include_str!("../queries/end_executor.sql");
pub(crate) const END_RUN: &str = include_str!("../queries/end_run.sql");
pub(crate) const END_RUNS: &str = include_str!("../queries/end_runs.sql");
pub(crate) const EXPIRED_EXECUTORS: &str = include_str!("../queries/expired_executors.sql");
pub(crate) const EXPIRE_ABSENT: &str = include_str!("../queries/expire_absent.sql");
pub(crate) const FIND: &str = include_str!("../queries/find.sql");
pub(crate) const FORGET_EXECUTORS: &str = include_str!("../queries/forget_executors.sql");
pub(crate) const HAND_OVER: &str = include_str!("../queries/hand_over.sql");
pub(crate) const HEARTBEAT: &str = include_str!("../queries/heartbeat.sql");
pub(crate) const HOLD_ANY: &str = include_str!("../queries/hold_any.sql");
pub(crate) const HOLD_PRESENCE: &str = include_str!("../queries/hold_presence.sql");
pub(crate) const NEED_NOTICE: &str = include_str!("../queries/need_notice.sql");
pub(crate) const JOURNAL: &str = include_str!("../queries/journal.sql");
pub(crate) const LEASE_LEFT: &str = include_str!("../queries/lease_left.sql");
pub(crate) const LIST: &str = include_str!("../queries/list.sql");
pub(crate) const LOAD_CLAIMED: &str = include_str!("../queries/load_claimed.sql");
pub(crate) const LOCK_EXPIRED: &str = include_str!("../queries/lock_expired.sql");
pub(crate) const LOCK_MIGRATIONS: &str = include_str!("../queries/lock_migrations.sql");
pub(crate) const LOCK_TOPICS: &str = include_str!("../queries/lock_topics.sql");
pub(crate) const LOCK_WRITERS: &str = include_str!("../queries/lock_writers.sql");
pub(crate) const MAIL: &str = include_str!("../queries/mail.sql");
pub(crate) const MARK_SESSION: &str = include_str!("../queries/mark_session.sql");
pub(crate) const MIGRATIONS_TABLE: &str = include_str!("../queries/migrations_table.sql");
pub(crate) const NEXT_EXECUTOR: &str = include_str!("../queries/next_executor.sql");
pub(crate) const NOTIFY: &str = include_str!("../queries/notify.sql");
pub(crate) const ORPHAN_CHILDREN: &str = include_str!("../queries/orphan_children.sql");
pub(crate) const PROBE_ENTRY: &str = include_str!("../queries/probe_entry.sql");
pub(crate) const RECORD_MIGRATION: &str = include_str!("../queries/record_migration.sql");
pub(crate) const REGISTER: &str = include_str!("../queries/register.sql");
pub(crate) const RELEASE_PRESENCE: &str = include_str!("../queries/release_presence.sql");
pub(crate) const RELEASE_RUNS: &str = include_str!("../queries/release_runs.sql");
pub(crate) const RESUME: &str = include_str!("../queries/resume.sql");
pub(crate) const SAME_RUNS: &str = include_str!("../queries/same_runs.sql");
pub(crate) const SEND: &str = include_str!("../queries/send.sql");
pub(crate) const SERVER_SETTLED: &str = include_str!("../queries/server_settled.sql");
pub(crate) const SERVER_STARTED: &str = include_str!("../queries/server_started.sql");
pub(crate) const SESSION_MARK: &str = include_str!("../queries/session_mark.sql");
pub(crate) const SETTINGS: &str = include_str!("../queries/settings.sql");
pub(crate) const SET_PRESENCE: &str = include_str!("../queries/set_presence.sql");
pub(crate) const SUBSCRIBE: &str = include_str!("../queries/subscribe.sql");
pub(crate) const TAKE_OVER: &str = include_str!("../queries/take_over.sql");
pub(crate) const TRY_ABSENCE: &str = include_str!("../queries/try_absence.sql");
pub(crate) const USER_COMMIT: &str = include_str!("../queries/user_commit.sql");
