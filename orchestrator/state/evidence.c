#include "nestor/state.h"

#include <stdlib.h>

#include <jansson.h>

#include "state/state_priv.h"

/* Output of a guest may be any bytes; verify keeps it printable, but UTF-8 it need not be. JSON is. */
static json_t *json_text(const char *s) {
    s = s ? s : "";
    json_t *whole = json_string(s);
    if (whole)
        return whole;
    cleanup_buffer struct buffer ascii = {0};
    for (; *s; s++)
        buffer_putc(&ascii, (unsigned char)*s < 0x80 ? *s : '?');
    return json_string(buffer_str(&ascii));
}

static json_t *probe_json(const struct probe *p) {
    json_t *o = json_object();
    json_object_set_new(o, "name", json_text(p->name));
    json_object_set_new(o, "command", json_text(p->command));
    json_object_set_new(o, "output", json_text(p->output));
    json_object_set_new(o, "ran", json_boolean(p->ran));
    json_object_set_new(o, "ok", json_boolean(p->ok));
    json_object_set_new(o, "reason", json_text(p->reason));
    return o;
}

static char *probes_json(const struct evidence *e) {
    json_t *array = json_array();
    for (size_t i = 0; i < e->nprobes; i++)
        json_array_append_new(array, probe_json(&e->probes[i]));
    char *json = json_dumps(array, JSON_COMPACT);
    json_decref(array);
    return json;
}

int state_evidence_put(struct state *s, const char *lab_id, const char *path, const struct evidence *e,
                       struct error *err) {
    cleanup_free char *probes = probes_json(e);
    if (!probes)
        return error_set(err, ERR_INTERNAL, path, "cannot record evidence: no JSON can be made of it");
    cleanup_scope struct scope scope = {0};
    if (scope_begin(&scope, s, SQL_BEGIN, err) ||
        sql_run(s, SQL_EVIDENCE_PUT,
                VALUES(text(lab_id), text(path), integer(e->checked_at), integer(e->verified), text(e->flag),
                       text(e->reason), text(probes)),
                NULL, NULL, err))
        return -1;
    if (sqlite3_changes64(s->db) == 0)
        return error_set(err, ERR_NOT_FOUND, path, "cannot record evidence: there is no record of it any more");
    if (sql_run(s, SQL_EVIDENCE_TRIM, VALUES(text(lab_id), text(path)), NULL, NULL, err))
        return -1;
    return scope_commit(&scope, err);
}

/* Row of SQL_EVIDENCE_EACH. */
static int take(void *data, sqlite3_stmt *row, struct error *err) {
    (void)err;
    struct rows *rows = data;
    struct arena *a = &rows->arena;
    struct evidence_record *r = rows_add(rows, sizeof *r);
    *r = (struct evidence_record){.path = column_text(a, row, 0),
                                  .flag = column_text(a, row, 1),
                                  .reason = column_text(a, row, 2),
                                  .probes_json = column_text(a, row, 3),
                                  .verified = sqlite3_column_int(row, 4) != 0,
                                  .checked_at = sqlite3_column_int64(row, 5)};
    return 0;
}

int state_evidence_each(struct state *s, const char *lab_id, void (*fn)(void *data, const struct evidence_record *r),
                        void *data, struct error *err) {
    cleanup_rows struct rows rows = {0};
    if (sql_run(s, SQL_EVIDENCE_EACH, VALUES(text(lab_id)), take, &rows, err))
        return -1;
    for (size_t i = 0; i < rows.n; i++)
        fn(data, rows.items[i]);
    return 0;
}
