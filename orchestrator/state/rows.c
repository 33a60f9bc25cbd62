#include <string.h>

#include "state/state_priv.h"

void *arena_grown(struct arena *a, void *items, size_t n, size_t size) {
    if (n & (n - 1)) /* between powers of two there is room */
        return items;
    void *more = arena_alloc(a, (n ? 2 * n : 1) * size);
    if (n)
        memcpy(more, items, n * size);
    return more;
}

void *rows_add(struct rows *rows, size_t size) {
    rows->items = arena_grown(&rows->arena, rows->items, rows->n, sizeof *rows->items);
    return rows->items[rows->n++] = arena_alloc(&rows->arena, size);
}

void rows_free(struct rows *rows) { arena_free(&rows->arena); }
