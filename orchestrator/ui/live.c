/* The picture on a terminal: one line per machine, what it is doing, for how long.
 *
 *   quickstart: up
 *   ✔ local          prepared               3.1s
 *   ⠹ kvm1           booting               12.4s
 *   · └─ web1
 *   ━━━━━━━━──────────  4/12 steps, 1 running, 0:15
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/crowd.h"
#include "ui/pen.h"
#include "ui/progress.h"

#define LABEL_COLUMNS 22
#define TIME_COLUMNS 8

/* --- words --- */

static const struct {
    const char *step, *doing, *done;
} words[] = {
    {"image", "image", "prepared"},           {"network", "network", "prepared"}, {"create", "creating", "created"},
    {"expose", "exposing VHV", "exposed"},    {"start", "starting", "running"},   {"reach", "booting", "ready"},
    {"verify", "verifying nesting", "ready"}, {"stop", "stopping", "stopped"},    {"remove", "removing", "removed"},
    {"prune", "tidying up", "tidied up"},
};

static const char *word_for(const char *step, bool done) {
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].step, step) == 0)
            return done ? words[i].done : words[i].doing;
    return step;
}

void elapsed_format(int64_t ms, char out[24]) {
    int64_t s = ms / 1000;
    if (ms < 60000)
        snprintf(out, 24, "%d.%ds", (int)s, (int)(ms % 1000 / 100));
    else if (s < 3600)
        snprintf(out, 24, "%d:%02d", (int)(s / 60), (int)(s % 60));
    else
        snprintf(out, 24, "%lld:%02d:%02d", (long long)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
}

/* One decimal, in the unit of the larger one: "38.6 of 95.4 MiB". */
void put_amount(struct buffer *out, const struct active *a) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    uint64_t most = a->total > a->done ? a->total : a->done;
    double scale = 1;
    size_t unit = 0;
    for (; unit + 1 < sizeof units / sizeof *units && (double)most / scale >= 1024; unit++)
        scale *= 1024;
    if (a->total)
        buffer_printf(out, "%3u %%  %.*f of %.*f %s", share_of(a->done, a->total, 100), unit > 0,
                      (double)a->done / scale, unit > 0, (double)a->total / scale, units[unit]);
    else if (a->done)
        buffer_printf(out, "%.*f %s", unit > 0, (double)a->done / scale, units[unit]);
}

/* --- the lines of one machine --- */

static void put_sign(struct pen *p, enum condition c) {
    static const enum tint tints[] = {TINT_DIM, TINT_NONE, TINT_GOOD, TINT_BAD, TINT_DIM};
    const char *const signs[] = {p->g->waiting, "", p->g->good, p->g->bad, p->g->skipped};
    char frame[5];
    glyphs_spin(p->g, p->look->frame, frame);
    pen_put(p, tints[c], c == RUNNING ? frame : signs[c]);
    pen_put(p, TINT_NONE, " ");
}

static void put_time(struct pen *p, int64_t ms) {
    char text[24], right[48];
    elapsed_format(ms, text);
    snprintf(right, sizeof right, "%*s", TIME_COLUMNS, text);
    pen_put(p, TINT_NONE, right);
}

static void put_active(struct pen *p, const struct active *a, int64_t now) {
    cleanup_buffer struct buffer label = {0}, amount = {0};
    buffer_puts(&label, word_for(a->step, false));
    if (strcmp(a->step, "image") == 0 && a->text[0])
        buffer_printf(&label, " %s", a->text);
    pen_put_padded(p, TINT_NONE, buffer_str(&label), LABEL_COLUMNS);
    put_time(p, now - a->started);
    pen_put(p, TINT_NONE, "  ");
    if (a->total) {
        pen_put_bar(p, a->done, a->total);
        pen_put(p, TINT_NONE, " ");
    }
    put_amount(&amount, a);
    pen_put(p, TINT_NONE, buffer_str(&amount));
    pen_put(p, TINT_NONE, amount.len ? "  " : "");
    pen_put(p, TINT_DIM, a->note);
}

static void put_ended(struct pen *p, const struct board_row *row, enum condition c) {
    char label[64] = "";
    if (c == FAILED)
        snprintf(label, sizeof label, "%s failed", row->last);
    else if (c == SKIPPED && row->interrupted)
        snprintf(label, sizeof label, "%s interrupted", row->last);
    else if (c == SKIPPED)
        snprintf(label, sizeof label, "not done");
    else if (c == READY)
        snprintf(label, sizeof label, "%s", word_for(row->last, true));
    else if (row->last[0])
        snprintf(label, sizeof label, "%s done", row->last);
    pen_put_padded(p, c == FAILED ? TINT_BAD : c == READY ? TINT_NONE : TINT_DIM, label, LABEL_COLUMNS);
    if (row->last[0] && c != SKIPPED)
        put_time(p, row->worked);
}

/* The last picture has no size to keep, so the cause is shown whole. */
static void put_cause(struct pen *p, const struct board_row *row, const char *indent) {
    if (p->look->last)
        p->left = TEXT_NO_LIMIT;
    pen_put(p, TINT_NONE, "  ");
    pen_put(p, TINT_NONE, indent);
    pen_put(p, TINT_BAD, row->cause ? row->cause : "");
    pen_end(p);
}

/* In a crowd the tree has gaps, so a machine is called by its path without the lab's name. */
static const char *name_of(const struct board_row *row, bool crowd) {
    const char *slash = crowd ? strchr(row->path, '/') : strrchr(row->path, '/');
    return slash ? slash + 1 : row->path;
}

static void put_name(struct pen *p, const struct picture *v, size_t node, bool under) {
    const struct board_row *row = &v->b->rows[v->b->tree.nodes[node].item];
    cleanup_buffer struct buffer name = {0};
    if (!v->crowd)
        tree_put_prefix(&v->b->tree, node, p->g, under, &name);
    if (!under)
        buffer_puts(&name, name_of(row, v->crowd));
    pen_put_padded(p, TINT_NONE, buffer_str(&name), v->name_columns);
    pen_put(p, TINT_NONE, "  ");
}

static void put_row(struct pen *p, const struct picture *v, size_t node) {
    const struct board_row *row = &v->b->rows[v->b->tree.nodes[node].item];
    enum condition c = condition_of(row);
    put_sign(p, c);
    put_name(p, v, node, false);
    if (c == RUNNING)
        put_active(p, row->active, v->now);
    else
        put_ended(p, row, c);
    pen_end(p);
    for (const struct active *a = row->active ? row->active->next : NULL; a; a = a->next) {
        pen_put(p, TINT_NONE, "  ");
        put_name(p, v, node, true);
        put_active(p, a, v->now);
        pen_end(p);
    }
    if (row->failed) {
        cleanup_buffer struct buffer indent = {0};
        if (!v->crowd)
            tree_put_prefix(&v->b->tree, node, p->g, true, &indent);
        put_cause(p, row, v->crowd ? "  " : buffer_str(&indent));
    }
}

static void measure_names(struct picture *v, const struct look *look) {
    const struct tree *t = &v->b->tree;
    for (size_t i = 0; i < t->n; i++) {
        size_t columns = text_columns(name_of(&v->b->rows[t->nodes[i].item], v->crowd)) +
                         (v->crowd ? 0 : 3 * (size_t)t->nodes[i].depth);
        if (v->shown[t->nodes[i].item] && columns > v->name_columns)
            v->name_columns = columns;
    }
    if (v->name_columns > look->columns / 2)
        v->name_columns = look->columns / 2;
}

/* --- the whole --- */

static void count(const struct board *b, const bool *not_these, size_t counts[SKIPPED + 1]) {
    memset(counts, 0, (SKIPPED + 1) * sizeof *counts);
    for (size_t i = 0; i < b->n; i++)
        if (!not_these || !not_these[i])
            counts[condition_of(&b->rows[i])]++;
}

static void put_counts(struct buffer *out, const size_t counts[SKIPPED + 1]) {
    static const char *const names[] = {"waiting", "running", "done", "failed", "skipped"};
    for (int c = WAITING; c <= SKIPPED; c++)
        if (counts[c])
            buffer_printf(out, "%s%zu %s", out->len ? ", " : "", counts[c], names[c]);
}

static void put_rest(struct pen *p, const struct picture *v) {
    size_t counts[SKIPPED + 1], n = 0;
    cleanup_buffer struct buffer text = {0}, line = {0};
    count(v->b, v->shown, counts);
    for (int c = WAITING; c <= SKIPPED; c++)
        n += counts[c];
    put_counts(&text, counts);
    buffer_printf(&line, "  %s and %zu more: %s", p->g->ellipsis, n, buffer_str(&text));
    pen_put(p, TINT_DIM, buffer_str(&line));
    pen_end(p);
}

static void put_clock(struct buffer *out, int64_t ms) {
    int64_t s = ms / 1000;
    if (s < 3600)
        buffer_printf(out, "%d:%02d", (int)(s / 60), (int)(s % 60));
    else
        buffer_printf(out, "%lld:%02d:%02d", (long long)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
}

static void put_footer(struct pen *p, const struct board *b, int64_t now) {
    size_t counts[SKIPPED + 1], ended = b->done + b->failed + b->skipped;
    cleanup_buffer struct buffer text = {0};
    count(b, NULL, counts);
    if (b->steps) {
        pen_put_bar(p, ended, b->steps);
        buffer_printf(&text, "  %zu/%zu steps", b->done, b->steps);
    } else {
        buffer_printf(&text, "%zu steps", b->done);
    }
    if (counts[RUNNING] && !p->look->last)
        buffer_printf(&text, ", %zu running", counts[RUNNING]);
    buffer_puts(&text, ", ");
    put_clock(&text, now - b->began);
    pen_put(p, TINT_NONE, buffer_str(&text));
    buffer_clear(&text);
    if (b->failed)
        buffer_printf(&text, ", %zu failed", b->failed);
    if (b->skipped)
        buffer_printf(&text, ", %zu not done", b->skipped);
    pen_put(p, TINT_BAD, buffer_str(&text));
    if (p->look->stopping && !p->look->last)
        pen_put(p, TINT_WARN, "  stopping: what runs is brought to a safe point (Ctrl-C again: end at once)");
    pen_end(p);
}

void live_draw(const struct board *b, int64_t now, const struct look *look, struct buffer *out) {
    struct pen p = {.look = look, .g = glyphs_get(look->utf8), .out = out};
    struct picture v = {.b = b, .now = now, .shown = xcalloc(b->n, sizeof *v.shown)};
    if (!b->began) {
        free(v.shown);
        return;
    }
    pen_line(&p);
    picture_choose(&v, look);
    measure_names(&v, look);
    if (b->lab[0]) {
        pen_put(&p, TINT_BOLD, b->lab);
        pen_put(&p, TINT_NONE, ": ");
        pen_put(&p, TINT_NONE, b->verb);
        pen_end(&p);
    }
    for (size_t i = 0; i < b->tree.n; i++)
        if (v.shown[b->tree.nodes[i].item])
            put_row(&p, &v, i);
    if (v.crowd)
        put_rest(&p, &v);
    put_footer(&p, b, now);
    free(v.shown);
}

void live_message(const struct event *e, const struct look *look, struct buffer *out) {
    struct pen p = {.look = look, .g = glyphs_get(look->utf8), .out = out};
    if ((e->kind != EVENT_WARNING && e->kind != EVENT_NOTICE) || !e->text)
        return;
    p.left = TEXT_NO_LIMIT;
    pen_put(&p, e->kind == EVENT_WARNING ? TINT_WARN : TINT_DIM, e->kind == EVENT_WARNING ? "warning: " : "note: ");
    if (e->path) {
        pen_put(&p, TINT_NONE, e->path);
        pen_put(&p, TINT_NONE, ": ");
    }
    pen_put(&p, TINT_NONE, e->text);
    if (e->error) {
        pen_put(&p, TINT_NONE, ": ");
        pen_put(&p, TINT_NONE, e->error->cause);
    }
    pen_end(&p);
}
