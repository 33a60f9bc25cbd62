/* Runs and their steps: the intent before each side effect, the outcome after it. */
#include "nestor/state.h"

#include <time.h>

#include "state/state_priv.h"

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void error_one_line(const struct error *e, struct buffer *out) {
    if (e->subject[0])
        buffer_printf(out, "%s: ", e->subject);
    buffer_puts(out, e->cause);
}

struct new_id {
    int64_t id;
    bool given;
};

static int take_id(void *data, sqlite3_stmt *row, struct error *err) {
    (void)err;
    *(struct new_id *)data = (struct new_id){.id = sqlite3_column_int64(row, 0), .given = true};
    return 0;
}

int state_run_start(struct state *s, const char *lab_id, const char *verb, int64_t *ret_run, struct error *err) {
    int64_t now = now_ms();
    struct new_id run = {0};
    cleanup_scope struct scope scope = {0};
    /* One nestor works on a lab (lab_lock): a run that is still open belongs to one that was killed. */
    if (scope_begin(&scope, s, SQL_BEGIN, err) ||
        sql_run(s, SQL_RUN_CLOSE_OLD, VALUES(text(lab_id), integer(now)), NULL, NULL, err) ||
        sql_run(s, SQL_RUN_START, VALUES(text(lab_id), text(verb), integer(now)), take_id, &run, err))
        return -1;
    if (!run.given)
        return error_set(err, ERR_INTERNAL, lab_id, "cannot record the start of a run: no lab has this id");
    if (scope_commit(&scope, err))
        return -1;
    *ret_run = run.id;
    return 0;
}

int journal_trim(struct state *s, struct error *err) {
    int64_t now = now_ms();
    return sql_run(s, SQL_JOURNAL_TRIM, VALUES(integer(now)), NULL, NULL, err) ||
                   sql_run(s, SQL_RUNS_TRIM, VALUES(integer(now)), NULL, NULL, err)
               ? -1
               : 0;
}

int state_run_end(struct state *s, int64_t run, const char *outcome, struct error *err) {
    cleanup_scope struct scope scope = {0};
    if (scope_begin(&scope, s, SQL_BEGIN, err) ||
        sql_change_one(s, SQL_RUN_END, VALUES(integer(run), integer(now_ms()), text(outcome)), "run", err) ||
        journal_trim(s, err))
        return -1;
    return scope_commit(&scope, err);
}

int state_journal_intent(struct state *s, int64_t run, const char *lab_id, const char *path, const char *step,
                         const char *reason, int64_t *ret_entry, struct error *err) {
    if (sql_change_one(s, SQL_JOURNAL_INTENT,
                       VALUES(integer(run), text(lab_id), text(path), text(step), text(reason), integer(now_ms())),
                       path, err))
        return -1;
    *ret_entry = sqlite3_last_insert_rowid(s->db);
    return 0;
}

int state_journal_outcome(struct state *s, int64_t entry, const char *outcome, const struct error *error,
                          struct error *err) {
    cleanup_buffer struct buffer line = {0};
    if (error)
        error_one_line(error, &line);
    return sql_change_one(s, SQL_JOURNAL_OUTCOME,
                          VALUES(integer(entry), integer(now_ms()), text(outcome), text(buffer_str(&line))),
                          "journal entry", err);
}

/* Row of SQL_JOURNAL_EACH. */
static int take_entry(void *data, sqlite3_stmt *row, struct error *err) {
    (void)err;
    struct rows *rows = data;
    struct arena *a = &rows->arena;
    struct journal_record *r = rows_add(rows, sizeof *r);
    *r = (struct journal_record){.id = sqlite3_column_int64(row, 0),
                                 .run = sqlite3_column_int64(row, 1),
                                 .started_at = sqlite3_column_int64(row, 2),
                                 .ended_at = sqlite3_column_int64(row, 3),
                                 .lab = column_text(a, row, 4),
                                 .verb = column_text(a, row, 5),
                                 .path = column_text(a, row, 6),
                                 .step = column_text(a, row, 7),
                                 .reason = column_text(a, row, 8),
                                 .outcome = column_text(a, row, 9),
                                 .error = column_text(a, row, 10)};
    return 0;
}

int state_journal_each(struct state *s, const char *lab_id, int64_t after, size_t limit,
                       void (*fn)(void *data, const struct journal_record *r), void *data, struct error *err) {
    cleanup_rows struct rows rows = {0};
    int64_t most = limit ? (int64_t)limit : -1; /* SQLite's "no limit" */
    if (sql_run(s, SQL_JOURNAL_EACH, VALUES(text_or_null(lab_id), integer(after), integer(most)), take_entry, &rows,
                err))
        return -1;
    for (size_t i = 0; i < rows.n; i++)
        fn(data, rows.items[i]);
    return 0;
}
