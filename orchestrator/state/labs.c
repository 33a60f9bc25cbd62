#include "nestor/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nestor/context.h"
#include "state/state_priv.h"

#define NAMES_SHOWN 10 /* of the labs there are, when one is not found */

/* Row of SQL_LAB_FIND and SQL_LAB_EACH. */
static int take_lab(void *data, sqlite3_stmt *row, struct error *err) {
    (void)err;
    struct rows *rows = data;
    struct arena *a = &rows->arena;
    struct lab_record *r = rows_add(rows, sizeof *r);
    *r = (struct lab_record){.id = column_text(a, row, 0),
                             .name = column_text(a, row, 1),
                             .file = column_text(a, row, 2),
                             .spec = column_text(a, row, 3),
                             .spec_len = (size_t)sqlite3_column_bytes(row, 3),
                             .created_at = sqlite3_column_int64(row, 4),
                             .updated_at = sqlite3_column_int64(row, 5),
                             .removing = sqlite3_column_int(row, 6) != 0};
    return 0;
}

/* The record lives in the arena it carries. */
void lab_record_free(struct lab_record *r) {
    if (!r)
        return;
    struct arena arena = r->arena;
    arena_free(&arena);
}

struct names {
    struct arena arena;
    const char **items;
    size_t n;
};

static void names_free(struct names *names) { arena_free(&names->arena); }

static int take_name(void *data, sqlite3_stmt *row, struct error *err) {
    (void)err;
    struct names *names = data;
    names->items = arena_grown(&names->arena, names->items, names->n, sizeof *names->items);
    names->items[names->n++] = column_text(&names->arena, row, 0);
    return 0;
}

/* A typo is mended by seeing the right names; and who gave the path of a machine meant the lab it is in. */
static int error_no_lab(struct state *s, const char *name, struct error *err) {
    __attribute__((cleanup(names_free))) struct names names = {0};
    if (sql_run(s, SQL_LAB_NAMES, NO_VALUES, take_name, &names, err))
        return -1;
    if (!names.n) {
        error_set(err, ERR_NOT_FOUND, name, "no lab '%s'; there are no labs", name);
        return error_mend(err, "'nestor up FILE' brings one up; 'nestor init' writes a first lab file");
    }
    cleanup_buffer struct buffer shown = {0};
    for (size_t i = 0; i < names.n && i < NAMES_SHOWN; i++)
        buffer_printf(&shown, "%s%s", i ? ", " : "", names.items[i]);
    if (names.n > NAMES_SHOWN)
        buffer_printf(&shown, " and %zu more", names.n - NAMES_SHOWN);
    error_set(err, ERR_NOT_FOUND, name, "no lab '%s'; labs: %s", name, buffer_str(&shown));
    cleanup_free char *lab = xstrndup(name, strcspn(name, "/"));
    const char *near = nearest_word(lab, names.items, names.n);
    return near ? error_mend(err, "did you mean '%s'?", near) : error_mend(err, "'nestor status' lists the labs");
}

int state_lab_find(struct state *s, const char *name, struct lab_record **ret, struct error *err) {
    cleanup_rows struct rows rows = {0};
    if (sql_run(s, SQL_LAB_FIND, VALUES(text(name)), take_lab, &rows, err))
        return -1;
    if (rows.n == 0)
        return error_no_lab(s, name, err);
    struct lab_record *r = rows.items[0]; /* the name is unique: there is no other */
    r->arena = rows.arena;
    rows.arena = (struct arena){0};
    *ret = r;
    return 0;
}

int state_lab_each(struct state *s, void (*fn)(void *data, const struct lab_record *record), void *data,
                   struct error *err) {
    cleanup_rows struct rows rows = {0};
    if (sql_run(s, SQL_LAB_EACH, NO_VALUES, take_lab, &rows, err))
        return -1;
    for (size_t i = 0; i < rows.n; i++)
        fn(data, rows.items[i]);
    return 0;
}

static int take_id(void *data, sqlite3_stmt *row, struct error *err) {
    (void)err;
    const char *id = (const char *)sqlite3_column_text(row, 0);
    snprintf(data, LAB_ID_LEN + 1, "%s", id ? id : "");
    return 0;
}

static int take_known(void *data, sqlite3_stmt *row, struct error *err) {
    (void)row, (void)err;
    *(bool *)data = true;
    return 0;
}

int state_lab_was_known(struct state *s, const char *lab_id, bool *ret, struct error *err) {
    *ret = false;
    return sql_run(s, SQL_LAB_WAS_KNOWN, VALUES(text(lab_id)), take_known, ret, err);
}

int state_lab_put(struct state *s, const char *name, const char *file, const char *spec, size_t spec_len,
                  const char *new_id, char id[LAB_ID_LEN + 1], struct error *err) {
    char random[LAB_ID_LEN + 1], kept[LAB_ID_LEN + 1];
    if ((!new_id && lab_id_new(random, err)) || sql_run(s, SQL_LAB_PUT,
                                                        VALUES(text(new_id ? new_id : random), text(name), text(file),
                                                               text_n(spec, spec_len), integer(clock_unix())),
                                                        take_id, kept, err))
        return -1;
    memcpy(id, kept, sizeof kept);
    return 0;
}

int state_lab_adopt(struct state *s, const char *lab_id, const char *name, const char *file, const char *spec,
                    size_t spec_len, struct error *err) {
    struct lab_record *there = NULL;
    struct error why = {0};
    char kept[LAB_ID_LEN + 1];
    if (state_lab_find(s, name, &there, &why) == 0) {
        bool same = strcmp(there->id, lab_id) == 0;
        lab_record_free(there);
        return same ? 0 : error_set(err, ERR_EXISTS, name, "another lab of that name is there");
    }
    if (why.code != ERR_NOT_FOUND) {
        if (err)
            *err = why;
        return -1;
    }
    return sql_run(s, SQL_LAB_PUT,
                   VALUES(text(lab_id), text(name), text(file), text_n(spec, spec_len), integer(clock_unix())), take_id,
                   kept, err);
}

int state_lab_set_removing(struct state *s, const char *lab_id, struct error *err) {
    return sql_change_one(s, SQL_LAB_SET_REMOVING, VALUES(text(lab_id)), lab_id, err);
}

int state_lab_delete(struct state *s, const char *lab_id, struct error *err) {
    cleanup_scope struct scope scope = {0};
    if (scope_begin(&scope, s, SQL_BEGIN, err) || sql_run(s, SQL_LAB_DELETE, VALUES(text(lab_id)), NULL, NULL, err) ||
        journal_trim(s, err))
        return -1;
    return scope_commit(&scope, err);
}
