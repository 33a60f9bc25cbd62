#include "state/state_priv.h"

#include <errno.h>

static const struct statement {
    const char *purpose, *sql;
} statements[SQL_MAX] = {
#define X(symbol, purpose, text) [symbol] = {purpose, text},
    STATEMENTS(X)
#undef X
};

/* --- errors --- */

#define MEND_ACCESS "check that the folder and the file belong to you and can be written"

static const struct meaning {
    int result; /* SQLite's primary result code; 0: any other */
    enum error_code code;
    const char *mend;
} meanings[] = {
    {SQLITE_FULL, ERR_DISK_FULL, "free some space, then run the same command again: it continues where it stopped"},
    {SQLITE_IOERR, ERR_IO, "check the disk and its file system: dmesg"},
    {SQLITE_CANTOPEN, ERR_IO, MEND_ACCESS},
    {SQLITE_READONLY, ERR_IO, MEND_ACCESS},
    {SQLITE_PERM, ERR_IO, MEND_ACCESS},
    {SQLITE_BUSY, ERR_LOCKED, NULL},
    {SQLITE_LOCKED, ERR_LOCKED, NULL},
    {SQLITE_CORRUPT, ERR_STATE_CORRUPT, NULL},
    {SQLITE_NOTADB, ERR_STATE_CORRUPT, NULL},
    {0, ERR_INTERNAL, NULL},
};

static const struct meaning *meaning_of(sqlite3 *db, int result) {
    /* Of the shared-memory file SQLite tells only "I/O error"; the system call's number says what it was. */
    int primary = result & 0xff;
    if (primary == SQLITE_IOERR && sqlite3_system_errno(db) == ENOSPC)
        primary = SQLITE_FULL;
    const struct meaning *m = meanings;
    while (m->result && m->result != primary)
        m++;
    return m;
}

int sql_error_corrupt(const char *path, const char *cause, struct error *err) {
    error_set(err, ERR_STATE_CORRUPT, path, "%s", cause);
    return error_mend(err,
                      "move %s and the -wal and -shm files beside it away and keep the folder labs; then restore a "
                      "backup, or take over what runs: nestor adopt HOST --file FILE",
                      path);
}

static int error_locked(struct state *s, const char *purpose, struct error *err) {
    struct holder who = holder_find(s->path);
    bool stopped = !s->recording && cancel_fired(s->cancel);
    const char *cannot = stopped ? "interrupted before it could" : "cannot";
    enum error_code code = stopped ? ERR_CANCELLED : ERR_LOCKED;
    if (who.pid)
        error_set(err, code, s->path, "%s %s: process %d (%s) is writing to it", cannot, purpose, (int)who.pid,
                  who.command[0] ? who.command : "unknown");
    else
        error_set(err, code, s->path, "%s %s: another process is writing to it", cannot, purpose);
    if (stopped)
        return -1;
    error_mend(err, "wait until it has ended, then run the same command again");
    return error_retry(err);
}

int sql_error(struct state *s, int result, const char *purpose, struct error *err) {
    const struct meaning *m = meaning_of(s->db, result);
    if (m->code == ERR_LOCKED)
        error_locked(s, purpose, err);
    else if (m->code == ERR_STATE_CORRUPT)
        sql_error_corrupt(s->path, m->result == SQLITE_NOTADB ? "not a database" : "the database is damaged", err);
    else
        error_set(err, m->code, s->path, "cannot %s: %s (SQLite %d)", purpose, sqlite3_errmsg(s->db), result);
    if (m->mend)
        error_mend(err, "%s", m->mend);
    if (err)
        err->native = result;
    return -1;
}

/* --- running --- */

int sql_prepare_all(struct state *s, struct error *err) {
    for (int id = 0; id < SQL_MAX; id++) {
        int result =
            sqlite3_prepare_v3(s->db, statements[id].sql, -1, SQLITE_PREPARE_PERSISTENT, &s->statements[id], NULL);
        if (result != SQLITE_OK)
            return sql_error(s, result, statements[id].purpose, err);
    }
    return 0;
}

static int bind_one(sqlite3_stmt *stmt, int at, const struct value *v) {
    switch (v->type) {
    case VALUE_NULL:
        return sqlite3_bind_null(stmt, at);
    case VALUE_INTEGER:
        return sqlite3_bind_int64(stmt, at, v->integer);
    case VALUE_TEXT:
        return sqlite3_bind_text64(stmt, at, v->text, v->len, SQLITE_STATIC, SQLITE_UTF8);
    }
    return SQLITE_MISUSE;
}

static int bind_all(struct state *s, enum sql id, const struct value *values, size_t n, struct error *err) {
    sqlite3_stmt *stmt = s->statements[id];
    int wanted = sqlite3_bind_parameter_count(stmt);
    if ((size_t)wanted != n)
        return error_set(err, ERR_INTERNAL, s->path, "cannot %s: the statement takes %d values and got %zu",
                         statements[id].purpose, wanted, n);
    for (size_t i = 0; i < n; i++) {
        int result = bind_one(stmt, (int)i + 1, &values[i]);
        if (result != SQLITE_OK)
            return sql_error(s, result, statements[id].purpose, err);
    }
    return 0;
}

static int step_all(struct state *s, enum sql id, row_fn on_row, void *data, struct error *err) {
    sqlite3_stmt *stmt = s->statements[id];
    int result;
    while ((result = sqlite3_step(stmt)) == SQLITE_ROW)
        if (on_row && on_row(data, stmt, err))
            return -1;
    return result == SQLITE_DONE ? 0 : sql_error(s, result, statements[id].purpose, err);
}

/* SQLite ends a transaction by itself on some errors (disk full, I/O). Statements after that would be their own
 * transactions: the second half of something whose first half is gone. */
static bool transaction_lost(const struct state *s) { return s->open && sqlite3_get_autocommit(s->db); }

int sql_run(struct state *s, enum sql id, const struct value *values, size_t n, row_fn on_row, void *data,
            struct error *err) {
    sqlite3_stmt *stmt = s->statements[id];
    const char *purpose = statements[id].purpose;
    if (sqlite3_stmt_busy(stmt))
        return error_set(err, ERR_INTERNAL, s->path, "cannot %s: the statement is being read from", purpose);
    if (transaction_lost(s))
        return error_set(err, ERR_INTERNAL, s->path, "cannot %s: the transaction was rolled back before", purpose);
    int r = bind_all(s, id, values, n, err);
    if (r == 0)
        r = step_all(s, id, on_row, data, err);
    sqlite3_reset(stmt); /* repeats the result that step_all has told */
    sqlite3_clear_bindings(stmt);
    return r;
}

int sql_change_one(struct state *s, enum sql id, const struct value *values, size_t n, const char *subject,
                   struct error *err) {
    if (sql_run(s, id, values, n, NULL, NULL, err))
        return -1;
    int64_t changed = sqlite3_changes64(s->db);
    if (changed != 1)
        return error_set(err, ERR_INTERNAL, subject, "cannot %s: %lld rows were changed where one is expected",
                         statements[id].purpose, (long long)changed);
    return 0;
}

int sql_exec(struct state *s, const char *purpose, const char *sql, struct error *err) {
    int result = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? 0 : sql_error(s, result, purpose, err);
}

int sql_number(struct state *s, const char *purpose, const char *sql, int64_t *ret, struct error *err) {
    sqlite3_stmt *stmt = NULL;
    int result = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(stmt);
    if (result == SQLITE_ROW)
        *ret = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return result == SQLITE_ROW ? 0 : sql_error(s, result, purpose, err);
}

char *column_text(struct arena *a, sqlite3_stmt *row, int column) {
    const char *s = (const char *)sqlite3_column_text(row, column);
    return arena_strndup(a, s ? s : "", s ? (size_t)sqlite3_column_bytes(row, column) : 0);
}
