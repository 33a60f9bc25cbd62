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

#include "ui/progress.h"

#define LABEL_COLUMNS 22
#define TIME_COLUMNS 8
#define BAR_COLUMNS 20

/* Writes one line after the other, never beyond the right edge. */
struct pen {
    const struct look *look;
    const struct glyphs *g;
    struct buffer *out;
    size_t left;
};

static void pen_line(struct pen *p) { p->left = p->look->columns > 1 ? p->look->columns - 1 : 1; }

/* Blanks at the end of a line would make it longer than it looks, and wrap when the terminal is made narrower. */
static void pen_end(struct pen *p) {
    while (p->out->len && p->out->data[p->out->len - 1] == ' ')
        p->out->len--;
    buffer_putc(p->out, '\n');
    pen_line(p);
}

static void pen_put(struct pen *p, enum tint how, const char *text) {
    if (!p->left || !*text)
        return;
    buffer_puts(p->out, tint(p->look->color, how));
    p->left -= text_put_safe(p->out, text, p->left, p->look->utf8);
    if (how != TINT_NONE)
        buffer_puts(p->out, tint_end(p->look->color));
}

static void pen_put_padded(struct pen *p, enum tint how, const char *text, size_t width) {
    size_t before = p->left;
    cleanup_buffer struct buffer cut = {0};
    text_put_safe(&cut, text, width, p->look->utf8);
    pen_put(p, how, buffer_str(&cut));
    for (size_t used = before - p->left; used < width && p->left; used++, p->left--)
        buffer_putc(p->out, ' ');
}

unsigned share_of(uint64_t done, uint64_t total, unsigned parts) {
    return done >= total ? parts : (unsigned)((double)done / (double)total * parts);
}

static void pen_put_bar(struct pen *p, uint64_t done, uint64_t total) {
    unsigned full = share_of(done, total, BAR_COLUMNS);
    if (p->left <= BAR_COLUMNS)
        return;
    buffer_puts(p->out, tint(p->look->color, TINT_GOOD));
    for (unsigned i = 0; i < full; i++)
        buffer_puts(p->out, p->g->bar_full);
    buffer_puts(p->out, tint_end(p->look->color));
    buffer_puts(p->out, tint(p->look->color, TINT_DIM));
    for (unsigned i = full; i < BAR_COLUMNS; i++)
        buffer_puts(p->out, p->g->bar_empty);
    buffer_puts(p->out, tint_end(p->look->color));
    p->left -= BAR_COLUMNS;
}

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

enum condition { WAITING, RUNNING, READY, FAILED, SKIPPED };

static enum condition condition_of(const struct board_row *row) {
    if (row->active)
        return RUNNING;
    if (row->failed)
        return FAILED;
    if (row->skipped)
        return SKIPPED;
    return row->started && row->todo == 0 ? READY : WAITING;
}

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
    pen_put(p, TINT_BAD, row->error.cause);
    pen_end(p);
}

/* In a crowd the tree has gaps, so a machine is called by its path without the lab's name. */
static const char *name_of(const struct board_row *row, bool crowd) {
    const char *slash = crowd ? strchr(row->path, '/') : strrchr(row->path, '/');
    return slash ? slash + 1 : row->path;
}

struct picture {
    const struct board *b;
    int64_t now;
    bool crowd;
    size_t name_columns;
    bool *shown; /* per row */
};

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

/* --- which machines are shown --- */

static size_t lines_of(const struct board_row *row) {
    size_t n = 1 + row->failed;
    for (const struct active *a = row->active ? row->active->next : NULL; a; a = a->next)
        n++;
    return n;
}

/* Shows row if it fits; false once nothing more does. */
static bool show(struct picture *v, size_t row, size_t *room) {
    size_t n = lines_of(&v->b->rows[row]);
    if (v->shown[row])
        return true;
    if (n > *room)
        return false;
    v->shown[row] = true;
    *room -= n;
    return true;
}

static void show_all_that_are(struct picture *v, enum condition c, size_t *room) {
    for (size_t i = 0; i < v->b->n; i++)
        if (condition_of(&v->b->rows[i]) == c && !show(v, i, room))
            return;
}

static void show_latest(struct picture *v, size_t *room) {
    for (;;) {
        size_t latest = v->b->n;
        for (size_t i = 0; i < v->b->n; i++)
            if (!v->shown[i] && v->b->rows[i].ended &&
                (latest == v->b->n || v->b->rows[i].ended > v->b->rows[latest].ended))
                latest = i;
        if (latest == v->b->n || !show(v, latest, room))
            return;
    }
}

/* All, if there is room. Else those being worked on, what failed (at most half of it), and what ended last. */
static void choose(struct picture *v, const struct look *look) {
    size_t all = 0, room = look->lines > 6 ? look->lines - 4 : 2; /* header, "and more", footer, cursor */
    for (size_t i = 0; i < v->b->n; i++)
        all += lines_of(&v->b->rows[i]);
    v->crowd = all > room + 1; /* no "and more" line then */
    if (!v->crowd) {
        memset(v->shown, true, v->b->n * sizeof *v->shown);
        return;
    }
    size_t half = look->last ? SIZE_MAX : room / 2, before = half;
    show_all_that_are(v, FAILED, &half);
    room -= before - half < room ? before - half : room;
    show_all_that_are(v, RUNNING, &room);
    show_latest(v, &room);
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
    choose(&v, look);
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
    pen_end(&p);
}
