/* The thread that hears of changes. */
#include "drivers/vsphere/watch_priv.h"

#include <stdlib.h>
#include <string.h>

#define WAIT_S 30       /* the server answers by then, whatever happens */
#define LATE_MS 15000   /* and is given up this much later */
#define UPDATES_MAX 100 /* objects in one answer */

struct listener {
    struct watch *w;
    unsigned number; /* of the collector the version belongs to */
    char *version;
    int64_t idle_since;
};

/* --- what changed; with the lock held --- */

/* How a change of `name` concerns a set. */
enum concern {
    NOT_AT_ALL,
    AS_WHOLE, /* it is one of its properties */
    IN_PART,  /* it is in one of them, or around it */
};

static enum concern concern_of(const struct vim_set *set, const char *name) {
    enum concern concern = NOT_AT_ALL;
    for (const char *const *p = set->paths; *p; p++) {
        size_t n = strlen(*p), len = strlen(name), shorter = n < len ? n : len;
        if (strncmp(*p, name, shorter) != 0)
            continue;
        if (n == len)
            return AS_WHOLE;
        if (strchr(".[", (n < len ? name : *p)[shorter]))
            concern = IN_PART;
    }
    return concern;
}

static bool take_change(struct watcher *one, xmlNode *change) {
    char name[200];
    xmlNode *op = xml_child(change, "op");
    bool removed = xml_is(op, "remove") || xml_is(op, "indirectRemove");
    bool readable = xml_text(xml_child(change, "name"), name, sizeof name);
    switch (readable ? concern_of(one->set, name) : IN_PART) {
    case NOT_AT_ALL:
        return false;
    case AS_WHOLE:
        if (!one->changes.doc)
            one->changes = object_new(one->ref);
        object_put(&one->changes, name, removed ? NULL : xml_child(change, "val"));
        return true;
    default:
        return one->reread = true;
    }
}

/* An object that left the list, or of which something is missing, is read: that tells what became of it. */
static void take_update(struct watch *w, xmlNode *update) {
    struct moref ref;
    if (!xml_ref(xml_child(update, "obj"), &ref))
        return;
    bool read =
        xml_is(xml_child(update, "kind"), "leave") || xml_child(update, "missingSet") || xml_child(update, "fault");
    for (struct watcher *one = *watch_bucket(w, &ref); one; one = one->next) {
        bool news = read;
        if (!moref_equal(one->ref, &ref))
            continue;
        one->reread = one->reread || read;
        for (xmlNode *c = xml_child(update, "changeSet"); c; c = xml_next(c, "changeSet"))
            news = take_change(one, c) || news;
        if (news)
            wake(one->wake);
    }
}

static void take_filter_set(struct watch *w, xmlNode *set) {
    pthread_mutex_lock(&w->lock);
    for (xmlNode *n = xml_child(set, "objectSet"); n; n = xml_next(n, "objectSet"))
        take_update(w, n);
    for (xmlNode *n = xml_child(set, "missingSet"); n; n = xml_next(n, "missingSet")) /* MissingObject: obj, fault */
        take_update(w, n);
    pthread_mutex_unlock(&w->lock);
}

static int take_reply(struct listener *l, struct soap_reply *reply, struct error *err) {
    cleanup_free char *version = NULL;
    xmlNode *item = NULL;
    int rc = soap_enter(reply, err);
    while (rc == 1 && (rc = soap_next(reply, &item, err)) == 1) {
        if (xmlStrEqual(item->name, (const xmlChar *)"version") && !version)
            version = xml_text_new(item);
        else if (xmlStrEqual(item->name, (const xmlChar *)"filterSet"))
            take_filter_set(l->w, item);
    }
    if (rc == 0 && version) { /* nothing at all: nothing happened */
        free(l->version);
        l->version = steal_ptr(&version);
    }
    return rc;
}

/* --- the collector is lost --- */

static bool is_hopeless(const struct error *why) {
    return vim_fault_is(why, VIM_NO_PERMISSION) || vim_fault_is(why, VIM_NOT_SUPPORTED) ||
           vim_fault_is(why, VIM_METHOD_NOT_FOUND) || vim_fault_is(why, VIM_NOT_IMPLEMENTED) ||
           vim_fault_is(why, VIM_RESTRICTED_VERSION);
}

static void lose(struct watch *w, const struct collector *c, const struct error *why) {
    pthread_mutex_lock(&w->lock);
    if (w->collector.number == c->number && w->collector.made) {
        w->failures += !cancel_fired(&w->abort);
        watch_lose_collector(w, is_hopeless(why) ? why : NULL);
    }
    pthread_mutex_unlock(&w->lock);
}

/* --- the thread --- */

static struct soap_request *wait_request(struct listener *l, const struct collector *c) {
    struct soap_request *r = soap_new("WaitForUpdatesEx", &c->self);
    soap_text(r, "version", l->version ? l->version : "");
    soap_open(r, "options");
    soap_number(r, "maxWaitSeconds", WAIT_S);
    soap_number(r, "maxObjectUpdates", UPDATES_MAX);
    soap_close(r);
    return r;
}

static void hear(struct listener *l, const struct collector *c) {
    struct context ctx = context_timeout(NULL, WAIT_S * 1000 + LATE_MS);
    ctx.cancel = &l->w->abort;
    if (l->number != c->number)
        free(steal_ptr(&l->version));
    l->number = c->number;
    struct soap_request *request = wait_request(l, c);
    cleanup_soap_reply struct soap_reply *reply = NULL;
    struct error why = {0};
    exchange(l->w->v, request, &reply, &ctx, &why);
    soap_free(request);
    if (!reply || take_reply(l, reply, &why)) {
        lose(l->w, c, &why);
        return;
    }
    pthread_mutex_lock(&l->w->lock);
    l->w->failures = 0;
    pthread_mutex_unlock(&l->w->lock);
}

/* A call that no session is made for. */
static void keep_alive(struct vim *v) {
    static const struct moref instance = {"ServiceInstance", "ServiceInstance"};
    if (clock_ms() - atomic_load(&v->called_at) < v->watch->keep_alive_ms)
        return;
    struct context ctx = context_timeout(NULL, LATE_MS);
    ctx.cancel = &v->watch->abort;
    struct soap_request *r = soap_new("CurrentTime", &instance);
    struct soap_reply *reply = NULL;
    struct error ignored = {0};
    exchange(v, r, &reply, &ctx, &ignored);
    soap_reply_free(reply);
    soap_free(r);
    atomic_store(&v->called_at, clock_ms());
}

/* Nobody waits. With the lock held, but for the waiting. */
static void rest(struct listener *l) {
    struct watch *w = l->w;
    int64_t now = clock_ms(), left = w->keep_alive_ms;
    if (!w->collector.made)
        l->idle_since = now;
    else if ((left = l->idle_since + w->linger_ms - now) <= 0) {
        struct collector c = w->collector;
        struct context ctx = {.deadline = DEADLINE_NEVER, .cancel = &w->abort};
        w->collector = (struct collector){.made = false};
        pthread_mutex_unlock(&w->lock);
        collector_destroy(w, &c, &ctx);
        pthread_mutex_lock(&w->lock);
        return;
    }
    struct context ctx = context_timeout(NULL, DEADLINE_NEVER);
    struct pollfd p = {.fd = w->idle, .events = POLLIN};
    pthread_mutex_unlock(&w->lock);
    (void)!context_poll(&ctx, &p, 1, (int)left, vim_subject(w->v), "resting", NULL);
    wakes_drain(w->idle);
    pthread_mutex_lock(&w->lock);
}

/* With the lock held. */
static void rearm(struct cancel *c) {
    atomic_store(&c->level, 0);
    wakes_drain(c->fd);
}

static void *run(void *data) {
    struct listener l = {.w = data, .idle_since = clock_ms()};
    struct watch *w = l.w;
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        struct collector c = w->collector;
        rearm(&w->abort);
        if (c.made && w->n > 0) {
            l.idle_since = clock_ms();
            pthread_mutex_unlock(&w->lock);
            hear(&l, &c);
            pthread_mutex_lock(&w->lock);
        } else {
            rest(&l);
        }
        pthread_mutex_unlock(&w->lock);
        keep_alive(w->v);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    free(l.version);
    return NULL;
}

int updates_start(struct watch *w, struct error *err) {
    if (w->started)
        return 0;
    if (w->idle < 0 && wakes_take(&w->v->wakes, vim_subject(w->v), &w->idle, err))
        return -1;
    if (w->abort.fd < 0 && cancel_init(&w->abort, err))
        return -1;
    int rc = pthread_create(&w->thread, NULL, run, w);
    if (rc)
        return error_set_errno(err, rc, vim_subject(w->v), "cannot start a thread");
    w->started = true;
    return 0;
}

void updates_abort(struct watch *w) {
    if (w->started)
        cancel_fire(&w->abort);
}

void updates_stop(struct watch *w) {
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    updates_abort(w);
    wake(w->idle);
    bool started = w->started;
    pthread_mutex_unlock(&w->lock);
    if (started)
        pthread_join(w->thread, NULL);
    wakes_give(&w->v->wakes, w->idle);
    cancel_destroy(&w->abort);
}
