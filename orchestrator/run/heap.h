/* A binary heap of numbers, the one that comes before all others on top. It can say where a number is, so that one
 * whose rank has changed can be put in its new place. */
#ifndef NESTOR_RUN_HEAP_H
#define NESTOR_RUN_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap {
    bool (*before)(const void *data, uint32_t a, uint32_t b); /* a strict order */
    const void *data;
    uint32_t *items;
    size_t n, cap;
    uint32_t *places; /* by number: 1 + where it is, 0 when it is not in the heap. NULL: not kept */
};

void heap_push(struct heap *h, uint32_t item);
uint32_t heap_pop(struct heap *h);
/* For a heap with places: has `item` in it, in the place its rank is now, or not in it. */
void heap_put(struct heap *h, uint32_t item, bool in);
void heap_free(struct heap *h);

#endif
