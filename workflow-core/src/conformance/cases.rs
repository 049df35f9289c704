//! The list of cases, and the macro that makes a test of each.

/// Makes one `#[tokio::test]` of each conformance case, in a module named `conformance`.
///
/// The argument is an expression that gives a future of a [`Harness`](crate::conformance::Harness); it is evaluated
/// once per case. Names in it are those of the module where the macro is called.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use workflow_core::{conformance::Harness, Store};
/// #[derive(Debug)]
/// struct OnMyStore(Arc<dyn Store>);
///
/// #[async_trait::async_trait]
/// impl Harness for OnMyStore {
///     fn store(&self) -> Arc<dyn Store> {
///         self.0.clone()
///     }
///     async fn advance(&self, by: Duration) {
///         tokio::time::sleep(by).await;
///     }
/// }
///
/// # fn my_store() -> Arc<dyn Store> { unimplemented!() }
/// async fn harness() -> OnMyStore {
///     OnMyStore(my_store())
/// }
///
/// workflow_core::store_conformance!(harness());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! store_conformance {
    ($harness:expr) => {
        mod conformance {
            #[allow(unused_imports)]
            use super::*;
            $crate::__conformance_cases! { $harness }
        }
    };
}

/// The list: a new case is one function in its module and one line here.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness;
            lease: {
                migrating_twice_is_harmless,
                register_answers_the_stores_clock,
                heartbeat_keeps_the_lease,
                heartbeat_may_shorten_the_lease,
                heartbeat_of_an_unknown_executor_is_refused,
                an_expired_lease_is_never_renewed,
                an_expired_lease_claims_nothing,
                heartbeat_tells_of_executors_to_rescue,
                heartbeat_tells_the_next_wake_time,
                close_hands_runs_over,
                close_leaves_the_crash_count_alone,
                close_is_idempotent,
                close_ends_the_lease,
                close_of_an_unknown_executor_does_nothing,
            }
            create: {
                create_makes_a_ready_run,
                create_answers_in_order,
                create_of_nothing_is_fine,
                create_is_idempotent_by_id,
                create_is_idempotent_by_invoke_id,
                create_is_idempotent_after_the_run_ended,
                create_refuses_the_same_id_with_another_input,
                create_refuses_the_same_id_with_another_workflow,
                create_refuses_the_same_invoke_id_with_another_input,
                create_compares_digests_and_not_bytes,
                create_looks_at_the_id_before_the_invoke_id,
                create_sees_duplicates_within_the_batch,
                create_sees_conflicts_within_the_batch,
                create_goes_on_past_a_conflict_unless_atomic,
                create_atomic_creates_nothing_on_conflict,
                create_atomic_names_the_invoke_id_in_conflict,
                create_with_a_delay_waits,
                create_with_the_longest_delay_is_never_due,
                create_with_an_owner_is_running,
                create_with_an_expired_owner_is_ready,
                create_with_an_unknown_owner_is_ready,
                create_with_owner_and_delay_waits,
                create_keeps_parent_and_depth,
                create_keeps_a_large_payload,
                create_keeps_every_byte_and_codec,
                create_keeps_unicode_ids_and_long_names,
                create_of_one_id_by_many_creates_one,
                create_of_one_invoke_id_by_many_creates_one,
            }
            claim: {
                claim_takes_a_ready_run,
                claim_takes_the_oldest_ready_first,
                claim_takes_the_earliest_due_first,
                claim_keeps_to_the_room_of_each_queue,
                claim_without_room_takes_nothing,
                claim_takes_only_workflows_and_versions_it_is_given,
                claim_takes_only_queues_it_is_given,
                claim_never_takes_a_run_twice,
                claim_takes_a_due_run_and_not_an_early_one,
                claim_leaves_runs_that_wait_for_messages,
                claim_leaves_ended_and_parked_runs,
                claim_brings_the_whole_journal_in_order,
                claim_brings_the_inbox_in_order,
                claim_needs_a_registered_executor,
                claim_by_many_is_disjoint_and_complete,
                claim_finds_work_under_contention,
            }
            commit: {
                commit_writes_entries,
                commit_of_nothing_answers_now,
                commit_gives_one_time_to_all_its_entries,
                commit_times_never_go_back,
                commit_appends_at_the_given_position,
                commit_refuses_a_taken_position,
                commit_with_a_taken_position_writes_nothing_of_the_batch,
                commit_that_keeps_leaves_the_run_as_it_is,
                commit_refuses_lost_lease,
                commit_refuses_a_rescued_executor,
                commit_refuses_a_closed_executor,
                commit_refuses_an_unknown_executor,
                commit_refuses_what_another_owns_and_writes_the_rest,
                commit_refuses_an_unknown_run_that_ends,
                commit_refuses_what_is_too_early_and_writes_the_rest,
                commit_at_the_very_instant_is_not_too_early,
                landed_tells_which_positions_exist,
            }
            fact: {
                every_phase_is_kept,
                every_mark_is_kept,
                every_payload_is_kept,
                long_names_and_high_numbers_are_kept,
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($harness:expr; $($module:ident: { $($case:ident,)* })*) => {
        $($(
            #[::tokio::test]
            async fn $case() {
                let bench = $crate::conformance::Bench::new($harness.await).await;
                $crate::conformance::$module::$case(&bench).await;
            }
        )*)*
    };
}
