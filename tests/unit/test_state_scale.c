/* Ten thousand machines: one transaction in, one query out, and no statement that looks at every row for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "killpoint.h"
#include "state/state_priv.h"
#include "state_fixture.h"

enum { MACHINES = 10000 };

static void put_machines(struct state *s, const char *id) {
    struct error err = {0};
    for (uint32_t i = 0; i < MACHINES; i++) {
        char path[32];
        snprintf(path, sizeof path, "lab/kvm%u/web%u", i / 100, i % 100);
        struct machine_record m = state_fixture_machine(path, i);
        assert_int_equal(state_machine_put(s, id, &m, &err), 0);
    }
}

static void ten_thousand_machines_in_one_transaction(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    struct lab_contents *c = NULL;
    char id[LAB_ID_LEN + 1];
    state_fixture_lab(f->state, "lab", id);
    killpoint_kill(0, KILL_BEFORE_COMMIT); /* counts from here */
    int64_t start = clock_ms();
    assert_int_equal(state_begin(f->state, &err), 0);
    put_machines(f->state, id);
    assert_int_equal(state_commit(f->state, &err), 0);
    int64_t written = clock_ms();
    assert_int_equal(killpoint_commits(), 1);
    assert_int_equal(state_lab_load(f->state, id, &c, &err), 0);
    int64_t loaded = clock_ms();
    assert_int_equal(c->nmachines, MACHINES);
    for (uint32_t i = 0; i < MACHINES; i++)
        assert_int_equal(c->machines[i].ordinal, i);
    assert_string_equal(c->machines[MACHINES - 1].path, "lab/kvm99/web99");
    lab_contents_free(c);
    print_message("written in %lld ms, loaded in %lld ms\n", (long long)(written - start),
                  (long long)(loaded - written));
    assert_true(loaded - start < 20000); /* tens of ms each as released; this is with sanitizers and company */

    assert_int_equal(state_lab_delete(f->state, id, &err), 0);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM machines"), 0);
}

/* Those that may go through a whole table: they are about all of it, or run once in a command. */
static bool may_scan(enum sql id) {
    static const enum sql ids[] = {SQL_LAB_EACH, SQL_LAB_NAMES, SQL_JOURNAL_TRIM};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static void every_other_statement_goes_by_an_index(void **state) {
    struct state_fixture *f = *state;
    for (int id = SQL_LAB_FIND; id < SQL_MAX; id++) {
        const char *text = sqlite3_sql(f->state->statements[id]);
        cleanup_free char *sql = xasprintf("EXPLAIN QUERY PLAN %s", text);
        sqlite3_stmt *plan = NULL;
        assert_int_equal(sqlite3_prepare_v2(f->state->db, sql, -1, &plan, NULL), SQLITE_OK);
        while (sqlite3_step(plan) == SQLITE_ROW) {
            const char *detail = (const char *)sqlite3_column_text(plan, 3);
            if (strncmp(detail, "SCAN", 4) == 0 && !may_scan(id))
                fail_msg("%s: %s", text, detail);
        }
        sqlite3_finalize(plan);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STATE_TEST(ten_thousand_machines_in_one_transaction),
        STATE_TEST(every_other_statement_goes_by_an_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
