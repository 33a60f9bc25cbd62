/* Single reads. Those of one set that are asked for at the same time go together: one queue per set, and one per pair
 * of sets for those who want two objects at once. */
#include "drivers/vsphere/vim_priv.h"

#include <stdlib.h>
#include <string.h>

struct read_item {
    struct share_item item;
    const struct moref *refs[2]; /* the second NULL: one object */
    struct vim_object *ret[2];
    bool taken[2];
};

struct round {
    struct reader *reader;
    struct share_batch *batch;
    size_t cursor; /* objects come in the order they were asked for, mostly: a search begins where the last one ended */
};

/* Where an object belongs. */
struct slot {
    size_t at; /* in the batch */
    int which;
};

/* --- one round --- */

static struct read_item *item_at(struct round *r, size_t i) { return (struct read_item *)r->batch->items[i]; }

static const struct moref *missing(const struct read_item *item, int which) {
    return item && !item->taken[which] ? item->refs[which] : NULL;
}

/* All firsts go before all seconds, so what those say is no older. */
static const struct moref *ref_at(void *data, size_t i) {
    struct round *r = data;
    return missing(item_at(r, i % r->batch->n), i >= r->batch->n);
}

static void lock(void *data, bool on) {
    struct round *r = data;
    if (on)
        share_lock(r->batch);
    else
        share_unlock(r->batch);
}

/* The next that asks for this object, from the cursor on, once around; false: none. */
static bool find(struct round *r, const struct moref *ref, struct slot *ret) {
    for (size_t n = r->batch->n, step = 0; step < n; step++) {
        size_t i = (r->cursor + step) % n;
        for (int which = 0; which < 2; which++) {
            const struct moref *wanted = missing(item_at(r, i), which);
            if (wanted && moref_equal(wanted, ref)) {
                *ret = (struct slot){i, which};
                r->cursor = (i + 1) % n;
                return true;
            }
        }
    }
    return false;
}

static void put(struct round *r, struct slot slot, struct vim_object object) {
    struct read_item *item = item_at(r, slot.at);
    *item->ret[slot.which] = object;
    item->taken[slot.which] = true;
    if (!missing(item, 0) && !missing(item, 1))
        share_deliver(r->batch, slot.at, 0, NULL);
}

/* To all who asked for it. */
static int take(void *data, struct vim_object *object, struct error *err) {
    struct round *r = data;
    struct slot slot, next;
    (void)err;
    share_lock(r->batch);
    bool found = find(r, &object->ref, &slot);
    while (found) {
        item_at(r, slot.at)->taken[slot.which] = true; /* so that it is not found again */
        found = find(r, &object->ref, &next);
        put(r, slot, found ? object_copy(object) : *object);
        if (!found)
            object->doc = NULL;
        slot = next;
    }
    share_unlock(r->batch);
    return 0;
}

static void refuse(void *data, const struct moref *ref, const struct error *why) {
    struct round *r = data;
    struct slot slot;
    share_lock(r->batch);
    while (find(r, ref, &slot))
        share_deliver(r->batch, slot.at, -1, why);
    share_unlock(r->batch);
}

/* What the server left out. */
static void tell_gone(struct round *r) {
    share_lock(r->batch);
    for (size_t i = 0; i < r->batch->n; i++)
        if (item_at(r, i)) {
            const struct moref *ref = missing(item_at(r, i), 0);
            struct error err = {0};
            ref = ref ? ref : missing(item_at(r, i), 1);
            error_set(&err, ERR_NOT_FOUND, vim_subject(r->reader->v), "%s %s does not exist (any more)", ref->type,
                      ref->id);
            err.native = VIM_MANAGED_OBJECT_NOT_FOUND;
            share_deliver(r->batch, i, -1, &err);
        }
    share_unlock(r->batch);
}

static int run(void *data, struct share_batch *batch, const struct context *ctx, struct error *err) {
    struct reader *reader = data;
    struct round round = {.reader = reader, .batch = batch};
    struct wanted wanted = {.set = reader->sets[0],
                            .other_set = reader->sets[1],
                            .n = reader->sets[1] ? 2 * batch->n : batch->n,
                            .ref = ref_at,
                            .lock = lock,
                            .take = take,
                            .refuse = refuse,
                            .data = &round};
    if (retrieve_wanted(reader->v, &wanted, ctx, err))
        return -1;
    tell_gone(&round);
    return 0;
}

/* --- queues --- */

void readers_init(struct vim *v) { pthread_mutex_init(&v->readers_lock, NULL); }

void readers_destroy(struct vim *v) {
    for (struct reader *r = v->readers, *next; r; r = next) {
        next = r->next;
        share_destroy(&r->share);
        free(r);
    }
    pthread_mutex_destroy(&v->readers_lock);
}

static struct reader *reader_new(struct vim *v, const struct vim_set *first, const struct vim_set *second) {
    struct reader *r = xcalloc(1, sizeof *r);
    r->v = v;
    r->sets[0] = first;
    r->sets[1] = second;
    r->share.rounds_max = READ_ROUNDS;
    r->share.wakes = &v->wakes;
    r->share.subject = vim_subject(v);
    r->share.what = "reading from the server";
    r->share.run = run;
    r->share.data = r;
    share_init(&r->share);
    return r;
}

static struct reader *reader_of(struct vim *v, const struct vim_set *first, const struct vim_set *second) {
    pthread_mutex_lock(&v->readers_lock);
    struct reader *r = v->readers;
    while (r && (r->sets[0] != first || r->sets[1] != second))
        r = r->next;
    if (!r) {
        r = reader_new(v, first, second);
        r->next = v->readers;
        v->readers = r;
    }
    pthread_mutex_unlock(&v->readers_lock);
    return r;
}

int vim_read(struct vim *v, const struct moref *ref, const struct vim_set *set, struct vim_object *ret,
             const struct context *ctx, struct error *err) {
    struct vim_object object = {.doc = NULL};
    struct read_item item = {.refs = {ref}, .ret = {&object}};
    if (share_do(&reader_of(v, set, NULL)->share, &item.item, ctx, err))
        return -1;
    *ret = object;
    return 0;
}

int read_pair(struct vim *v, const struct vim_wish *first, const struct vim_wish *second, const struct context *ctx,
              struct error *err) {
    struct vim_object objects[2] = {{.doc = NULL}, {.doc = NULL}};
    struct read_item item = {.refs = {first->ref, second->ref}, .ret = {&objects[0], &objects[1]}};
    if (share_do(&reader_of(v, first->set, second->set)->share, &item.item, ctx, err)) {
        vim_object_free(&objects[0]);
        vim_object_free(&objects[1]);
        return -1;
    }
    *first->ret = objects[0];
    *second->ret = objects[1];
    return 0;
}
