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
/// # fn my_store() -> Arc<dyn Store> { Arc::new(workflow_core::MemoryStore::default()) }
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
                heartbeat_tells_when_the_lease_of_another_runs_out,
                heartbeat_of_an_unknown_executor_is_refused,
                an_expired_lease_is_never_renewed,
                an_expired_lease_claims_nothing,
                heartbeat_tells_of_executors_to_rescue,
                heartbeat_tells_the_next_wake_time,
                heartbeat_tells_whether_a_run_is_ready,
                claim_tells_the_next_wake_time,
                hand_over_gives_back_what_it_names,
                hand_over_of_a_dead_executor_does_nothing,
                close_hands_runs_over,
                close_leaves_the_crash_count_alone,
                close_is_idempotent,
                close_ends_the_lease,
                close_of_an_unknown_executor_does_nothing,
            }
            rescue: {
                rescue_of_nothing_does_nothing,
                rescue_takes_the_runs_of_the_dead,
                rescue_forgets_a_dead_executor_without_runs,
                rescue_leaves_the_living_alone,
                rescue_never_touches_what_the_dead_had_given_away,
                rescue_counts_crashes_without_progress,
                rescue_counts_from_one_after_progress,
                rescue_parks_what_crashes_too_often,
                rescue_lets_a_resumed_run_crash_as_often_again,
                rescue_keeps_journal_and_inbox,
                rescue_is_bounded,
                rescue_counts_poisoned_runs_towards_its_limit,
                rescue_by_many_counts_each_crash_once,
                a_rescued_executor_never_comes_back,
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
                commit_of_plain_ends_refuses_the_run_of_another_alone,
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
            turn: {
                finish_records_status_and_output,
                an_ended_run_is_final,
                park_keeps_reason_journal_and_inbox,
                resume_makes_only_parked_runs_ready,
                resume_chooses_by_code_and_workflow,
                a_large_batch_is_one_commit,
            }
            hang_up: {
                hang_up_gives_the_run_away,
                hang_up_wakes_at_an_instant,
                hang_up_wakes_after_a_while,
                hang_up_wakes_at_the_earlier_of_both,
                hang_up_until_the_past_is_due_at_once,
                hang_up_for_the_longest_time_is_never_due,
                hang_up_with_unseen_mail_is_ready,
                hang_up_with_seen_mail_waits,
                a_woken_run_can_hang_up_again,
                a_message_takes_the_wake_time_away,
                a_due_run_is_taken_over_by_another_executor,
            }
            inbox: {
                messages_are_numbered_from_one_without_gaps,
                messages_of_a_batch_are_numbered_in_its_order,
                a_message_makes_a_waiting_run_ready,
                a_message_to_a_running_run_leaves_it_running,
                a_message_to_a_ready_run_is_there_when_it_is_claimed,
                messages_to_nobody_and_to_the_ended_are_told,
                mail_is_of_own_runs_ordered_and_bounded,
                consumed_messages_go,
                a_refused_turn_consumes_nothing,
                unconsumed_messages_are_there_at_the_next_claim,
                a_turn_sends_messages,
                mail_within_an_executor_is_in_the_answer_or_in_the_inbox,
                a_message_and_a_hang_up_in_one_batch_leave_a_ready_run,
            }
            child: {
                children_start_with_the_turn,
                starting_a_child_again_leaves_it_alone,
                a_thousand_children_start_in_one_turn,
                the_outcome_of_a_child_wakes_its_parent,
                many_children_of_one_parent_end_in_one_batch,
                children_that_end_at_once_all_reach_their_parent,
                parent_and_child_may_end_in_one_batch,
            }
            event: {
                an_event_reaches_who_waits_for_it,
                an_event_makes_who_hung_up_for_it_ready,
                a_late_waiter_gets_the_first_event_after_its_seq,
                a_late_waiter_that_hangs_up_is_ready,
                a_waiter_for_a_later_seq_is_not_served_before,
                every_waiter_gets_an_event_once,
                a_thousand_waiters_get_an_event_once,
                events_are_read_in_order_one_after_the_other,
                topics_are_separate,
                waiting_again_is_harmless,
                one_run_may_wait_for_several_events,
                unsubscribing_ends_one_wait,
                the_end_of_a_run_ends_its_waits,
                a_parked_run_keeps_waiting,
                a_turn_emits_events,
                waiting_and_emitting_in_one_batch_meet,
                a_refused_turn_neither_waits_nor_emits,
            }
            buffer: {
                emitting_is_idempotent_by_the_events_id,
                a_full_buffer_takes_nothing_of_the_batch,
                an_expired_event_is_no_longer_there,
                events_kept_for_the_longest_time_stay,
                emits_at_once_are_numbered_without_gaps,
            }
            race: {
                create_of_one_id_by_many_creates_one,
                create_of_one_invoke_id_by_many_creates_one,
                an_ended_run_ends_once_of_many,
                batches_of_one_executor_are_committed_side_by_side,
                close_and_commit_at_once_agree,
                a_hang_up_and_a_message_at_once_never_miss_each_other,
                an_end_and_a_message_at_once_agree,
                many_senders_to_one_run_leave_no_gap,
                batches_that_cross_do_not_deadlock,
                a_wait_and_an_emit_at_once_never_miss_each_other,
                one_emit_and_many_waits_at_once_all_meet,
                an_end_and_an_emit_at_once_agree,
            }
            read: {
                find_answers_in_order,
                find_by_invoke_id_is_exact,
                list_is_newest_first_with_payloads,
                list_filters,
                list_tells_every_status_apart,
                list_goes_on_from_the_page_before,
                list_has_limits,
                journal_is_read_by_pages,
            }
            sweep: {
                sweep_of_nothing_does_nothing,
                sweep_deletes_runs_after_their_time,
                sweep_counts_from_the_end_of_a_run,
                sweep_leaves_runs_that_are_not_over,
                sweep_is_bounded,
                sweep_takes_everything_of_a_run,
                sweep_keeps_children_as_long_as_their_parent,
                sweep_keeps_children_while_their_ended_parent_is_kept,
                sweep_lets_a_child_that_goes_on_outlive_its_parent,
                sweep_of_a_bounded_batch_comes_to_the_children_later,
                sweep_says_when_families_leave_more_to_do,
                sweep_of_events_keeps_their_numbers_going,
            }
            watch: {
                watch_tells_of_new_runs,
                watch_tells_of_runs_that_became_ready,
                watch_tells_of_wake_times,
                watch_tells_of_runs_handed_over,
                watch_tells_of_mail,
                mail_within_an_executor_is_answered_or_told,
                watch_tells_of_the_end,
                watch_tells_every_watcher,
                watch_ends_with_its_guard,
                a_sink_may_be_called_while_the_store_is_used,
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
