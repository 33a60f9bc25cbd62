/* Many objects, one after the other: only one is in memory. */
#include "drivers/vsphere/vim_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Objects per request. Their answer is read as it comes, so what bounds it is what one request may be: a reference is
 * about a hundred bytes of it. A server that answers in pages of its own does so. */
#define PAGE 1000
#define VIEWS_MAX 3

typedef int object_fn(void *data, struct vim_object *object, struct error *err);

/* --- known objects --- */

struct page {
    const struct moref *refs;
    size_t n, cursor;
    bool *done;
    object_fn *fn;
    void *data;
};

static const struct moref *ref_at(void *data, size_t i) {
    struct page *p = data;
    return p->done[i] ? NULL : &p->refs[i];
}

static int take_known(void *data, struct vim_object *object, struct error *err) {
    struct page *p = data;
    for (size_t step = 0; step < p->n; step++) {
        size_t i = (p->cursor + step) % p->n;
        if (p->done[i] || !moref_equal(&p->refs[i], &object->ref))
            continue;
        p->done[i] = true;
        p->cursor = (i + 1) % p->n;
        return p->fn(p->data, object, err);
    }
    return 0; /* nobody asked for it, or it came before */
}

int vim_read_these(struct vim *v, const struct moref *refs, size_t n, const struct vim_set *set, object_fn *fn,
                   void *data, const struct context *ctx, struct error *err) {
    if (context_check(ctx, vim_subject(v), "reading from the server", err))
        return -1;
    cleanup_free bool *done = xcalloc(n + 1, sizeof *done);
    for (size_t from = 0; from < n; from += PAGE) {
        struct page page = {
            .refs = refs + from, .n = n - from < PAGE ? n - from : PAGE, .done = done + from, .fn = fn, .data = data};
        struct wanted wanted = {.set = set, .n = page.n, .ref = ref_at, .take = take_known, .data = &page};
        if (retrieve_wanted(v, &wanted, ctx, err))
            return -1;
    }
    return 0;
}

/* --- an object and what it refers to --- */

struct along {
    const struct vim *v;
    const struct moref *ref;
    const struct vim_set *set, *others;
    const char *path;
    object_fn *fn;
    void *data;
    struct error refused; /* the object itself */
};

static struct soap_request *request_along(void *data, const struct context *ctx, struct error *err) {
    struct along *a = data;
    struct soap_request *r = soap_new("RetrievePropertiesEx", &a->v->service.property_collector);
    (void)ctx, (void)err;
    error_clear(&a->refused); /* by an attempt that broke */
    soap_open(r, "specSet");
    put_set(r, a->set);
    put_set(r, a->others);
    soap_open(r, "objectSet");
    soap_ref(r, "obj", a->ref);
    soap_flag(r, "skip", false);
    put_traversal(r, a->set->type, a->path);
    soap_close(r);
    soap_close(r);
    soap_open(r, "options");
    soap_close(r);
    return r;
}

static int take_along(void *data, struct vim_object *object, struct error *err) {
    const struct along *a = data;
    return a->fn(a->data, object, err);
}

static void refuse_along(void *data, const struct moref *ref, const struct error *why) {
    struct along *a = data;
    if (moref_equal(ref, a->ref))
        a->refused = *why;
}

int vim_read_along(struct vim *v, const struct moref *ref, const struct vim_set *set, const char *path,
                   const struct vim_set *others, object_fn *fn, void *data, const struct context *ctx,
                   struct error *err) {
    struct along a = {.v = v, .ref = ref, .set = set, .others = others, .path = path, .fn = fn, .data = data};
    struct retrieval retrieval = {.request = request_along, .take = take_along, .refuse = refuse_along, .data = &a};
    if (context_check(ctx, vim_subject(v), "reading from the server", err) || retrieve(v, &retrieval, ctx, err))
        return -1;
    if (a.refused.code == ERR_NONE)
        return 0;
    if (err)
        *err = a.refused;
    return -1;
}

/* --- what is below an object --- */

struct sweep {
    struct vim *v;
    const struct moref *root;
    const struct vim_set *set;
    struct moref view;   /* borrowed from the session, which keeps it for the next sweep */
    unsigned generation; /* of the session */
    struct moref lost;   /* a view that was gone */
    unsigned attempts;
    struct buffer seen; /* ids, each with its NUL: should the reply break, those are not told again */
    bool stopped;       /* by fn */
    object_fn *fn;
    void *data;
};

struct view {
    struct view *next;
    struct moref root, self;
    char type[32];
    unsigned generation;
};

void views_init(struct vim *v) { pthread_mutex_init(&v->views_lock, NULL); }

void views_destroy(struct vim *v) {
    for (struct view *view = v->views, *next; view; view = next) {
        next = view->next;
        free(view);
    }
    pthread_mutex_destroy(&v->views_lock);
}

/* With the lock held. */
static struct view *find_view(struct vim *v, const struct moref *root, const char *type) {
    struct view *view = v->views;
    while (view && (strcmp(view->type, type) != 0 || !moref_equal(&view->root, root)))
        view = view->next;
    return view;
}

static void keep_view(const struct sweep *s) {
    pthread_mutex_lock(&s->v->views_lock);
    struct view *view = find_view(s->v, s->root, s->set->type);
    if (!view) {
        view = xcalloc(1, sizeof *view);
        view->next = s->v->views;
        view->root = *s->root;
        snprintf(view->type, sizeof view->type, "%s", s->set->type);
        s->v->views = view;
    }
    view->self = s->view;
    view->generation = s->generation;
    pthread_mutex_unlock(&s->v->views_lock);
}

/* The one that is kept, unless it was lost or went with its session. */
static bool take_view(struct sweep *s) {
    pthread_mutex_lock(&s->v->views_lock);
    const struct view *view = find_view(s->v, s->root, s->set->type);
    bool found = view && view->generation == atomic_load(&s->v->generation) && !moref_equal(&view->self, &s->lost);
    if (found)
        s->view = view->self;
    pthread_mutex_unlock(&s->v->views_lock);
    return found;
}

static int make_view(struct sweep *s, const struct context *ctx, struct error *err) {
    if (take_view(s))
        return 0;
    struct soap_request *r = soap_new("CreateContainerView", &s->v->service.view_manager);
    soap_ref(r, "container", s->root);
    soap_text(r, "type", s->set->type);
    soap_flag(r, "recursive", true);
    int rc = client_call_ref(s->v, r, VIM_SAFE, &s->view, NULL, &s->generation, ctx, err);
    soap_free(r);
    if (rc == 0)
        keep_view(s);
    return rc;
}

static struct soap_request *request(void *data, const struct context *ctx, struct error *err) {
    struct sweep *s = data;
    s->attempts++;
    if (!moref_is_set(&s->view) && make_view(s, ctx, err))
        return NULL;
    struct soap_request *r = soap_new("RetrievePropertiesEx", &s->v->service.property_collector);
    soap_open(r, "specSet");
    put_set(r, s->set);
    soap_open(r, "objectSet");
    soap_ref(r, "obj", &s->view);
    soap_flag(r, "skip", true);
    put_traversal(r, "ContainerView", "view");
    soap_close(r);
    soap_close(r);
    soap_open(r, "options");
    soap_close(r);
    return r;
}

static bool was_seen(const struct sweep *s, const char *id) {
    for (size_t at = 0; at < s->seen.len; at += strlen(s->seen.data + at) + 1)
        if (strcmp(s->seen.data + at, id) == 0)
            return true;
    return false;
}

static int take_any(void *data, struct vim_object *object, struct error *err) {
    struct sweep *s = data;
    if (s->attempts > 1 && was_seen(s, object->ref.id))
        return 0;
    buffer_append(&s->seen, object->ref.id, strlen(object->ref.id) + 1);
    s->stopped = s->fn(s->data, object, err) != 0;
    return s->stopped ? -1 : 0;
}

/* A view that is gone went with its session. */
static int sweep(struct sweep *s, const struct context *ctx, struct error *err) {
    struct retrieval retrieval = {.request = request, .take = take_any, .data = s};
    for (unsigned views = 1;; views++) {
        struct error why = {0};
        if (retrieve(s->v, &retrieval, ctx, &why) == 0)
            return 0;
        bool lost = vim_fault_is(&why, VIM_MANAGED_OBJECT_NOT_FOUND) && moref_is_set(&s->view) && !s->stopped;
        if (!lost || views == VIEWS_MAX) {
            if (err)
                *err = why;
            return -1;
        }
        s->lost = s->view;
        s->view = MOREF_NONE;
    }
}

int vim_read_all(struct vim *v, const struct moref *root, const struct vim_set *set, object_fn *fn, void *data,
                 const struct context *ctx, struct error *err) {
    struct sweep s = {.v = v, .root = root, .set = set, .fn = fn, .data = data};
    if (context_check(ctx, vim_subject(v), "reading from the server", err))
        return -1;
    int rc = sweep(&s, ctx, err);
    buffer_free(&s.seen);
    return rc;
}
