#include <time.h>

#include "drivers/vsphere/vsphere_priv.h"

/* How long a cancel may go unseen while another thread does the work. */
#define LOOK_MS 50

void once_init(struct once *o) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->changed, &attr);
    pthread_condattr_destroy(&attr);
    o->busy = o->done = false;
}

void once_destroy(struct once *o) {
    pthread_cond_destroy(&o->changed);
    pthread_mutex_destroy(&o->lock);
}

static void wait_a_moment(struct once *o) {
    int64_t until = clock_ms() + LOOK_MS;
    struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    pthread_cond_timedwait(&o->changed, &o->lock, &at);
}

int once_begin(struct once *o, const char *subject, const char *what, const struct context *ctx, struct error *err) {
    int rc = 0;
    pthread_mutex_lock(&o->lock);
    while (!rc && o->busy && !o->done) {
        rc = context_check(ctx, subject, what, err);
        if (!rc)
            wait_a_moment(o);
    }
    if (!rc && !o->done)
        rc = o->busy = true;
    pthread_mutex_unlock(&o->lock);
    return rc;
}

void once_end(struct once *o, bool done) {
    pthread_mutex_lock(&o->lock);
    o->busy = false;
    o->done = done;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
}

int once_do(struct once *o, const char *subject, const char *what, struct hypervisor *hv, vsphere_look look, void *data,
            const struct context *ctx, struct error *err) {
    int mine = once_begin(o, subject, what, ctx, err);
    if (mine <= 0)
        return mine;
    int failed = look(hv, data, ctx, err);
    once_end(o, !failed);
    return failed ? -1 : 0;
}
