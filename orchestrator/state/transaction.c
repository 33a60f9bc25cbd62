#include "state/state_priv.h"

static int begin(struct state *s, enum sql how, struct error *err) {
    if (s->open)
        return error_set(err, ERR_INTERNAL, s->path, "cannot begin a transaction: one is open");
    if (sql_run(s, how, NO_VALUES, NULL, NULL, err))
        return -1;
    s->open = true;
    return 0;
}

/* Cannot fail in a way that keeps the changes: what is not committed is never read back. */
static void undo(struct state *s, enum sql how) {
    int ignored = sql_run(s, how, NO_VALUES, NULL, NULL, NULL);
    (void)ignored;
}

int state_begin(struct state *s, struct error *err) {
    s->recording = true;
    int r = begin(s, SQL_BEGIN, err);
    s->recording = false;
    return r;
}

int state_commit(struct state *s, struct error *err) {
    if (!s->open)
        return error_set(err, ERR_INTERNAL, s->path, "cannot commit a transaction: none is open");
    int r = sql_run(s, SQL_COMMIT, NO_VALUES, NULL, NULL, err);
    if (r < 0)
        state_rollback(s); /* a failed COMMIT may leave the transaction open */
    s->open = false;
    return r;
}

void state_rollback(struct state *s) {
    s->open = false;
    if (!sqlite3_get_autocommit(s->db))
        undo(s, SQL_ROLLBACK);
}

int scope_begin(struct scope *scope, struct state *s, enum sql how, struct error *err) {
    bool nested = s->open;
    if (nested ? sql_run(s, SQL_SAVEPOINT, NO_VALUES, NULL, NULL, err) : begin(s, how, err))
        return -1;
    *scope = (struct scope){.state = s, .nested = nested};
    return 0;
}

int scope_commit(struct scope *scope, struct error *err) {
    struct state *s = scope->state;
    if (scope->nested ? sql_run(s, SQL_RELEASE, NO_VALUES, NULL, NULL, err) : state_commit(s, err))
        return -1;
    scope->state = NULL;
    return 0;
}

void scope_end(struct scope *scope) {
    struct state *s = scope->state;
    scope->state = NULL;
    if (!s || !s->open)
        return;
    if (!scope->nested) {
        state_rollback(s);
        return;
    }
    /* After SQLite's own rollback there is no savepoint left; the caller's next statement is told so (sql_run). */
    if (!sqlite3_get_autocommit(s->db)) {
        undo(s, SQL_ROLLBACK_PART);
        undo(s, SQL_RELEASE);
    }
}
