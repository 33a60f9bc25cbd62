#include <stdlib.h>
#include <string.h>

#include "nestor/driver.h"

/* Doubles inside the arena: n is its own capacity at powers of two. */
struct observed *observation_add(struct observation *o) {
    if ((o->n & (o->n - 1)) == 0) {
        struct observed *more = arena_alloc(&o->arena, (o->n ? o->n * 2 : 1) * sizeof *more);
        if (o->n)
            memcpy(more, o->items, o->n * sizeof *more);
        o->items = more;
    }
    return &o->items[o->n++];
}

void observation_free(struct observation *o) {
    if (!o)
        return;
    arena_free(&o->arena);
    free(o);
}
