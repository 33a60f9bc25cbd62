/* A waiting caller. */
#include "drivers/vsphere/watch_priv.h"

#include <stdio.h>
#include <stdlib.h>

typedef int look_fn(void *data, const struct vim_object *object, struct error *err);

/* --- who waits --- */

struct watcher **watch_bucket(struct watch *w, const struct moref *ref) {
    unsigned hash = 5381;
    for (const char *c = ref->id; *c; c++)
        hash = hash * 33 + (unsigned char)*c;
    return &w->buckets[hash % WATCH_BUCKETS];
}

struct watcher *watch_first(struct watch *w, const struct moref *ref) {
    struct watcher *one = *watch_bucket(w, ref);
    while (one && !moref_equal(one->ref, ref))
        one = one->next;
    return one;
}

bool watch_is_listed(const struct watch *w, const struct watcher *one) {
    return w->collector.made && one->listed == w->collector.number;
}

static void add_set(struct watch *w, const struct vim_set *set) {
    for (size_t i = 0; i < w->nsets; i++)
        if (w->sets[i] == set)
            return;
    w->sets = xrealloc(w->sets, (w->nsets + 1) * sizeof *w->sets);
    w->sets[w->nsets++] = set;
}

static void join(struct watch *w, struct watcher *one) {
    pthread_mutex_lock(&w->lock);
    struct watcher **bucket = watch_bucket(w, one->ref);
    one->next = *bucket;
    *bucket = one;
    if (w->n++ == 0)
        wake(w->idle); /* the thread may be resting */
    add_set(w, one->set);
    pthread_mutex_unlock(&w->lock);
}

void watch_mark_stale(struct watch *w, const struct moref *ref) {
    if (w->nstale == w->stale_cap) {
        w->stale_cap = w->stale_cap ? 2 * w->stale_cap : 16;
        w->stale = xrealloc(w->stale, w->stale_cap * sizeof *w->stale);
    }
    w->stale[w->nstale++] = *ref;
}

void watch_lose_collector(struct watch *w, const struct error *failed) {
    w->collector.made = false;
    updates_abort(w);
    for (size_t i = 0; i < WATCH_BUCKETS; i++)
        for (struct watcher *one = w->buckets[i]; one; one = one->next) {
            one->reread = true;
            if (failed)
                one->failed = *failed;
            wake(one->wake);
        }
}

static void leave(struct watch *w, struct watcher *one) {
    pthread_mutex_lock(&w->lock);
    struct watcher **at = watch_bucket(w, one->ref);
    while (*at != one)
        at = &(*at)->next;
    *at = one->next;
    if (--w->n == 0)
        wake(w->idle); /* the thread may tidy up after a while */
    if (watch_is_listed(w, one) && !watch_first(w, one->ref))
        watch_mark_stale(w, one->ref);
    pthread_mutex_unlock(&w->lock);
    vim_object_free(&one->changes);
}

/* --- what can fail is repeated while there is time --- */

struct attempt {
    struct watch *w;
    const struct context *ctx;
    unsigned pauses;
};

/* After a failure: 0, once it may be tried again; else -1 with err, the failure or the context's end. */
static int after_failure(struct attempt *a, const struct error *why, struct error *err) {
    if (!why->retry || context_has_ended(a->ctx)) {
        if (err)
            *err = *why;
        return -1;
    }
    if (client_pause(a->w->v, &a->pauses, a->ctx, err) == 0)
        return 0;
    error_note(err, "%s", why->cause);
    return -1;
}

static int read_object(struct watch *w, const struct watcher *one, struct vim_object *object, const struct context *ctx,
                       struct error *err) {
    struct attempt a = {.w = w, .ctx = ctx};
    for (;;) {
        struct vim_object fresh = {.doc = NULL};
        struct error why = {0};
        if (vim_read(w->v, one->ref, one->set, &fresh, ctx, &why) == 0) {
            vim_object_free(object);
            *object = fresh;
            return 0;
        }
        if (after_failure(&a, &why, err))
            return -1;
    }
}

static int list_object(struct watch *w, struct watcher *one, const struct context *ctx, struct error *err) {
    struct attempt a = {.w = w, .ctx = ctx};
    for (;;) {
        struct error why = {0};
        if (collector_list(w, one, ctx, &why) == 0)
            return 0;
        if (after_failure(&a, &why, err))
            return -1;
    }
}

/* --- waiting --- */

/* Takes over what changed; *ret_reread: what the object is like now has to be read. */
static int take_changes(struct watch *w, struct watcher *one, struct vim_object *object, bool *ret_reread,
                        struct error *err) {
    pthread_mutex_lock(&w->lock);
    struct vim_object changes = one->changes;
    struct error failed = one->failed;
    *ret_reread = one->reread || !watch_is_listed(w, one);
    one->changes = (struct vim_object){.doc = NULL};
    one->reread = false;
    pthread_mutex_unlock(&w->lock);
    object_merge(object, &changes);
    if (failed.code == ERR_NONE)
        return 0;
    if (err)
        *err = failed;
    return -1;
}

static int wait_for_change(struct watch *w, struct watcher *one, const struct context *ctx, struct error *err) {
    struct pollfd p = {.fd = one->wake, .events = POLLIN};
    char what[200];
    snprintf(what, sizeof what, "waiting for %s %s", one->ref->type, one->ref->id);
    if (context_poll(ctx, &p, 1, -1, vim_subject(w->v), what, err) < 0)
        return -1;
    wakes_drain(one->wake);
    return 0;
}

/* What was told before the object is read is older than what will be read. */
static void drop_changes(struct watch *w, struct watcher *one) {
    pthread_mutex_lock(&w->lock);
    vim_object_free(&one->changes);
    one->reread = false;
    pthread_mutex_unlock(&w->lock);
}

/* Listed, and then read once more: a change between the first reading and the listing is seen so. */
static int renew(struct watch *w, struct watcher *one, struct vim_object *object, const struct context *ctx,
                 struct error *err) {
    if (list_object(w, one, ctx, err))
        return -1;
    drop_changes(w, one);
    return read_object(w, one, object, ctx, err);
}

static bool is_listed(struct watch *w, const struct watcher *one) {
    pthread_mutex_lock(&w->lock);
    bool listed = watch_is_listed(w, one);
    pthread_mutex_unlock(&w->lock);
    return listed;
}

static int wait_until(struct watch *w, struct watcher *one, struct vim_object *object, look_fn *look, void *data,
                      const struct context *ctx, struct error *err) {
    bool reread = true;
    for (unsigned pauses = 0;;) {
        if (reread && renew(w, one, object, ctx, err))
            return -1;
        int enough = look(data, object, err);
        if (enough)
            return enough > 0 ? 0 : -1;
        if (reread && !is_listed(w, one)) { /* the server did not take it, though it is there */
            if (client_pause(w->v, &pauses, ctx, err))
                return -1;
            continue;
        }
        if (wait_for_change(w, one, ctx, err) || take_changes(w, one, object, &reread, err))
            return -1;
    }
}

int vim_watch(struct vim *v, const struct moref *ref, const struct vim_set *set, look_fn *look, void *data,
              const struct context *ctx, struct error *err) {
    struct watch *w = v->watch;
    struct watcher one = {.ref = ref, .set = set, .wake = -1};
    cleanup_vim_object struct vim_object object = {.doc = NULL};
    if (read_object(w, &one, &object, ctx, err))
        return -1;
    int enough = look(data, &object, err);
    if (enough)
        return enough > 0 ? 0 : -1;
    if (wakes_take(&v->wakes, vim_subject(v), &one.wake, err))
        return -1;
    join(w, &one);
    int rc = wait_until(w, &one, &object, look, data, ctx, err);
    leave(w, &one);
    wakes_give(&v->wakes, one.wake);
    return rc;
}

/* --- life --- */

void watch_init(struct vim *v) {
    v->watch = xcalloc(1, sizeof *v->watch);
    v->watch->v = v;
    v->watch->linger_ms = 10000;
    v->watch->keep_alive_ms = (int64_t)10 * 60 * 1000;
    v->watch->idle = -1;
    v->watch->abort.fd = -1;
    pthread_mutex_init(&v->watch->lock, NULL);
    collector_init(v->watch);
}

void watch_destroy(struct vim *v) {
    struct watch *w = v->watch;
    updates_stop(w);
    collector_free(w);
    pthread_mutex_destroy(&w->lock);
    free(w->sets);
    free(w->stale);
    free(w);
    v->watch = NULL;
}

uint32_t watch_waiting(struct vim *v) {
    pthread_mutex_lock(&v->watch->lock);
    size_t n = v->watch->n;
    pthread_mutex_unlock(&v->watch->lock);
    return (uint32_t)n;
}

void watch_session_changed(struct vim *v) {
    struct watch *w = v->watch;
    pthread_mutex_lock(&w->lock);
    if (w->collector.made && w->collector.generation != atomic_load(&v->generation))
        updates_abort(w);
    pthread_mutex_unlock(&w->lock);
}
