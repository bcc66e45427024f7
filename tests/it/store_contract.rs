//! What every store must do. Each rule is one function, run on both engines.

mod beside;
mod browsers;
mod events;
mod imports;
mod instances;
mod managing;
mod openings;
mod passwords;
mod schema;
mod sessions;
mod sweeps;
mod throttles;
mod tombstones;
mod touches;
mod users;

/// Runs each rule with a fresh store of each engine.
macro_rules! contract {
    ($($area:ident { $($rule:ident)* })*) => {
        mod on_postgres {
            $($(#[tokio::test]
            async fn $rule() {
                let opened = crate::support::store::on_postgres().await;
                super::$area::$rule(&opened).await;
            })*)*
        }
        mod on_sqlite {
            $($(#[tokio::test]
            async fn $rule() {
                let opened = crate::support::store::on_sqlite().await;
                super::$area::$rule(&opened).await;
            })*)*
        }
    };
}

contract! {
    sessions {
        a_session_comes_back_as_it_was_written
        a_session_without_the_optional_parts_comes_back_so
        an_unknown_digest_is_absent
        an_expired_session_is_still_found_and_the_caller_judges
        a_log_in_ends_the_session_it_replaces
        data_is_carried_over_for_the_same_user_only
        a_replaced_session_that_is_gone_is_no_error
        nobody_opens_a_session_for_a_disabled_or_missing_user
        a_failed_log_in_leaves_the_replaced_session_alone
        ending_tells_exactly_which_sessions_ended
        ending_nothing_writes_no_event
        ending_one_fills_in_the_event
        sessions_are_listed_newest_first_in_pages
        sessions_that_are_over_are_not_counted
    }
    imports {
        a_session_is_copied_once_and_what_was_ended_is_not_copied_again
        a_copy_ends_with_the_session_that_it_is_one_of_and_none_is_made_of_it_again
        nobody_gets_a_copy_who_is_disabled_or_gone
        a_copy_follows_its_row_while_the_table_decides_and_not_after
        copies_whose_row_was_not_seen_end_a_few_at_a_time
        a_user_who_was_made_for_a_subject_is_found_by_it_alone
    }
    openings {
        the_session_unseen_for_longest_ends_for_one_too_many
        a_log_in_beyond_the_limit_is_refused_where_that_is_wanted
        sessions_that_are_over_take_nobodys_place
        log_ins_at_once_never_exceed_the_limit
        a_new_session_is_linked_to_the_one_it_replaces
        a_device_is_new_until_a_live_session_has_the_same_agent
    }
    throttles {
        a_burst_is_counted_and_then_one_each_interval
        refused_attempts_make_nobody_wait_longer
        an_attempt_that_one_cell_refuses_is_counted_by_none
        what_is_given_back_was_never_counted_and_strangers_stay_counted
        a_ban_is_told_once_until_nothing_was_tried_for_a_while
        bans_are_listed_by_bucket_in_pages
        what_is_lifted_counts_anew
        cells_that_say_nothing_any_more_are_deleted
        a_ban_that_is_over_is_remembered_for_a_while
        a_clock_that_went_wrong_locks_nobody_out
        of_many_at_once_as_many_are_counted_as_may_be
    }
    touches {
        a_touch_moves_the_idle_end_and_writes_when_and_from_where
        a_touch_moves_times_forward_only
        touches_of_several_instances_are_one_in_an_interval
        a_touch_never_moves_an_end_past_the_absolute_one
        activity_just_before_the_end_counts_and_at_the_end_does_not
        an_end_that_was_brought_forward_stays
        a_touch_brings_no_ended_session_back
        touches_are_answered_in_their_order
    }
    sweeps {
        a_thorough_sweep_removes_exactly_what_is_over
        a_due_sweep_leaves_what_ended_within_the_hour_and_nothing_older
        a_sweep_takes_no_more_than_it_is_told
        a_session_that_activity_moved_on_is_not_swept
        the_last_sweeps_are_kept_newest_first_and_not_for_ever
    }
    users {
        a_user_comes_back_as_they_were_added
        a_user_signs_in_with_name_or_address
        names_and_addresses_belong_to_one_user_only
        the_name_of_a_deleted_user_is_never_given_out_again
        a_user_who_was_not_added_leaves_no_event
        users_are_listed_by_name_in_pages
        a_search_takes_wildcards_for_letters
        a_change_leaves_alone_what_it_does_not_name
        groups_are_added_and_removed_from_what_the_user_has_by_then
        disabling_ends_all_sessions_of_the_user_and_no_other
        a_change_may_end_sessions_and_else_does_not
        deleting_a_user_ends_their_sessions_and_keeps_the_log
        a_missing_user_is_neither_changed_nor_deleted
        a_disabling_under_way_is_not_overtaken_by_a_log_in
        one_of_two_who_add_the_same_name_wins
    }
    browsers {
        many_sessions_are_found_in_one_question
        a_device_is_named_and_audited_only_when_that_changes_something
    }
    passwords {
        a_password_is_replaced_only_where_the_proven_one_still_stands
        a_change_of_password_ends_every_session_and_opens_one
        a_change_of_password_that_comes_too_late_does_nothing
        nobody_signs_in_with_a_password_that_was_changed_meanwhile
        of_two_changes_of_a_password_one_wins
        an_address_that_nobody_verified_is_only_a_claim
        many_users_are_added_at_once_and_each_is_told
        a_dry_run_adds_nobody
    }
    events {
        an_event_comes_back_as_it_was_written
        events_are_listed_newest_first_of_one_user_or_all
    }
    instances {
        instances_see_each_other_and_when
        a_beat_says_what_is_so_by_now
        who_stops_or_stays_silent_is_forgotten
    }
    tombstones {
        what_was_ended_is_found_with_its_event_until_its_time_is_over
        an_end_that_was_not_stored_leaves_no_event
        so_many_are_forgotten_at_once_as_was_said
    }
    managing {
        what_is_old_is_forgotten_in_batches_and_nothing_else
        sessions_are_counted_by_what_they_are
        an_edit_is_made_whole_or_not_at_all
        who_a_user_is_in_applications_is_kept_with_the_user
        a_link_is_used_once_and_in_time
        only_the_newest_events_of_a_window_are_counted
    }
    beside {
        a_command_beside_the_gateway_sees_and_changes_the_same_state
        the_clock_is_the_databases
        a_closed_store_answers_that_it_cannot_be_asked
    }
    schema {
        migrating_twice_applies_nothing
        a_newer_schema_that_allows_this_program_is_used
        a_newer_schema_that_excludes_this_program_is_refused
        a_dry_run_applies_nothing_and_pending_migrations_are_refused
        nothing_is_asked_before_the_schema_is_known
        the_database_itself_refuses_what_the_program_never_writes
        times_without_end_are_read_as_the_greatest_there_are
    }
}

#[tokio::test]
async fn every_statement_can_be_prepared() {
    use crate::support::store::{on_postgres, on_sqlite};
    use portcullis::store::{Place, postgres_statements, sqlite_statements};
    use secrecy::ExposeSecret;
    use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr, SqliteConnection};

    let opened = on_postgres().await;
    let Place::Postgres { url, schema, .. } = &opened.settings.place else {
        panic!("not Postgres")
    };
    let mut connection = PgConnection::connect(url.expose_secret()).await.unwrap();
    for (name, sql) in postgres_statements(schema) {
        let prepared = connection.prepare(AssertSqlSafe(sql.clone()).into_sql_str()).await;
        assert!(prepared.is_ok(), "{name}: {:?}\n{sql}", prepared.err());
    }
    let opened = on_sqlite().await;
    let Place::Sqlite { path } = &opened.settings.place else {
        panic!("not SQLite")
    };
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    let mut both = Vec::new();
    for (name, sql) in sqlite_statements() {
        let prepared = connection.prepare(AssertSqlSafe(sql.clone()).into_sql_str()).await;
        assert!(prepared.is_ok(), "{name}: {:?}\n{sql}", prepared.err());
        both.push(name);
    }
    assert!(both.len() > 20, "the list is the engine's, not an empty one");
}
