/* path -> row number, for building and filling an inventory in linear time. Keys are borrowed. */
#ifndef NESTOR_PLAN_INDEX_H
#define NESTOR_PLAN_INDEX_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nestor/buffer.h"
#include "nestor/lab.h"

struct path_index {
    struct path_slot {
        const char *path;
        uint32_t row;
    } * slots;
    size_t cap, used; /* cap is a power of two */
};

static inline size_t path_hash(const char *s) { /* FNV-1a, 64 bits */
    uint64_t h = 1469598103934665603u;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return (size_t)h;
}

static inline struct path_slot *path_slot(const struct path_index *x, const char *path) {
    size_t i = path_hash(path) & (x->cap - 1);
    while (x->slots[i].path && strcmp(x->slots[i].path, path) != 0)
        i = (i + 1) & (x->cap - 1);
    return &x->slots[i];
}

static inline void path_index_put(struct path_index *x, const char *path, uint32_t row) {
    if (x->used * 2 >= x->cap) {
        struct path_index bigger = {.cap = x->cap ? x->cap * 2 : 64, .used = x->used};
        bigger.slots = xcalloc(bigger.cap, sizeof *bigger.slots);
        for (size_t i = 0; i < x->cap; i++)
            if (x->slots[i].path)
                *path_slot(&bigger, x->slots[i].path) = x->slots[i];
        free(x->slots);
        *x = bigger;
    }
    struct path_slot *slot = path_slot(x, path);
    if (!slot->path)
        x->used++;
    *slot = (struct path_slot){path, row};
}

static inline uint32_t path_index_get(const struct path_index *x, const char *path) {
    if (!x->cap)
        return LAB_NONE;
    struct path_slot *slot = path_slot(x, path);
    return slot->path ? slot->row : LAB_NONE;
}

static inline void path_index_free(struct path_index *x) {
    free(x->slots);
    *x = (struct path_index){0};
}

#endif
