#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "state_fixture.h"

#include <stdlib.h>

#include <sqlite3.h>

#include "nestor/buffer.h"

static struct state *open_state(const char *home) {
    struct state *s = NULL;
    struct error err = {0};
    if (state_open(home, NULL, &s, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    return s;
}

int state_fixture_setup(void **state) {
    struct state_fixture *f = calloc(1, sizeof *f);
    f->home = state_folder_new();
    f->database = state_folder_path(f->home, "state.db");
    f->state = open_state(f->home);
    *state = f;
    return 0;
}

int state_fixture_teardown(void **state) {
    struct state_fixture *f = *state;
    state_close(f->state);
    state_folder_remove(f->home);
    free(f->database);
    free(f);
    return 0;
}

void state_fixture_reopen(struct state_fixture *f) {
    state_close(f->state);
    f->state = open_state(f->home);
}

void state_fixture_lab(struct state *s, const char *name, char id[LAB_ID_LEN + 1]) {
    struct error err = {0};
    if (state_lab_put(s, name, "/labs/lab.yaml", "name: lab\n", 10, NULL, id, &err))
        fail_msg("%s: %s", err.subject, err.cause);
}

struct machine_record state_fixture_machine(const char *path, uint32_t ordinal) {
    return (struct machine_record){.path = path,
                                   .name = "kvm1",
                                   .parent = "lab/outer",
                                   .host = "here",
                                   .level = 2,
                                   .hypervisor = "libvirt",
                                   .template = "debian-12",
                                   .native_name = "lab.kvm1-1a2b3c4d",
                                   .uuid = "8f1d2c3b-0000-8000-8000-000000000001",
                                   .mac = "02:00:00:00:00:01",
                                   .digest = "d1",
                                   .ssh_user = "root",
                                   .ssh_port = 22,
                                   .nesting = "required",
                                   .ready = "ssh",
                                   .status = "running",
                                   .address = "127.0.0.1:40001",
                                   .is_ready = true,
                                   .failure = "an old failure",
                                   .ordinal = ordinal};
}

static sqlite3 *connect(const char *database) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open_v2(database, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    return db;
}

char *state_fixture_text(const char *database, const char *sql) {
    sqlite3 *db = connect(database);
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    const char *text = (const char *)sqlite3_column_text(stmt, 0);
    char *copy = xstrdup(text ? text : "");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return copy;
}

int64_t state_fixture_count(const struct state_fixture *f, const char *sql) {
    cleanup_free char *text = state_fixture_text(f->database, sql);
    return strtoll(text, NULL, 10);
}

void state_fixture_exec(const char *database, const char *sql) {
    sqlite3 *db = connect(database);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}
