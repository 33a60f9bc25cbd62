#include "run/heap.h"

#include <stdlib.h>

#include "nestor/buffer.h"

static void set(struct heap *h, size_t i, uint32_t item) {
    h->items[i] = item;
    if (h->places)
        h->places[item] = (uint32_t)i + 1;
}

static void swap(struct heap *h, size_t i, size_t k) {
    uint32_t item = h->items[i];
    set(h, i, h->items[k]);
    set(h, k, item);
}

static bool before(const struct heap *h, size_t i, size_t k) { return h->before(h->data, h->items[i], h->items[k]); }

static size_t rise(struct heap *h, size_t i) {
    for (; i > 0 && before(h, i, (i - 1) / 2); i = (i - 1) / 2)
        swap(h, i, (i - 1) / 2);
    return i;
}

static void sink(struct heap *h, size_t i) {
    for (;;) {
        size_t best = i, left = 2 * i + 1, right = left + 1;
        if (left < h->n && before(h, left, best))
            best = left;
        if (right < h->n && before(h, right, best))
            best = right;
        if (best == i)
            return;
        swap(h, i, best);
        i = best;
    }
}

void heap_push(struct heap *h, uint32_t item) {
    if (h->n == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 16;
        h->items = xrealloc(h->items, h->cap * sizeof *h->items);
    }
    set(h, h->n, item);
    rise(h, h->n++);
}

static uint32_t take(struct heap *h, size_t i) {
    uint32_t item = h->items[i];
    h->n--;
    if (i < h->n) {
        set(h, i, h->items[h->n]);
        sink(h, rise(h, i));
    }
    if (h->places)
        h->places[item] = 0;
    return item;
}

uint32_t heap_pop(struct heap *h) { return take(h, 0); }

void heap_put(struct heap *h, uint32_t item, bool in) {
    size_t place = h->places[item];
    if (place && in)
        sink(h, rise(h, place - 1));
    else if (place)
        take(h, place - 1);
    else if (in)
        heap_push(h, item);
}

void heap_free(struct heap *h) {
    free(h->items);
    free(h->places);
}
