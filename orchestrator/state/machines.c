/* Hosts and machines of a lab. */
#include "nestor/state.h"

#include <stdlib.h>

#include <jansson.h>

#include "state/state_priv.h"

/* --- reading --- */

/* The params column, {"uri": "qemu:///system", ...}, in its order. */
static int load_params(struct arena *a, sqlite3_stmt *row, int column, struct host_record *h) {
    json_t *object = json_loads(column_text(a, row, column), 0, NULL);
    struct param *params = arena_alloc(a, json_object_size(object) * sizeof *params);
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (json_is_string(value))
            params[h->nparams++] =
                (struct param){.key = arena_strdup(a, key), .value = arena_strdup(a, json_string_value(value))};
    }
    bool whole = json_is_object(object) && h->nparams == json_object_size(object);
    json_decref(object);
    h->params = params;
    return whole ? 0 : -1;
}

/* Row of SQL_HOSTS. */
static int take_host(void *data, sqlite3_stmt *row, struct error *err) {
    struct lab_contents *c = data;
    struct host_record h = {.name = column_text(&c->arena, row, 0),
                            .driver = column_text(&c->arena, row, 1),
                            .parallel = (uint32_t)sqlite3_column_int64(row, 3)};
    if (load_params(&c->arena, row, 2, &h)) {
        sql_error_corrupt(sqlite3_db_filename(sqlite3_db_handle(row), "main"),
                          "the parameters of a host are not JSON as nestor writes it", err);
        return -1;
    }
    c->hosts = arena_grown(&c->arena, c->hosts, c->nhosts, sizeof *c->hosts);
    c->hosts[c->nhosts++] = h;
    return 0;
}

/* Row of SQL_MACHINES. */
static int take_machine(void *data, sqlite3_stmt *row, struct error *err) {
    (void)err;
    struct lab_contents *c = data;
    struct arena *a = &c->arena;
    c->machines = arena_grown(a, c->machines, c->nmachines, sizeof *c->machines);
    c->machines[c->nmachines++] = (struct machine_record){
        .path = column_text(a, row, 0),
        .name = column_text(a, row, 1),
        .parent = column_text(a, row, 2),
        .host = column_text(a, row, 3),
        .level = (uint32_t)sqlite3_column_int64(row, 4),
        .hypervisor = column_text(a, row, 5),
        .template = column_text(a, row, 6),
        .native_name = column_text(a, row, 7),
        .uuid = column_text(a, row, 8),
        .mac = column_text(a, row, 9),
        .digest = column_text(a, row, 10),
        .ssh_user = column_text(a, row, 11),
        .ssh_port = (uint16_t)sqlite3_column_int64(row, 12),
        .nesting = column_text(a, row, 13),
        .ready = column_text(a, row, 14),
        .status = column_text(a, row, 15),
        .address = column_text(a, row, 16),
        .is_ready = sqlite3_column_int(row, 17) != 0,
        .failure = column_text(a, row, 18),
        .ordinal = (uint32_t)sqlite3_column_int64(row, 19),
    };
    return 0;
}

static int load(struct state *s, const char *lab_id, struct lab_contents *c, struct error *err) {
    cleanup_scope struct scope scope = {0};
    if (scope_begin(&scope, s, SQL_BEGIN_READ, err) || sql_run(s, SQL_HOSTS, VALUES(text(lab_id)), take_host, c, err) ||
        sql_run(s, SQL_MACHINES, VALUES(text(lab_id)), take_machine, c, err))
        return -1;
    return scope_commit(&scope, err);
}

int state_lab_load(struct state *s, const char *lab_id, struct lab_contents **ret, struct error *err) {
    struct lab_contents *c = xcalloc(1, sizeof *c);
    if (load(s, lab_id, c, err)) {
        lab_contents_free(c);
        return -1;
    }
    *ret = c;
    return 0;
}

void lab_contents_free(struct lab_contents *c) {
    if (!c)
        return;
    struct arena arena = c->arena;
    free(c);
    arena_free(&arena);
}

/* --- writing --- */

/* As JSON text, to be freed with free. NULL when a value is not UTF-8. */
static char *params_json(const struct host_record *h) {
    json_t *object = json_object();
    bool whole = object != NULL;
    for (size_t i = 0; whole && i < h->nparams; i++)
        whole = json_object_set_new(object, h->params[i].key, json_string(h->params[i].value)) == 0;
    char *json = whole ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return json;
}

int state_host_put(struct state *s, const char *lab_id, const struct host_record *host, struct error *err) {
    cleanup_free char *params = params_json(host);
    if (!params)
        return error_set(err, ERR_INTERNAL, host->name, "cannot record a host: a parameter is not UTF-8 text");
    return sql_change_one(
        s, SQL_HOST_PUT,
        VALUES(text(lab_id), text(host->name), text(host->driver), text(params), integer(host->parallel)), host->name,
        err);
}

int state_host_forget(struct state *s, const char *lab_id, const char *name, struct error *err) {
    return sql_run(s, SQL_HOST_FORGET, VALUES(text(lab_id), text(name)), NULL, NULL, err);
}

int state_machine_put(struct state *s, const char *lab_id, const struct machine_record *m, struct error *err) {
    return sql_change_one(s, SQL_MACHINE_PUT,
                          VALUES(text(lab_id), text(m->path), text(m->name), text(m->parent), text(m->host),
                                 integer(m->level), text(m->hypervisor), text(m->template), text(m->native_name),
                                 text(m->uuid), text(m->mac), text(m->digest), text(m->ssh_user), integer(m->ssh_port),
                                 text(m->nesting), text(m->ready), text(m->status), text(m->address),
                                 integer(m->is_ready), text(m->failure), integer(m->ordinal)),
                          m->path, err);
}

int state_machine_seen(struct state *s, const char *lab_id, const char *path, const char *status, const char *address,
                       int ready, const char *failure, struct error *err) {
    return sql_change_one(s, SQL_MACHINE_SEEN,
                          VALUES(text(lab_id), text(path), text_or_null(status), text_or_null(address),
                                 ready < 0 ? text_or_null(NULL) : integer(ready != 0), text_or_null(failure)),
                          path, err);
}

int state_machine_delete(struct state *s, const char *lab_id, const char *path, struct error *err) {
    return sql_run(s, SQL_MACHINE_DELETE, VALUES(text(lab_id), text(path)), NULL, NULL, err);
}
