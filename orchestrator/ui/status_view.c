#include <stdlib.h>
#include <string.h>

#include "ui/text.h"
#include "ui/tree.h"
#include "ui/ui.h"

static bool is(const char *a, const char *b) { return strcmp(a, b) == 0; }

/* --- one machine in words --- */

static enum tint tint_of(const struct machine_view *m) {
    if (is(m->state, "failed"))
        return TINT_BAD;
    if (is(m->state, "running"))
        return m->ready ? TINT_GOOD : TINT_WARN;
    return TINT_DIM;
}

static const char *state_word(const struct machine_view *m) {
    return is(m->state, "running") && m->ready ? "ready" : m->state;
}

/* "2026-01-31 13:00:00 +0100"; of today only "13:00:00", for the table has to fit into 80 columns. */
static void put_when(struct buffer *out, int64_t unix_seconds) {
    char then[32], now[32];
    time_format(unix_seconds, then);
    time_format(clock_unix(), now);
    if (strncmp(then, now, 10) == 0)
        buffer_printf(out, "%.8s", then + strlen("2026-01-31 "));
    else
        buffer_puts(out, then);
}

static enum tint put_nesting(const struct machine_view *m, struct buffer *out) {
    if (is(m->wanted, "off"))
        return TINT_DIM;
    if (!m->checked) {
        buffer_printf(out, "%s, not checked", m->wanted);
        return TINT_DIM;
    }
    if (m->verified)
        buffer_printf(out, "%s verified ", m->flag[0] ? m->flag : m->wanted);
    else /* a reason that is known is told beneath */
        buffer_printf(out, reason_find(m->reason) ? "not verified " : "not verified: %s ", m->reason);
    put_when(out, m->checked_at);
    return m->verified ? TINT_GOOD : TINT_BAD;
}

/* --- the table --- */

enum column { NAME, STATE, ADDRESS, TEMPLATE, NESTING, NCOLUMNS };
static const char *const titles[NCOLUMNS] = {"MACHINE", "STATE", "ADDRESS", "TEMPLATE", "NESTING"};

struct cell {
    struct buffer text;
    enum tint tint;
};
struct table {
    const struct lab_view *view;
    struct tree tree;
    struct cell (*rows)[NCOLUMNS]; /* per tree node */
    size_t widths[NCOLUMNS];
    const struct glyphs *g;
    size_t width; /* of the terminal */
    bool utf8, color;
};

static void fill_row(struct table *t, size_t node) {
    const struct machine_view *m = &t->view->machines[t->tree.nodes[node].item];
    struct cell *cells = t->rows[node];
    tree_put_prefix(&t->tree, node, t->g, false, &cells[NAME].text);
    buffer_puts(&cells[NAME].text, m->name);
    buffer_puts(&cells[STATE].text, state_word(m));
    cells[STATE].tint = tint_of(m);
    buffer_puts(&cells[ADDRESS].text, m->address[0] ? m->address : t->g->dash);
    buffer_puts(&cells[TEMPLATE].text, m->template);
    cells[NESTING].tint = put_nesting(m, &cells[NESTING].text);
}

static void table_build(struct table *t) {
    const char **paths = xcalloc(t->view->n, sizeof *paths);
    for (size_t i = 0; i < t->view->n; i++)
        paths[i] = t->view->machines[i].path;
    tree_build(paths, t->view->n, &t->tree);
    free(paths);
    t->rows = xcalloc(t->tree.n, sizeof *t->rows);
    for (int c = 0; c < NCOLUMNS; c++)
        t->widths[c] = strlen(titles[c]);
    for (size_t i = 0; i < t->tree.n; i++) {
        fill_row(t, i);
        for (int c = 0; c < NCOLUMNS; c++) {
            size_t n = text_columns(buffer_str(&t->rows[i][c].text));
            t->widths[c] = n > t->widths[c] ? n : t->widths[c];
        }
    }
}

static void table_free(struct table *t) {
    for (size_t i = 0; i < t->tree.n; i++)
        for (int c = 0; c < NCOLUMNS; c++)
            buffer_free(&t->rows[i][c].text);
    free(t->rows);
    tree_free(&t->tree);
}

static void put_cell(const struct table *t, int column, const char *text, enum tint how, struct buffer *out) {
    buffer_puts(out, tint(t->color, how));
    size_t columns = text_put_safe(out, text, TEXT_NO_LIMIT, t->utf8);
    buffer_puts(out, how == TINT_NONE ? "" : tint_end(t->color));
    buffer_printf(out, "%*s", (int)(t->widths[column] - columns) + 2, "");
}

static void end_line(struct buffer *out) {
    while (out->len && out->data[out->len - 1] == ' ')
        out->data[--out->len] = '\0';
    buffer_putc(out, '\n');
}

/* Further lines beneath the machine's name. */
static void put_remark(const struct table *t, size_t node, enum tint how, const char *text, struct buffer *out) {
    cleanup_buffer struct buffer prefix = {0}, lines = {0};
    buffer_puts(&prefix, "  ");
    tree_put_prefix(&t->tree, node, t->g, true, &prefix);
    size_t taken = text_columns(buffer_str(&prefix));
    text_put_wrapped(&lines, text, 0, 0, t->width > taken ? t->width - taken : 1, t->utf8);
    for (const char *line = buffer_str(&lines); *line;) {
        size_t n = strcspn(line, "\n");
        buffer_printf(out, "%s%s%.*s%s\n", buffer_str(&prefix), tint(t->color, how), (int)n, line,
                      how == TINT_NONE ? "" : tint_end(t->color));
        line += n + (line[n] == '\n');
    }
}

static void put_mend(const struct table *t, size_t node, const char *mend, struct buffer *out) {
    cleanup_free char *text = xasprintf("mend: %s", mend);
    put_remark(t, node, TINT_NONE, text, out);
}

static void put_row(const struct table *t, size_t node, struct buffer *out) {
    const struct machine_view *m = &t->view->machines[t->tree.nodes[node].item];
    buffer_puts(out, "  ");
    for (int c = 0; c < NCOLUMNS; c++)
        put_cell(t, c, buffer_str(&t->rows[node][c].text), t->rows[node][c].tint, out);
    end_line(out);
    if (m->failure[0])
        put_remark(t, node, TINT_BAD, m->failure, out);
    if (m->mend[0])
        put_mend(t, node, m->mend, out);
    const struct reason *reason = m->checked && !m->verified ? reason_find(m->reason) : NULL;
    if (reason && !(m->mend[0] && strstr(m->failure, reason->meaning))) { /* else it has just been told */
        cleanup_free char *why = xasprintf("%s (%s)", reason->meaning, reason->code);
        put_remark(t, node, TINT_NONE, why, out);
        put_mend(t, node, reason->mend, out);
    }
}

static void put_headline(const struct table *t, struct buffer *out) {
    const struct lab_view *v = t->view;
    size_t ready = 0;
    for (size_t i = 0; i < v->n; i++)
        ready += v->machines[i].ready;
    enum tint how = is(v->state, "up") ? TINT_GOOD : is(v->state, "failed") ? TINT_BAD : TINT_WARN;
    buffer_printf(out, "%s%s%s  %s%s%s  %zu of %zu machine%s ready\n\n", tint(t->color, TINT_BOLD), v->lab,
                  tint_end(t->color), tint(t->color, how), v->state, tint_end(t->color), ready, v->n,
                  v->n == 1 ? "" : "s");
}

void status_print(const struct lab_view *view, bool color, FILE *out) {
    struct table t = {.view = view, .color = color, .utf8 = terminal_is_utf8(), .width = text_width(out)};
    cleanup_buffer struct buffer text = {0};
    t.g = glyphs_get(t.utf8);
    table_build(&t);
    put_headline(&t, &text);
    buffer_puts(&text, "  ");
    for (int c = 0; c < NCOLUMNS; c++)
        put_cell(&t, c, titles[c], TINT_DIM, &text);
    end_line(&text);
    for (size_t i = 0; i < t.tree.n; i++)
        put_row(&t, i, &text);
    fputs(buffer_str(&text), out);
    table_free(&t);
}

/* --- JSON: the shape is a promise to scripts --- */

static json_t *nesting_json(const struct machine_view *m) {
    char when[21] = "";
    json_t *n = json_object();
    if (m->checked)
        clock_iso8601(m->checked_at, when);
    json_object_set_new(n, "wanted", json_string(m->wanted));
    json_object_set_new(n, "verified", m->checked ? json_boolean(m->verified) : json_null());
    json_object_set_new(n, "flag", text_json_or_null(m->flag));
    json_object_set_new(n, "reason", text_json_or_null(m->reason));
    json_object_set_new(n, "checked_at", text_json_or_null(when));
    return n;
}

static json_t *machine_json(const struct machine_view *m) {
    json_t *json = json_object();
    json_object_set_new(json, "path", text_json(m->path));
    json_object_set_new(json, "level", json_integer(m->level));
    json_object_set_new(json, "driver", text_json_or_null(m->driver));
    json_object_set_new(json, "template", text_json_or_null(m->template));
    json_object_set_new(json, "state", json_string(m->state));
    json_object_set_new(json, "ready", json_boolean(m->ready));
    json_object_set_new(json, "address", text_json_or_null(m->address));
    json_object_set_new(json, "failure", text_json_or_null(m->failure));
    json_object_set_new(json, "mend", text_json_or_null(m->mend));
    json_object_set_new(json, "nesting", nesting_json(m));
    return json;
}

json_t *status_json(const struct lab_view *view) {
    json_t *json = json_object(), *machines = json_array();
    for (size_t i = 0; i < view->n; i++)
        json_array_append_new(machines, machine_json(&view->machines[i]));
    json_object_set_new(json, "lab", text_json(view->lab));
    json_object_set_new(json, "state", json_string(view->state));
    json_object_set_new(json, "machines", machines);
    return json;
}
