//! What the traits promise, checked on the memory twin and on brokers alike: each check is a function of a [`Cluster`].

pub(crate) mod cluster;
mod exchanging;
mod outage;
mod publishing;
mod rebalancing;
mod subscribing;
mod succession;
mod tools;

use cluster::Cluster;

/// Three tests for each check: on the twin in memory, on the embedded broker, and on the one outside.
macro_rules! on_each {
    ($($module:ident::$check:ident),* $(,)?) => {
        $(use $module::$check;)*
        mod on_memory {
            $(#[test] fn $check() { super::$check(&super::Cluster::memory()); })*
        }
        on_kafka!(super::Cluster::kafka: $($check),*);
    };
}

on_each!(
    publishing::records_are_kept_and_keys_stay_together,
    publishing::a_record_is_kept_byte_for_byte,
    publishing::a_record_of_more_than_a_megabyte_is_refused,
    exchanging::a_commit_is_seen_whole,
    exchanging::a_failed_commit_leaves_no_trace_and_is_read_again,
    exchanging::what_is_not_committed_is_read_again_by_the_next,
    exchanging::two_rounds_in_hand_are_committed_in_order,
    exchanging::a_round_is_not_committed_twice,
    exchanging::an_exchanged_record_is_kept_byte_for_byte,
    exchanging::an_empty_outbox_moves_the_offsets,
    exchanging::a_large_outbox_is_one_transaction,
    exchanging::a_zombie_is_fenced_and_leaves_nothing,
    rebalancing::every_record_is_exchanged_once_while_members_come_and_go,
    rebalancing::a_void_round_is_refused,
    rebalancing::a_round_of_partitions_that_stay_survives_a_newcomer,
    rebalancing::a_member_that_ends_leaves_its_partitions_at_once,
    subscribing::a_tail_sees_what_comes_after,
    subscribing::a_tail_starts_where_it_is_told,
    subscribing::a_group_goes_on_from_its_commit,
    subscribing::a_partition_taken_away_is_lost,
    subscribing::what_stays_is_remembered_though_another_was_taken_away,
    subscribing::staying_alive_neither_delivers_nor_skips,
    subscribing::a_rebalance_is_let_in_while_staying_alive,
    subscribing::lag_is_what_waits,
    subscribing::a_reader_knows_how_far_it_is_behind,
);
