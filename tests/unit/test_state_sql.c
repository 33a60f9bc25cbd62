/* The statement layer's own promises: no value too few or too many, no half of a transaction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "state/state_priv.h"
#include "state_fixture.h"

static void too_few_or_too_many_values_change_nothing(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    assert_int_equal(sql_run(f->state, SQL_LAB_DELETE, NO_VALUES, NULL, NULL, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_string_equal(err.subject, f->database);
    assert_string_equal(err.cause, "cannot forget the lab: the statement takes 1 values and got 0");

    error_clear(&err);
    assert_int_equal(sql_run(f->state, SQL_LAB_DELETE, VALUES(text(id), integer(1)), NULL, NULL, &err), -1);
    assert_string_equal(err.cause, "cannot forget the lab: the statement takes 1 values and got 2");

    error_clear(&err);
    assert_int_equal(sql_change_one(f->state, SQL_LAB_SET_REMOVING, NO_VALUES, id, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM labs WHERE removing = 0"), 1);
}

/* A value of an earlier use must not take the place of a missing one. */
static void values_do_not_outlive_their_use(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    assert_int_equal(sql_run(f->state, SQL_LAB_FIND, VALUES(text("lab")), NULL, NULL, &err), 0);
    char *sql = sqlite3_expanded_sql(f->state->statements[SQL_LAB_FIND]);
    assert_non_null(strstr(sql, "WHERE name = NULL"));
    sqlite3_free(sql);
}

struct reentry {
    struct state *state;
    struct error err;
    int result;
};

static int read_again(void *data, sqlite3_stmt *row, struct error *err) {
    (void)row, (void)err;
    struct reentry *r = data;
    r->result = sql_run(r->state, SQL_LAB_NAMES, NO_VALUES, NULL, NULL, &r->err);
    return 0;
}

static void statement_inside_itself_is_refused_and_goes_on_outside(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    struct reentry r = {.state = f->state};
    state_fixture_lab(f->state, "lab", id);
    assert_int_equal(sql_run(f->state, SQL_LAB_NAMES, NO_VALUES, read_again, &r, &err), 0);
    assert_int_equal(r.result, -1);
    assert_int_equal(r.err.code, ERR_INTERNAL);
    assert_non_null(strstr(r.err.cause, "the statement is being read from"));
}

static int refuse(void *data, sqlite3_stmt *row, struct error *err) {
    (void)data, (void)row;
    return error_set(err, ERR_IMAGE, "row", "not this one");
}

static void row_function_ends_the_statement_with_its_own_error(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    assert_int_equal(sql_run(f->state, SQL_LAB_NAMES, NO_VALUES, refuse, NULL, &err), -1);
    assert_int_equal(err.code, ERR_IMAGE);
    assert_int_equal(sql_run(f->state, SQL_LAB_NAMES, NO_VALUES, NULL, NULL, &err), 0); /* it was reset */
}

/* --- transactions --- */

static void rolled_back_is_gone_and_committed_stays(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    state_rollback(f->state); /* nothing is open */
    assert_int_equal(state_begin(f->state, &err), 0);
    state_fixture_lab(f->state, "lost", id);
    state_rollback(f->state);
    state_rollback(f->state);
    assert_int_equal(state_begin(f->state, &err), 0);
    state_fixture_lab(f->state, "kept", id);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM labs"), 0); /* nobody else sees it yet */
    assert_int_equal(state_commit(f->state, &err), 0);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM labs WHERE name = 'kept'"), 1);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM labs"), 1);
}

static void close_with_an_open_transaction_rolls_it_back(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    assert_int_equal(state_begin(f->state, &err), 0);
    state_fixture_lab(f->state, "lost", id);
    state_fixture_reopen(f);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM labs"), 0);
}

static void begin_and_commit_come_in_pairs(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    assert_int_equal(state_commit(f->state, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.cause, "none is open"));
    error_clear(&err);
    assert_int_equal(state_begin(f->state, &err), 0);
    assert_int_equal(state_begin(f->state, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.cause, "one is open"));
    error_clear(&err);
    assert_int_equal(state_commit(f->state, &err), 0);
}

/* SQLite leaves the transaction open when what it deferred fails at COMMIT; the next one must begin all the same. */
static void failed_commit_leaves_nothing_and_nothing_open(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    struct machine_record m = state_fixture_machine("lab/a", 0);
    assert_int_equal(state_begin(f->state, &err), 0);
    assert_int_equal(sqlite3_exec(f->state->db, "PRAGMA defer_foreign_keys = ON", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(state_machine_put(f->state, "0123456789abcdef", &m, &err), 0);
    assert_int_equal(state_commit(f->state, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.cause, "cannot commit a transaction: FOREIGN KEY constraint failed"));
    error_clear(&err);
    assert_int_equal(state_begin(f->state, &err), 0);
    assert_int_equal(state_commit(f->state, &err), 0);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM machines"), 0);
}

/* run_start closes old runs before it finds that the lab is unknown: inside a caller's transaction that part goes,
 * the caller's own part stays. */
static void failed_part_of_a_transaction_leaves_the_rest_alone(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    int64_t run;
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    assert_int_equal(state_run_start(f->state, id, "up", &run, &err), 0);
    state_fixture_exec(f->database, "UPDATE runs SET lab_id = '0123456789abcdef'");

    assert_int_equal(state_begin(f->state, &err), 0);
    assert_int_equal(state_lab_set_removing(f->state, id, &err), 0);
    assert_int_equal(state_run_start(f->state, "0123456789abcdef", "up", &run, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    error_clear(&err);
    assert_int_equal(state_commit(f->state, &err), 0);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM labs WHERE removing = 1"), 1);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM runs WHERE ended_at = 0"), 1);
}

/* SQLite rolls back by itself on some errors; here somebody pulls the transaction away under the caller. */
static void after_a_lost_transaction_nothing_is_written_until_rollback(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    state_fixture_lab(f->state, "lab", id);
    assert_int_equal(state_begin(f->state, &err), 0);
    assert_int_equal(sqlite3_exec(f->state->db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(state_lab_set_removing(f->state, id, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.cause, "the transaction was rolled back before"));
    error_clear(&err);
    assert_int_equal(state_commit(f->state, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM labs WHERE removing = 1"), 0);
    error_clear(&err);
    state_rollback(f->state);
    assert_int_equal(state_lab_set_removing(f->state, id, &err), 0);
}

static void read_inside_a_transaction_sees_it(void **state) {
    struct state_fixture *f = *state;
    char id[LAB_ID_LEN + 1];
    struct error err = {0};
    struct lab_contents *c = NULL;
    struct machine_record m = state_fixture_machine("lab/a", 0);
    assert_int_equal(state_begin(f->state, &err), 0);
    state_fixture_lab(f->state, "lab", id);
    assert_int_equal(state_machine_put(f->state, id, &m, &err), 0);
    assert_int_equal(state_lab_load(f->state, id, &c, &err), 0);
    assert_int_equal(c->nmachines, 1);
    lab_contents_free(c);
    assert_int_equal(state_commit(f->state, &err), 0);
    assert_int_equal(state_lab_load(f->state, id, &c, &err), 0); /* and ended its own read transaction outside */
    lab_contents_free(c);
    assert_int_not_equal(sqlite3_get_autocommit(f->state->db), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STATE_TEST(too_few_or_too_many_values_change_nothing),
        STATE_TEST(values_do_not_outlive_their_use),
        STATE_TEST(statement_inside_itself_is_refused_and_goes_on_outside),
        STATE_TEST(row_function_ends_the_statement_with_its_own_error),
        STATE_TEST(rolled_back_is_gone_and_committed_stays),
        STATE_TEST(close_with_an_open_transaction_rolls_it_back),
        STATE_TEST(begin_and_commit_come_in_pairs),
        STATE_TEST(failed_commit_leaves_nothing_and_nothing_open),
        STATE_TEST(failed_part_of_a_transaction_leaves_the_rest_alone),
        STATE_TEST(after_a_lost_transaction_nothing_is_written_until_rollback),
        STATE_TEST(read_inside_a_transaction_sees_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
