/* Single reads. Those of one set that are asked for at the same time go together: one queue per set. */
#include "drivers/vsphere/vim_priv.h"

#include <stdlib.h>
#include <string.h>

struct read_item {
    struct share_item item;
    const struct moref *ref;
    struct vim_object *ret;
};

struct round {
    struct reader *reader;
    struct share_batch *batch;
    size_t cursor; /* objects come in the order they were asked for, mostly: a search begins where the last one ended */
};

/* --- one round --- */

static struct read_item *item_at(struct round *r, size_t i) { return (struct read_item *)r->batch->items[i]; }

static const struct moref *ref_at(void *data, size_t i) {
    struct read_item *item = item_at(data, i);
    return item ? item->ref : NULL;
}

static void lock(void *data, bool on) {
    struct round *r = data;
    if (on)
        share_lock(r->batch);
    else
        share_unlock(r->batch);
}

/* The next item from the cursor on, once around, that asks for this object; false: none. */
static bool find(struct round *r, const struct moref *ref, size_t *ret) {
    for (size_t n = r->batch->n, step = 0; step < n; step++) {
        size_t i = (r->cursor + step) % n;
        if (item_at(r, i) && moref_equal(item_at(r, i)->ref, ref)) {
            *ret = i;
            r->cursor = (i + 1) % n;
            return true;
        }
    }
    return false;
}

/* To all who asked for it. */
static int take(void *data, struct vim_object *object, struct error *err) {
    struct round *r = data;
    size_t i = 0, next = 0;
    (void)err;
    share_lock(r->batch);
    bool found = find(r, &object->ref, &i);
    while (found) {
        struct read_item *item = item_at(r, i);
        r->batch->items[i] = NULL; /* so that it is not found again */
        found = find(r, &object->ref, &next);
        *item->ret = found ? object_copy(object) : *object;
        r->batch->items[i] = &item->item;
        share_deliver(r->batch, i, 0, NULL);
        if (!found)
            object->doc = NULL;
        i = next;
    }
    share_unlock(r->batch);
    return 0;
}

static void refuse(void *data, const struct moref *ref, const struct error *why) {
    struct round *r = data;
    size_t i = 0;
    share_lock(r->batch);
    while (find(r, ref, &i))
        share_deliver(r->batch, i, -1, why);
    share_unlock(r->batch);
}

/* What the server left out. */
static void tell_gone(struct round *r) {
    share_lock(r->batch);
    for (size_t i = 0; i < r->batch->n; i++)
        if (item_at(r, i)) {
            const struct moref *ref = item_at(r, i)->ref;
            struct error err = {0};
            error_set(&err, ERR_NOT_FOUND, vim_subject(r->reader->v), "%s %s does not exist (any more)", ref->type,
                      ref->id);
            err.native = VIM_MANAGED_OBJECT_NOT_FOUND;
            share_deliver(r->batch, i, -1, &err);
        }
    share_unlock(r->batch);
}

static int run(void *data, struct share_batch *batch, const struct context *ctx, struct error *err) {
    struct round round = {.reader = data, .batch = batch};
    struct wanted wanted = {.set = round.reader->set,
                            .n = batch->n,
                            .ref = ref_at,
                            .lock = lock,
                            .take = take,
                            .refuse = refuse,
                            .data = &round};
    if (retrieve_wanted(round.reader->v, &wanted, ctx, err))
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

static struct reader *reader_new(struct vim *v, const struct vim_set *set) {
    struct reader *r = xcalloc(1, sizeof *r);
    r->v = v;
    r->set = set;
    r->share.rounds_max = READ_ROUNDS;
    r->share.wakes = &v->wakes;
    r->share.subject = vim_subject(v);
    r->share.what = "reading from the server";
    r->share.run = run;
    r->share.data = r;
    share_init(&r->share);
    return r;
}

static struct reader *reader_of(struct vim *v, const struct vim_set *set) {
    pthread_mutex_lock(&v->readers_lock);
    struct reader *r = v->readers;
    while (r && r->set != set)
        r = r->next;
    if (!r) {
        r = reader_new(v, set);
        r->next = v->readers;
        v->readers = r;
    }
    pthread_mutex_unlock(&v->readers_lock);
    return r;
}

int vim_read(struct vim *v, const struct moref *ref, const struct vim_set *set, struct vim_object *ret,
             const struct context *ctx, struct error *err) {
    struct vim_object object = {.doc = NULL};
    struct read_item item = {.ref = ref, .ret = &object};
    if (share_do(&reader_of(v, set)->share, &item.item, ctx, err))
        return -1;
    *ret = object;
    return 0;
}
