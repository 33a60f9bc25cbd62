/* What the server keeps for those who wait: PropertyCollector, ListView, PropertyFilter. */
#include "drivers/vsphere/watch_priv.h"

#include <stdlib.h>
#include <string.h>

#define TURNS_MAX 3 /* for a session that ends in the middle */
#define DESTROY_MS 5000

struct refs {
    struct moref *items;
    size_t n, cap;
};

static void refs_free(struct refs *r) { free(r->items); }
#define cleanup_refs __attribute__((cleanup(refs_free)))

static void refs_add(struct refs *r, const struct moref *ref) {
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 16;
        r->items = xrealloc(r->items, r->cap * sizeof *r->items);
    }
    r->items[r->n++] = *ref;
}

/* --- who waits for what; with the lock held --- */

/* Each object that is waited for once; only_new: that is not on the list. */
static void collect_refs(struct watch *w, bool only_new, struct refs *ret) {
    for (size_t i = 0; i < WATCH_BUCKETS; i++)
        for (struct watcher *one = w->buckets[i]; one; one = one->next)
            if (watch_first(w, one->ref) == one && !(only_new && watch_is_listed(w, one)))
                refs_add(ret, one->ref);
}

/* They are on the list of that collector now. */
static void note_listed(struct watch *w, const struct moref *refs, size_t n, unsigned number) {
    for (size_t i = 0; i < n; i++) {
        if (!watch_first(w, &refs[i]))
            watch_mark_stale(w, &refs[i]);
        for (struct watcher *one = *watch_bucket(w, &refs[i]); one; one = one->next)
            if (moref_equal(one->ref, &refs[i]))
                one->listed = number;
    }
}

/* Which of those that nobody waited for any more have found somebody; the others are to be taken off the list. */
static void sort_stale(struct watch *w, struct refs *ret_remove) {
    size_t n = w->nstale;
    struct moref *stale = steal_ptr(&w->stale);
    w->nstale = w->stale_cap = 0;
    for (size_t i = 0; i < n; i++)
        if (watch_first(w, &stale[i]))
            note_listed(w, &stale[i], 1, w->collector.number);
        else
            refs_add(ret_remove, &stale[i]);
    free(stale);
}

/* --- the filter's sets; with the lock held --- */

/* One <propSet> for each type, with the paths of all sets of that type: two for one type mean nothing certain. */
static bool has_path(struct watch *w, size_t nsets, const char *type, const char *path) {
    for (size_t i = 0; i < nsets; i++)
        for (const char *const *p = w->sets[i]->paths; *p && strcmp(w->sets[i]->type, type) == 0; p++)
            if (strcmp(*p, path) == 0)
                return true;
    return false;
}

static bool has_type(struct watch *w, size_t nsets, const char *type) {
    for (size_t i = 0; i < nsets; i++)
        if (strcmp(w->sets[i]->type, type) == 0)
            return true;
    return false;
}

static void put_paths(struct watch *w, struct soap_request *r, const char *type) {
    for (size_t i = 0; i < w->nsets; i++) {
        const struct vim_set *set = w->sets[i];
        for (const char *const *p = set->paths; *p && strcmp(set->type, type) == 0; p++)
            if (!has_path(w, i, type, *p))
                soap_text(r, "pathSet", *p);
    }
}

static void put_sets(struct watch *w, struct soap_request *r) {
    for (size_t i = 0; i < w->nsets; i++) {
        if (has_type(w, i, w->sets[i]->type))
            continue;
        soap_open(r, "propSet");
        soap_text(r, "type", w->sets[i]->type);
        soap_flag(r, "all", false);
        put_paths(w, r, w->sets[i]->type);
        soap_close(r);
    }
}

/* --- calls --- */

/* What is made for us belongs to the session it is made in: *ret_generation. */
static int call_ref(struct watch *w, struct soap_request *r, struct moref *ret, unsigned *ret_generation,
                    const struct context *ctx, struct error *err) {
    int rc = client_call_ref(w->v, r, VIM_SAFE, ret, NULL, ret_generation, ctx, err);
    soap_free(r);
    return rc;
}

static void put_refs(struct soap_request *r, const char *name, const struct moref *refs, size_t n) {
    for (size_t i = 0; i < n; i++)
        soap_ref(r, name, &refs[i]);
}

static int modify_list(struct watch *w, const struct moref *list, const struct moref *add, size_t nadd,
                       const struct refs *remove, const struct context *ctx, struct error *err) {
    struct soap_request *r = soap_new("ModifyListView", list);
    put_refs(r, "add", add, nadd);
    if (remove)
        put_refs(r, "remove", remove->items, remove->n);
    int rc = vim_call(w->v, r, VIM_SAFE, NULL, NULL, ctx, err);
    soap_free(r);
    return rc;
}

/* Of the refs those that are there. One that is gone fails the call: then by halves, until it is alone. */
static int add_existing(struct watch *w, const struct collector *c, const struct moref *refs, size_t n,
                        const struct context *ctx, struct error *err) {
    struct error why = {0};
    if (n == 0)
        return 0;
    if (modify_list(w, &c->list, refs, n, NULL, ctx, &why) == 0) {
        pthread_mutex_lock(&w->lock);
        note_listed(w, refs, n, c->number);
        pthread_mutex_unlock(&w->lock);
        return 0;
    }
    if (!vim_fault_is(&why, VIM_MANAGED_OBJECT_NOT_FOUND)) {
        *err = why;
        return -1;
    }
    if (n == 1)
        return 0;
    return add_existing(w, c, refs, n / 2, ctx, err) || add_existing(w, c, refs + n / 2, n - n / 2, ctx, err) ? -1 : 0;
}

static int create_filter(struct watch *w, struct collector *c, struct moref *ret, const struct context *ctx,
                         struct error *err) {
    struct soap_request *r = soap_new("CreateFilter", &c->self);
    soap_open(r, "spec");
    pthread_mutex_lock(&w->lock);
    put_sets(w, r);
    c->nsets = w->nsets;
    pthread_mutex_unlock(&w->lock);
    soap_open(r, "objectSet");
    soap_ref(r, "obj", &c->list);
    soap_flag(r, "skip", true);
    put_traversal(r, "ListView", "view");
    soap_close(r);
    soap_close(r);
    soap_flag(r, "partialUpdates", false); /* whole values: they replace what we have */
    return call_ref(w, r, ret, NULL, ctx, err);
}

/* --- making --- */

/* All at once; an object that is gone would fail that, so then the list begins empty and takes those that are there. */
static int create_list(struct watch *w, struct collector *c, const struct refs *refs, bool *ret_whole,
                       const struct context *ctx, struct error *err) {
    struct soap_request *r = soap_new("CreateListView", &w->v->service.view_manager);
    put_refs(r, "obj", refs->items, refs->n);
    struct error why = {0};
    *ret_whole = true;
    if (call_ref(w, r, &c->list, NULL, ctx, &why) == 0)
        return 0;
    if (!vim_fault_is(&why, VIM_MANAGED_OBJECT_NOT_FOUND)) {
        *err = why;
        return -1;
    }
    *ret_whole = false;
    return call_ref(w, soap_new("CreateListView", &w->v->service.view_manager), &c->list, NULL, ctx, err);
}

static int adopt(struct watch *w, const struct collector *c, const struct refs *listed, struct error *err) {
    pthread_mutex_lock(&w->lock);
    w->collector = *c;
    w->collector.made = true;
    w->nstale = 0;
    note_listed(w, listed->items, listed->n, c->number);
    int rc = updates_start(w, err);
    w->collector.made = rc == 0;
    wake(w->idle);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

static int make_once(struct watch *w, const struct context *ctx, struct error *err) {
    cleanup_refs struct refs refs = {.n = 0};
    struct collector c = {.made = false};
    const struct refs none = {.n = 0};
    bool whole = false;
    pthread_mutex_lock(&w->lock);
    c.number = ++w->ncollectors;
    collect_refs(w, false, &refs);
    pthread_mutex_unlock(&w->lock);
    struct soap_request *r = soap_new("CreatePropertyCollector", &w->v->service.property_collector);
    if (call_ref(w, r, &c.self, &c.generation, ctx, err) || create_list(w, &c, &refs, &whole, ctx, err) ||
        create_filter(w, &c, &c.filter, ctx, err) || adopt(w, &c, whole ? &refs : &none, err))
        return -1;
    return whole ? 0 : add_existing(w, &c, refs.items, refs.n, ctx, err);
}

/* The one before is done for: it belongs to a session that is over, or the thread lost it. */
static int make(struct watch *w, const struct context *ctx, struct error *err) {
    pthread_mutex_lock(&w->lock);
    struct collector old = w->collector;
    unsigned failures = w->failures;
    if (old.made)
        watch_lose_collector(w, NULL);
    pthread_mutex_unlock(&w->lock);
    unsigned pauses = failures ? failures - 1 : 0;
    if ((failures && client_pause(w->v, &pauses, ctx, err)) || make_once(w, ctx, err))
        return -1;
    if (old.number && old.generation == atomic_load(&w->v->generation))
        collector_destroy(w, &old, ctx);
    return 0;
}

/* --- extending --- */

static int extend_filter(struct watch *w, struct collector *c, const struct context *ctx, struct error *err) {
    struct moref old = c->filter;
    struct error ignored = {0};
    if (create_filter(w, c, &c->filter, ctx, err))
        return -1;
    pthread_mutex_lock(&w->lock);
    if (w->collector.number == c->number) {
        w->collector.filter = c->filter;
        w->collector.nsets = c->nsets;
    }
    pthread_mutex_unlock(&w->lock);
    struct soap_request *r = soap_new("DestroyPropertyFilter", &old);
    (void)!vim_call(w->v, r, VIM_SAFE, NULL, NULL, ctx, &ignored);
    soap_free(r);
    return 0;
}

/* One of them is gone, and failed the call: the others are added. If none can be, it is the list that is gone. */
static int extend_by_halves(struct watch *w, const struct collector *c, const struct refs *add, const struct error *why,
                            const struct context *ctx, struct error *err) {
    bool any = false;
    if (add_existing(w, c, add->items, add->n, ctx, err))
        return -1;
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < add->n; i++) {
        const struct watcher *one = watch_first(w, &add->items[i]);
        any = any || !one || one->listed == c->number;
    }
    pthread_mutex_unlock(&w->lock);
    if (any)
        return 0;
    *err = *why;
    return -1;
}

static int extend_list(struct watch *w, const struct collector *c, const struct context *ctx, struct error *err) {
    cleanup_refs struct refs add = {.n = 0}, remove = {.n = 0};
    struct error why = {0};
    pthread_mutex_lock(&w->lock);
    sort_stale(w, &remove);
    collect_refs(w, true, &add);
    pthread_mutex_unlock(&w->lock);
    int rc = add.n ? modify_list(w, &c->list, add.items, add.n, &remove, ctx, &why) : 0;
    bool gone = rc && vim_fault_is(&why, VIM_MANAGED_OBJECT_NOT_FOUND);
    pthread_mutex_lock(&w->lock);
    if (rc == 0)
        note_listed(w, add.items, add.n, c->number);
    /* What was not taken off is tried with the next change, unless that may be what failed this one. */
    for (size_t i = 0; (add.n == 0 || (rc && !gone)) && i < remove.n; i++)
        watch_mark_stale(w, &remove.items[i]);
    pthread_mutex_unlock(&w->lock);
    if (gone)
        return extend_by_halves(w, c, &add, &why, ctx, err);
    if (rc)
        *err = why;
    return rc;
}

static bool lives(struct watch *w, struct collector *ret) {
    pthread_mutex_lock(&w->lock);
    *ret = w->collector;
    pthread_mutex_unlock(&w->lock);
    return ret->made && ret->generation == atomic_load(&w->v->generation);
}

static int extend(struct watch *w, struct collector *c, const struct context *ctx, struct error *err) {
    pthread_mutex_lock(&w->lock);
    bool covered = c->nsets == w->nsets;
    pthread_mutex_unlock(&w->lock);
    if (!covered && extend_filter(w, c, ctx, err))
        return -1;
    return extend_list(w, c, ctx, err);
}

/* --- for all that wish it at once --- */

/* One turn; *ret_again: it failed because what the server kept for us went, mostly with its session. */
static int turn(struct watch *w, bool *ret_again, const struct context *ctx, struct error *err) {
    struct collector c;
    struct error why = {0};
    unsigned generation = atomic_load(&w->v->generation);
    int rc = lives(w, &c) ? extend(w, &c, ctx, &why) : make(w, ctx, &why);
    /* The list or the collector: objects that are gone are dealt with above. */
    bool gone = vim_fault_is(&why, VIM_MANAGED_OBJECT_NOT_FOUND);
    *ret_again = rc && (gone || generation != atomic_load(&w->v->generation));
    pthread_mutex_lock(&w->lock);
    if (gone && w->collector.made)
        watch_lose_collector(w, NULL);
    pthread_mutex_unlock(&w->lock);
    if (rc)
        *err = why;
    return rc;
}

static int run(void *data, struct share_batch *batch, const struct context *ctx, struct error *err) {
    struct watch *w = data;
    bool again = false;
    (void)batch; /* whoever waits is listed: those of the batch are among them */
    for (unsigned turns = 1;; turns++) {
        struct error why = {0};
        int rc = turn(w, &again, ctx, &why);
        if (rc == 0)
            return 0;
        if (again && turns < TURNS_MAX && !context_has_ended(ctx))
            continue;
        if (!vim_fault_is(&why, VIM_MANAGED_OBJECT_NOT_FOUND)) {
            *err = why;
            return -1;
        }
        /* Nobody may take that for the end of the object that is waited for. */
        error_set(err, ERR_UNREACHABLE, vim_subject(w->v), "the server loses what it keeps for those who wait");
        return error_retry(err);
    }
}

int collector_list(struct watch *w, struct watcher *one, const struct context *ctx, struct error *err) {
    struct share_item item = {.next = NULL};
    pthread_mutex_lock(&w->lock);
    bool listed = watch_is_listed(w, one) && w->collector.nsets == w->nsets;
    pthread_mutex_unlock(&w->lock);
    return listed ? 0 : share_do(&w->listing, &item, ctx, err);
}

void collector_destroy(struct watch *w, const struct collector *c, const struct context *parent) {
    struct context ctx = context_timeout(parent, DESTROY_MS);
    struct {
        const char *method;
        const struct moref *self;
    } calls[] = {{"DestroyPropertyCollector", &c->self}, {"DestroyView", &c->list}};
    for (size_t i = 0; i < 2; i++) {
        struct soap_request *r = soap_new(calls[i].method, calls[i].self);
        struct soap_reply *reply = NULL;
        struct error ignored = {0};
        exchange(w->v, r, &reply, &ctx, &ignored);
        soap_reply_free(reply);
        soap_free(r);
    }
}

void collector_init(struct watch *w) {
    w->listing = (struct share){.rounds_max = 1,
                                .wakes = &w->v->wakes,
                                .subject = vim_subject(w->v),
                                .what = "preparing to wait",
                                .run = run,
                                .data = w};
    share_init(&w->listing);
}

void collector_free(struct watch *w) { share_destroy(&w->listing); }
