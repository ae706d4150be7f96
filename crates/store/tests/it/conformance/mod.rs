//! What every engine must do. Each test runs once per engine.

mod appends;
mod audit;
mod beside;
mod reads;
mod removal;
mod views;

use lockkeeper_store::{MemoryStore, SqliteStore, Store};

/// Where a log is: opening it again finds what was there.
trait Place {
    fn open(&self) -> Box<dyn Store>;
}

#[derive(Default)]
struct Memory(MemoryStore);

impl Place for Memory {
    fn open(&self) -> Box<dyn Store> {
        Box::new(self.0.reopen())
    }
}

struct Sqlite(tempfile::TempDir);

impl Default for Sqlite {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Place for Sqlite {
    fn open(&self) -> Box<dyn Store> {
        Box::new(SqliteStore::open(self.0.path().join("store.db")).unwrap())
    }
}

macro_rules! conformance {
    ($($group:ident { $($name:ident)* })*) => {
        mod memory {
            $($( #[test] fn $name() { super::$group::$name(&super::Memory::default()); } )*)*
        }
        mod sqlite {
            $($( #[test] fn $name() { super::$group::$name(&super::Sqlite::default()); } )*)*
        }
    };
}

conformance! {
    appends {
        events_come_back_in_order_and_gapless
        a_stale_append_conflicts_and_its_neighbours_are_stored
        each_submission_of_a_group_gets_its_own_answer
        an_older_epoch_is_fenced
        an_append_that_contradicts_itself_is_refused
        a_name_belongs_to_one_living_session
        what_is_stored_is_there_after_opening_again
        hints_come_after_commits
        callbacks_come_in_the_order_of_submission
        a_panicking_callback_hurts_nobody
        too_much_waiting_is_refused_at_once
    }
    reads {
        a_reader_skips_and_repeats_nothing_while_others_write
        kinds_are_filtered_and_what_is_dropped_is_not_read_again
        one_session_is_read_from_any_position
        pages_are_bounded_and_lead_to_the_end
        a_cursor_of_another_log_is_refused
        large_payloads_come_back_to_the_byte
        unknown_kinds_are_kept
        a_known_kind_with_other_data_is_damage
    }
    views {
        the_view_is_the_fold_at_its_cursor
        views_filter_and_page
        references_are_found
        gates_follow_their_sessions
        live_sessions_are_those_with_work
    }
    beside {
        a_key_is_stored_with_its_events_and_only_once
        old_keys_are_forgotten
        the_last_keys_of_a_scope_are_listed
        a_fact_of_the_host_is_kept_until_it_is_forgotten
        an_older_epoch_keeps_no_fact
        the_ingest_position_moves_with_the_events
        a_snapshot_and_the_rest_are_the_whole_fold
        random_histories_fold_to_their_rows
    }
    audit {
        records_are_stored_with_their_events_and_each_follows_the_one_before
        a_record_is_of_the_session_that_it_says
        records_stay_when_their_session_is_removed
        what_is_refused_leaves_no_record
        pages_of_the_audit_lead_to_its_end
    }
    removal {
        a_removed_session_leaves_its_tombstone_only
        a_removed_id_never_comes_back
        removing_an_ended_session_leaves_its_name_to_the_one_that_lives
        the_tombstone_of_a_long_session_is_found_by_those_who_read_from_the_start
    }
}
