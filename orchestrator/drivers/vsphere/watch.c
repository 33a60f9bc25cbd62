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

/* With the lock held. */
static void put_in(struct watch *w, struct watcher *one) {
    struct watcher **bucket = watch_bucket(w, one->ref);
    one->next = *bucket;
    *bucket = one;
    add_set(w, one->set);
}

/* With the lock held. */
static void take_out(struct watch *w, struct watcher *one) {
    struct watcher **at = watch_bucket(w, one->ref);
    while (*at != one)
        at = &(*at)->next;
    *at = one->next;
    if (watch_is_listed(w, one) && !watch_first(w, one->ref))
        watch_mark_stale(w, one->ref);
    vim_object_free(&one->changes);
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

/* One of the objects a caller waits for. */
struct sight {
    struct vim_watched of;
    struct watcher watcher;
    struct vim_object object;
    bool reread; /* what it is like now has to be read */
};

struct wait {
    struct watch *w;
    const struct context *ctx;
    struct sight sights[2];
    size_t n;
    int wake;
};

static void join(struct wait *a) {
    struct watch *w = a->w;
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < a->n; i++) {
        a->sights[i].reread = true;
        a->sights[i].watcher.wake = a->wake;
        put_in(w, &a->sights[i].watcher);
    }
    if (w->n++ == 0)
        wake(w->idle); /* the thread may be resting */
    pthread_mutex_unlock(&w->lock);
}

static void leave(struct wait *a) {
    struct watch *w = a->w;
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < a->n; i++)
        take_out(w, &a->sights[i].watcher);
    if (--w->n == 0)
        wake(w->idle); /* the thread may tidy up after a while */
    pthread_mutex_unlock(&w->lock);
}

static void leave_beside(struct wait *a) {
    pthread_mutex_lock(&a->w->lock);
    take_out(a->w, &a->sights[--a->n].watcher);
    pthread_mutex_unlock(&a->w->lock);
}

/* Takes over what changed. */
static int take_changes(struct watch *w, struct sight *s, struct error *err) {
    struct watcher *one = &s->watcher;
    pthread_mutex_lock(&w->lock);
    struct vim_object changes = one->changes;
    struct error failed = one->failed;
    s->reread = one->reread || !watch_is_listed(w, one);
    one->changes = (struct vim_object){.doc = NULL};
    one->reread = false;
    pthread_mutex_unlock(&w->lock);
    object_merge(&s->object, &changes);
    if (failed.code == ERR_NONE)
        return 0;
    if (err)
        *err = failed;
    return -1;
}

static int wait_for_change(struct wait *a, struct error *err) {
    const struct moref *ref = a->sights[0].of.ref;
    struct pollfd p = {.fd = a->wake, .events = POLLIN};
    char what[200];
    snprintf(what, sizeof what, "waiting for %s %s", ref->type, ref->id);
    if (context_poll(a->ctx, &p, 1, -1, vim_subject(a->w->v), what, err) < 0)
        return -1;
    wakes_drain(a->wake);
    for (size_t i = 0; i < a->n; i++)
        if (take_changes(a->w, &a->sights[i], err))
            return -1;
    return 0;
}

/* What was told before the object is read is older than what will be read. */
static void drop_changes(struct watch *w, struct watcher *one) {
    pthread_mutex_lock(&w->lock);
    vim_object_free(&one->changes);
    one->reread = false;
    pthread_mutex_unlock(&w->lock);
}

static bool is_listed(struct watch *w, const struct watcher *one) {
    pthread_mutex_lock(&w->lock);
    bool listed = watch_is_listed(w, one);
    pthread_mutex_unlock(&w->lock);
    return listed;
}

/* Listed, and then read once more: a change between the first reading and the listing is seen so. */
static int renew(struct watch *w, struct sight *s, const struct context *ctx, struct error *err) {
    if (list_object(w, &s->watcher, ctx, err))
        return -1;
    drop_changes(w, &s->watcher);
    if (read_object(w, &s->watcher, &s->object, ctx, err))
        return -1;
    s->reread = !is_listed(w, &s->watcher); /* the server did not take it, though it is there */
    return 0;
}

static int look_at(struct sight *s, struct error *err) { return s->of.look(s->of.data, &s->object, err); }

/* Each in turn, so the one beside is not read when the first is enough. That it cannot be read is no reason not to wait
 * for the first. */
static int look_round(struct wait *a, struct error *err) {
    for (size_t i = 0; i < a->n; i++) {
        struct sight *s = &a->sights[i];
        struct error ignored = {0};
        if (s->reread && renew(a->w, s, a->ctx, i ? &ignored : err)) {
            if (i == 0)
                return -1;
            leave_beside(a);
            return 0;
        }
        int enough = look_at(s, err);
        if (enough)
            return enough;
    }
    return 0;
}

static int wait_until(struct wait *a, struct error *err) {
    for (unsigned pauses = 0;;) {
        bool missing = false;
        int enough = look_round(a, err);
        if (enough)
            return enough > 0 ? 0 : -1;
        for (size_t i = 0; i < a->n; i++)
            missing = missing || a->sights[i].reread;
        if (missing ? client_pause(a->w->v, &pauses, a->ctx, err) : wait_for_change(a, err))
            return -1;
    }
}

static int join_and_wait(struct wait *a, struct error *err) {
    struct vim *v = a->w->v;
    if (wakes_take(&v->wakes, vim_subject(v), &a->wake, err))
        return -1;
    join(a);
    int rc = wait_until(a, err);
    leave(a);
    wakes_give(&v->wakes, a->wake);
    return rc;
}

int watch_both(struct vim *v, const struct vim_watched *one, const struct vim_watched *beside,
               const struct context *ctx, struct error *err) {
    struct wait a = {.w = v->watch, .ctx = ctx, .n = beside ? 2 : 1};
    const struct vim_watched *of[] = {one, beside};
    for (size_t i = 0; i < a.n; i++)
        a.sights[i] = (struct sight){.of = *of[i], .watcher = {.ref = of[i]->ref, .set = of[i]->set}};
    struct sight *first = &a.sights[0];
    int enough = read_object(a.w, &first->watcher, &first->object, ctx, err) ? -1 : look_at(first, err);
    int rc = enough ? (enough > 0 ? 0 : -1) : join_and_wait(&a, err);
    for (size_t i = 0; i < 2; i++)
        vim_object_free(&a.sights[i].object);
    return rc;
}

int vim_watch(struct vim *v, const struct moref *ref, const struct vim_set *set, look_fn *look, void *data,
              const struct context *ctx, struct error *err) {
    return watch_both(v, &(struct vim_watched){ref, set, look, data}, NULL, ctx, err);
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
