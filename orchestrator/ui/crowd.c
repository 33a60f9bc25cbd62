/* Which machines are shown when there are more than lines. */
#include <string.h>

#include "ui/crowd.h"

enum condition condition_of(const struct board_row *row) {
    if (row->active)
        return RUNNING;
    if (row->failed)
        return FAILED;
    if (row->skipped)
        return SKIPPED;
    return row->started && row->todo == 0 ? READY : WAITING;
}

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

void picture_choose(struct picture *v, const struct look *look) {
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
