/* Opening: new, old, newer, foreign and damaged databases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "state/state_priv.h"
#include "state_fixture.h"

static void count_lab(void *data, const struct lab_record *r) {
    (void)r;
    ++*(int *)data;
}

static void close_fixture(struct state_fixture *f) {
    state_close(f->state);
    f->state = NULL;
}

/* Opens home; the state must not open, and *err says why. */
static void assert_refused(const char *home, struct error *err) {
    struct state *s = (struct state *)err; /* to be left alone */
    error_clear(err);
    assert_int_equal(state_open(home, NULL, &s, err), -1);
    assert_ptr_equal(s, err);
}

static void new_database_is_private_and_set_up(void **state) {
    struct state_fixture *f = *state;
    static const char *const files[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = xasprintf("%s%s", f->database, files[i]);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        free(path);
    }
    static const struct {
        const char *sql;
        int64_t value;
    } settings[] = {{"PRAGMA foreign_keys", 1},
                    {"PRAGMA synchronous", 2},
                    {"PRAGMA cell_size_check", 1},
                    {"PRAGMA trusted_schema", 0},
                    {"PRAGMA application_id", STATE_APPLICATION_ID},
                    {"SELECT journal_mode = 'wal' FROM pragma_journal_mode", 1}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        int64_t value = -1;
        struct error err = {0};
        assert_int_equal(sql_number(f->state, "test", settings[i].sql, &value, &err), 0);
        assert_int_equal(value, settings[i].value);
    }
}

static void two_open_at_once_see_each_other(void **state) {
    struct state_fixture *f = *state;
    struct state *second = NULL;
    struct error err = {0};
    char id[LAB_ID_LEN + 1];
    int n = 0;
    assert_int_equal(state_open(f->home, NULL, &second, &err), 0);
    state_fixture_lab(f->state, "lab", id);
    assert_int_equal(state_lab_each(second, count_lab, &n, &err), 0);
    assert_int_equal(n, 1);
    state_close(second);
    state_close(NULL);
}

static void home_that_is_not_there_or_no_folder_is_told(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    char *missing = state_folder_path(f->home, "missing"), *database = state_folder_path(missing, "state.db");
    assert_refused(missing, &err);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.subject, database);
    assert_non_null(strstr(err.cause, "cannot create the database"));
    assert_non_null(strstr(err.mend, "NESTOR_HOME"));

    assert_int_equal(mkdir(missing, 0700), 0);
    assert_int_equal(mkdir(database, 0700), 0);
    assert_refused(missing, &err);
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.subject, database);
    assert_non_null(strstr(err.cause, "cannot open the database"));
    free(database);
    free(missing);
}

/* --- versions --- */

static int newest(void) { return migrations[nmigrations - 1].version; }

/* What a nestor of that version would have left, with a lab in it. */
static void make_old(const char *home, const char *database, int version) {
    struct state *s = NULL;
    struct error err = {0};
    assert_int_equal(database_open(home, NULL, &s, &err), 0);
    assert_int_equal(schema_migrate(s, version, &err), 0);
    state_close(s);
    state_fixture_exec(database, "INSERT INTO labs (id, name, file, spec, created_at, updated_at)"
                                 " VALUES ('0123456789abcdef', 'old', '/old.yaml', 'name: old', 5, 6);"
                                 "INSERT INTO machines VALUES ('0123456789abcdef', 'old/a', 'a', '', 'h', 1, '', 't',"
                                 " 'n', 'u', 'm', 'd', 'root', 22, 'off', 'ssh', 'running', '', 1, '', 0)");
}

static char *schema_of(const char *database) {
    return state_fixture_text(database, "SELECT group_concat(sql, ';') FROM"
                                        " (SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name)");
}

static void every_old_version_becomes_todays_and_keeps_its_rows(void **state) {
    struct state_fixture *f = *state;
    char *todays = schema_of(f->database);
    assert_non_null(strstr(todays, "removing"));
    for (int version = 1; version <= newest(); version++) {
        char *home = state_folder_new(), *database = state_folder_path(home, "state.db");
        struct state_fixture old = {.home = home, .database = database};
        make_old(home, database, version);
        assert_int_equal(state_fixture_count(&old, "PRAGMA user_version"), version);
        state_fixture_reopen(&old);
        assert_int_equal(state_fixture_count(&old, "PRAGMA user_version"), newest());
        char *schema = schema_of(database);
        assert_string_equal(schema, todays);
        free(schema);

        struct lab_record *r = NULL;
        struct lab_contents *c = NULL;
        struct error err = {0};
        assert_int_equal(state_lab_find(old.state, "old", &r, &err), 0);
        assert_string_equal(r->spec, "name: old");
        assert_int_equal(r->created_at, 5);
        assert_false(r->removing);
        assert_int_equal(state_lab_load(old.state, r->id, &c, &err), 0);
        assert_int_equal(c->nmachines, 1);
        lab_contents_free(c);
        lab_record_free(r);
        state_close(old.state);
        state_folder_remove(home);
        free(database);
    }
    free(todays);
}

static void versions_of_the_migrations_count_from_one_without_a_gap(void **state) {
    (void)state;
    for (size_t i = 0; i < nmigrations; i++)
        assert_int_equal(migrations[i].version, i + 1);
}

static void newer_database_is_refused_with_both_versions_and_left_alone(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    close_fixture(f);
    state_fixture_exec(f->database, "PRAGMA user_version = 99");
    assert_refused(f->home, &err);
    assert_int_equal(err.code, ERR_STATE_TOO_NEW);
    assert_string_equal(err.subject, f->database);
    char versions[64];
    snprintf(versions, sizeof versions, "this one knows versions up to %d", newest());
    assert_non_null(strstr(err.cause, "version 99"));
    assert_non_null(strstr(err.cause, versions));
    assert_non_null(strstr(err.mend, "newer nestor"));
    assert_int_equal(state_fixture_count(f, "PRAGMA user_version"), 99);
}

/* The step fails half-way (its table is there already): the version stays, and so does everything else. */
static void failed_migration_leaves_the_old_version_whole(void **state) {
    (void)state;
    char *home = state_folder_new(), *database = state_folder_path(home, "state.db");
    struct state_fixture old = {.home = home, .database = database};
    struct error err = {0};
    make_old(home, database, 1);
    state_fixture_exec(database, "CREATE INDEX runs_of_lab ON runs (lab)");
    assert_refused(home, &err);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.cause, "cannot migrate the database: index runs_of_lab already exists"));
    assert_string_equal(err.context, "to version 2");
    assert_int_equal(state_fixture_count(&old, "PRAGMA user_version"), 1);
    assert_int_equal(
        state_fixture_count(&old, "SELECT count(*) FROM pragma_table_info('labs') WHERE name = 'removing'"), 0);

    state_fixture_exec(database, "DROP INDEX runs_of_lab");
    state_fixture_reopen(&old);
    assert_int_equal(state_fixture_count(&old, "PRAGMA user_version"), newest());
    state_close(old.state);
    state_folder_remove(home);
    free(database);
}

/* --- foreign and damaged files --- */

static void assert_corrupt(const struct state_fixture *f, const struct error *err, const char *cause) {
    assert_int_equal(err->code, ERR_STATE_CORRUPT);
    assert_string_equal(err->subject, f->database);
    assert_non_null(strstr(err->cause, cause));
    assert_non_null(strstr(err->mend, f->database));
    assert_non_null(strstr(err->mend, "nestor adopt HOST --file FILE"));
}

static void text_file_is_no_database(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    close_fixture(f);
    char text[8192];
    memset(text, 'x', sizeof text);
    state_file_write(f->database, text, sizeof text);
    assert_refused(f->home, &err);
    assert_corrupt(f, &err, "not a database");
    char *now = state_file_read(f->database, NULL);
    assert_memory_equal(now, text, sizeof text); /* left for the user to look at */
    free(now);
}

static void database_of_another_program_is_refused_and_left_alone(void **state) {
    struct state_fixture *f = *state;
    static const char *const others[] = {"CREATE TABLE bookmarks (url)", "PRAGMA user_version = 3",
                                         "PRAGMA application_id = 7; CREATE TABLE t (x)"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct error err = {0};
        close_fixture(f);
        assert_int_equal(unlink(f->database), 0);
        state_fixture_exec(f->database, others[i]);
        size_t before, after;
        free(state_file_read(f->database, &before));
        assert_refused(f->home, &err);
        assert_corrupt(f, &err, "a database, but not one of nestor's");
        free(state_file_read(f->database, &after));
        assert_int_equal(before, after);
        assert_int_equal(state_fixture_count(f, "SELECT journal_mode = 'delete' FROM pragma_journal_mode"), 1);
    }
}

static void our_mark_without_a_version_is_damage(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    close_fixture(f);
    state_fixture_exec(f->database, "PRAGMA user_version = 0");
    assert_refused(f->home, &err);
    assert_corrupt(f, &err, "of no version");
}

/* Killed while making it: an empty file, or one that has become WAL but has no table yet. */
static void half_made_database_is_finished(void **state) {
    struct state_fixture *f = *state;
    static const char *const halves[] = {"", "PRAGMA journal_mode = WAL"};
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
        close_fixture(f);
        state_file_write(f->database, "", 0);
        state_fixture_exec(f->database, halves[i]);
        state_fixture_reopen(f);
        assert_int_equal(state_fixture_count(f, "PRAGMA user_version"), newest());
    }
}

/* Called when a statement of the first begins, the look after the first look: a second nestor makes the database, if it
 * gets the lock. */
static int second_makes_it(unsigned type, void *home, void *stmt, void *text) {
    (void)type, (void)text;
    struct state *second = NULL;
    if (!strstr(sqlite3_sql(stmt), "user_version") || database_open(home, NULL, &second, NULL))
        return 0;
    database_set_patience(second, 0);
    int whether_or_not = schema_migrate(second, newest(), NULL);
    (void)whether_or_not;
    state_close(second);
    return 0;
}

static void database_made_between_two_looks_is_not_taken_for_anothers(void **state) {
    struct state_fixture *f = *state;
    struct state *s = NULL;
    struct error err = {0};
    close_fixture(f);
    assert_int_equal(unlink(f->database), 0);
    assert_int_equal(database_open(f->home, NULL, &s, &err), 0);
    sqlite3_trace_v2(s->db, SQLITE_TRACE_STMT, second_makes_it, f->home);
    if (schema_check(s, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    state_close(s);
}

/* Fills several pages of every table. */
static void fill(struct state *s) {
    char id[LAB_ID_LEN + 1], path[32];
    int64_t run, entry;
    struct error err = {0};
    assert_int_equal(state_begin(s, &err), 0);
    state_fixture_lab(s, "lab", id);
    assert_int_equal(state_run_start(s, id, "up", &run, &err), 0);
    for (uint32_t i = 0; i < 40; i++) {
        snprintf(path, sizeof path, "lab/m%u", i);
        struct machine_record m = state_fixture_machine(path, i);
        assert_int_equal(state_machine_put(s, id, &m, &err), 0);
        assert_int_equal(state_journal_intent(s, run, id, path, "create", "r", &entry, &err), 0);
    }
    assert_int_equal(state_commit(s, &err), 0);
}

static void count_entry(void *data, const struct journal_record *r) {
    assert_string_equal(r->step, "create");
    ++*(int *)data;
}

/* 0 when everything of fill() is there; -1 with err otherwise. Anything in between fails the test. */
static int read_all(struct state *s, struct error *err) {
    struct lab_record *r = NULL;
    struct lab_contents *c = NULL;
    int entries = 0;
    if (state_lab_find(s, "lab", &r, err))
        return -1;
    int result = state_lab_load(s, r->id, &c, err);
    if (result == 0) {
        assert_int_equal(c->nmachines, 40);
        lab_contents_free(c);
        result = state_journal_each(s, NULL, 0, 0, count_entry, &entries, err);
    }
    lab_record_free(r);
    if (result == 0)
        assert_int_equal(entries, 40);
    return result;
}

/* From 2 bytes on: a file of none or one SQLite takes as new (unixFileSize in its os_unix.c says why). */
static void database_cut_at_any_length_is_told_as_damaged(void **state) {
    struct state_fixture *f = *state;
    fill(f->state);
    close_fixture(f);
    size_t whole;
    char *bytes = state_file_read(f->database, &whole);
    assert_true(whole > 10 * 4096);
    for (size_t len = 2; len < whole; len += len % 4096 < 2 || len % 4096 == 4095 ? 1 : 619) {
        struct error err = {0};
        state_file_write(f->database, bytes, len);
        assert_refused(f->home, &err);
        assert_int_equal(err.code, ERR_STATE_CORRUPT);
        assert_string_equal(err.subject, f->database);
        assert_non_null(strstr(err.mend, "nestor adopt HOST --file FILE"));
    }
    state_file_write(f->database, bytes, whole);
    struct error err = {0};
    state_fixture_reopen(f);
    assert_int_equal(read_all(f->state, &err), 0);
    free(bytes);
}

/* A page overwritten in the middle is found at the latest when it is read. */
static void page_of_rubbish_is_told_when_it_is_read(void **state) {
    struct state_fixture *f = *state;
    fill(f->state);
    close_fixture(f);
    size_t whole;
    int found = 0;
    char *bytes = state_file_read(f->database, &whole);
    for (size_t page = 0; page < whole; page += 4096) {
        struct error err = {0};
        char *damaged = malloc(whole);
        memcpy(damaged, bytes, whole);
        memset(damaged + page, 0xa5, 4096);
        state_file_write(f->database, damaged, whole);
        free(damaged);
        struct state *s = NULL;
        int r = state_open(f->home, NULL, &s, &err);
        if (r == 0)
            r = read_all(s, &err);
        state_close(s);
        found += r < 0;
        if (r < 0) {
            assert_int_equal(err.code, ERR_STATE_CORRUPT);
            assert_string_equal(err.subject, f->database);
        }
    }
    assert_true(found >= 5); /* the others are indexes that nothing here reads */
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STATE_TEST(new_database_is_private_and_set_up),
        STATE_TEST(two_open_at_once_see_each_other),
        STATE_TEST(home_that_is_not_there_or_no_folder_is_told),
        STATE_TEST(every_old_version_becomes_todays_and_keeps_its_rows),
        STATE_TEST(versions_of_the_migrations_count_from_one_without_a_gap),
        STATE_TEST(newer_database_is_refused_with_both_versions_and_left_alone),
        STATE_TEST(failed_migration_leaves_the_old_version_whole),
        STATE_TEST(text_file_is_no_database),
        STATE_TEST(database_of_another_program_is_refused_and_left_alone),
        STATE_TEST(our_mark_without_a_version_is_damage),
        STATE_TEST(half_made_database_is_finished),
        STATE_TEST(database_made_between_two_looks_is_not_taken_for_anothers),
        STATE_TEST(database_cut_at_any_length_is_told_as_damaged),
        STATE_TEST(page_of_rubbish_is_told_when_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
