/* What the events have told so far, per machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/progress.h"

#define FIRST_BEAT_MS 10000

static void rebuild_tree(struct board *b) {
    const char **paths = xcalloc(b->n, sizeof *paths);
    for (size_t i = 0; i < b->n; i++)
        paths[i] = b->rows[i].path;
    tree_free(&b->tree);
    tree_build(paths, b->n, &b->tree);
    free(paths);
}

static struct board_row *add_row(struct board *b, const char *path) {
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 32;
        b->rows = xrealloc(b->rows, b->cap * sizeof *b->rows);
    }
    struct board_row *row = &b->rows[b->n];
    *row = (struct board_row){.path = xstrdup(path)};
    path_index_put(&b->index, row->path, (uint32_t)b->n++);
    return row;
}

struct board_row *board_find(struct board *b, const char *path) {
    uint32_t at = path ? path_index_get(&b->index, path) : LAB_NONE;
    return at == LAB_NONE ? NULL : &b->rows[at];
}

static bool about_machine(const struct step *s) {
    return s->kind != STEP_IMAGE && s->kind != STEP_NETWORK && s->kind != STEP_PRUNE;
}

/* Hosts first, then machines; only those that have something to do. A machine around one that has is shown, too. */
void board_plan(struct board *b, const struct plan *plan) {
    const struct inventory *inv = plan->inventory;
    uint32_t *todo = xcalloc(inv->nrows + inv->nhosts, sizeof *todo); /* steps of rows, then of hosts */
    bool *shown = xcalloc(inv->nrows + inv->nhosts, sizeof *shown);
    for (size_t i = 0; i < plan->nsteps; i++) {
        const struct step *s = &plan->steps[i];
        size_t at = s->row != LAB_NONE ? s->row : inv->nrows + s->host;
        todo[at] += about_machine(s) || s->row == LAB_NONE;
        for (shown[at] = true; at < inv->nrows && inv->rows[at].parent != LAB_NONE; at = inv->rows[at].parent)
            shown[inv->rows[at].parent] = true;
    }
    for (size_t i = 0; i < inv->nhosts; i++)
        if (shown[inv->nrows + i])
            add_row(b, inv->hosts[i].name)->todo = todo[inv->nrows + i];
    for (size_t i = 0; i < inv->nrows; i++)
        if (shown[i])
            add_row(b, inv->rows[i].path)->todo = todo[i];
    free(todo);
    free(shown);
    b->steps = plan->nsteps;
    snprintf(b->lab, sizeof b->lab, "%s", inv->lab_name);
    snprintf(b->verb, sizeof b->verb, "%s", plan->verb);
    rebuild_tree(b);
}

/* --- steps --- */

bool was_interrupted(const struct event *e) {
    return e->kind == EVENT_STEP_FAILED && e->error && e->error->code == ERR_CANCELLED;
}

static struct active *begin(struct board_row *row, const struct event *e) {
    struct active *a = xcalloc(1, sizeof *a), **at = &row->active;
    snprintf(a->step, sizeof a->step, "%s", e->step ? e->step : "");
    snprintf(a->text, sizeof a->text, "%s", e->text ? e->text : "");
    a->same = strcmp(a->text, row->why) == 0;
    memcpy(row->why, a->text, sizeof row->why);
    a->started = e->at_ms;
    a->next_beat = e->at_ms + FIRST_BEAT_MS;
    if (!row->started)
        row->started = e->at_ms;
    while (*at)
        at = &(*at)->next;
    return *at = a;
}

static struct active **find_active(struct board_row *row, const struct event *e) {
    struct active **at = &row->active;
    while (*at && strcmp((*at)->step, e->step ? e->step : "") != 0)
        at = &(*at)->next;
    return at;
}

/* Images are made by a stage that knows no machines: its events name no path, and belong to a step of that name which
 * has not told of progress itself. */
static struct active *find_anywhere(struct board *b, const struct event *e) {
    for (size_t i = 0; i < b->n; i++)
        for (struct active *a = b->rows[i].active; a; a = a->next)
            if (!a->measured && strcmp(a->step, e->step ? e->step : "") == 0)
                return a;
    return NULL;
}

static struct active *progress(struct board *b, struct board_row *row, const struct event *e) {
    struct active *a = row ? *find_active(row, e) : find_anywhere(b, e);
    if (!a)
        return NULL;
    if (e->total != a->total)
        a->tenths = 0; /* another thing is being measured */
    a->measured = a->measured || row;
    a->done = e->done;
    a->total = e->total;
    snprintf(a->note, sizeof a->note, "%s", e->text ? e->text : "");
    return a;
}

/* A guest hypervisor is ready before the images and networks in it are; for a host they are all there is to do. */
static bool counts(const struct board_row *row, const char *step) {
    return !strchr(row->path, '/') || (strcmp(step, "image") != 0 && strcmp(step, "network") != 0);
}

static void end(struct board *b, struct board_row *row, const struct event *e) {
    struct active **at = find_active(row, e), *a = *at;
    if (a)
        *at = a->next;
    free(a);
    row->ended = ++b->endings;
    if (!counts(row, e->step ? e->step : ""))
        return;
    row->todo -= row->todo > 0;
    if (e->kind == EVENT_STEP_SKIPPED)
        return;
    snprintf(row->last, sizeof row->last, "%s", e->step ? e->step : "");
    row->worked = row->started ? e->at_ms - row->started : 0;
}

static void skip(struct board *b, struct board_row *row, const struct event *e) {
    b->skipped++;
    row->skipped = true;
    row->interrupted = row->interrupted || was_interrupted(e);
}

static void fail(struct board *b, struct board_row *row, const struct event *e) {
    b->failed++;
    if (!row->failed && e->error)
        row->cause = xstrdup(e->error->cause);
    row->failed = true;
}

struct active *board_take(struct board *b, const struct event *e) {
    struct board_row *row = board_find(b, e->path);
    bool about_step = e->kind >= EVENT_STEP_START && e->kind <= EVENT_STEP_SKIPPED;
    if (!b->began)
        b->began = e->at_ms;
    if (about_step && e->path && !row) {
        row = add_row(b, e->path);
        rebuild_tree(b);
    }
    if (e->kind == EVENT_RUN_START && !b->steps)
        b->steps = e->total;
    if (e->kind == EVENT_RUN_START)
        snprintf(b->verb, sizeof b->verb, "%s", e->text ? e->text : "");
    if (e->kind == EVENT_RUN_END)
        b->over = true;
    if (e->kind == EVENT_STEP_PROGRESS)
        return progress(b, row, e);
    if (!row)
        return NULL;
    if (e->kind == EVENT_STEP_START)
        return begin(row, e);
    if (e->kind == EVENT_STEP_DONE)
        b->done++;
    else if (e->kind == EVENT_STEP_SKIPPED || was_interrupted(e))
        skip(b, row, e);
    else if (e->kind == EVENT_STEP_FAILED)
        fail(b, row, e);
    else
        return NULL;
    end(b, row, e);
    return NULL;
}

void board_free(struct board *b) {
    for (size_t i = 0; i < b->n; i++) {
        free(b->rows[i].path);
        free(b->rows[i].cause);
        for (struct active *a = b->rows[i].active, *next; a; a = next) {
            next = a->next;
            free(a);
        }
    }
    free(b->rows);
    path_index_free(&b->index);
    tree_free(&b->tree);
    *b = (struct board){0};
}
