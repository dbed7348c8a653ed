//! What every backend has to do. One suite; each backend runs all of it, over a real [`nexus_core::Log`].
//!
//! A backend's tests implement [`Subject`] and call [`backend_contract!`](crate::backend_contract).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a suite of tests: whatever goes wrong ends the test"
)]

mod crowd;
mod cursors;
mod harness;
mod model;
mod pruning;
mod reading;
mod state;
mod writing;

pub use self::{
    crowd::*, cursors::*, harness::*, model::*, pruning::*, reading::*, state::*, writing::*,
};

/// Makes a test of each promise. The argument is an expression that gives a new, empty [`Subject`].
#[macro_export]
macro_rules! backend_contract {
    ($subject:expr) => {
        $crate::backend_contract!(@each $subject;
            numbers_follow_without_gaps
            events_come_back_as_they_were_sent
            a_restart_keeps_everything
            a_request_key_replays_and_expires
            a_fact_happens_once
            guards_hold_or_refuse
            a_refused_request_leaves_no_trace
            records_are_listed_in_order
            records_change_in_every_way
            many_records_and_keys_fit_into_one_batch
            pages_are_bounded
            pages_equal_the_model
            a_rare_topic_is_found_in_few_pages
            a_source_and_a_key_are_found_in_bounded_pages
            times_are_found_by_search
            events_are_found_by_identifier
            sixty_four_publishers_share_one_order
            a_cursor_from_far_behind_catches_up_under_load
            readers_miss_nothing_that_they_are_not_told_of
            pruning_removes_whole_batches_from_the_front
            pruning_leaves_the_end_of_the_log
            pruning_goes_in_small_steps
            a_fact_outlives_its_event
            whoever_is_overtaken_by_pruning_is_told
            the_log_grows_while_it_is_pruned
            what_holds_the_log_and_its_size_are_known
        );
    };
    (@each $subject:expr; $($promise:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                $crate::contract::$promise($subject).await;
            }
        )+
    };
}
