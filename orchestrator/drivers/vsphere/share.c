#include "drivers/vsphere/share.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "nestor/buffer.h"

/* --- descriptors to wake by --- */

void wakes_init(struct wakes *w) {
    *w = (struct wakes){.fds = NULL};
    pthread_mutex_init(&w->lock, NULL);
}

void wakes_destroy(struct wakes *w) {
    for (size_t i = 0; i < w->n; i++)
        close(w->fds[i]);
    free(w->fds);
    pthread_mutex_destroy(&w->lock);
}

int wakes_take(struct wakes *w, const char *subject, int *ret, struct error *err) {
    pthread_mutex_lock(&w->lock);
    int fd = w->n > 0 ? w->fds[--w->n] : -1;
    pthread_mutex_unlock(&w->lock);
    if (fd < 0)
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return error_set_errno(err, errno, subject, "cannot make an event descriptor");
    *ret = fd;
    return 0;
}

void wakes_give(struct wakes *w, int fd) {
    if (fd < 0)
        return;
    wakes_drain(fd);
    pthread_mutex_lock(&w->lock);
    if (w->n == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 16;
        w->fds = xrealloc(w->fds, w->cap * sizeof *w->fds);
    }
    w->fds[w->n++] = fd;
    pthread_mutex_unlock(&w->lock);
}

void wake(int fd) {
    uint64_t one = 1;
    if (fd >= 0 && write(fd, &one, sizeof one) < 0)
        return; /* it is readable already */
}

void wakes_drain(int fd) {
    uint64_t count = 0;
    while (read(fd, &count, sizeof count) > 0)
        continue;
}

/* --- the queue; all of this with the lock held --- */

void share_init(struct share *s) {
    pthread_mutex_init(&s->lock, NULL);
    s->tail = &s->head;
}

void share_destroy(struct share *s) { pthread_mutex_destroy(&s->lock); }

static void append(struct share *s, struct share_item *item) {
    item->state = SHARE_QUEUED;
    item->next = NULL;
    *s->tail = item;
    s->tail = &item->next;
}

static void put_back(struct share *s, struct share_item *item) {
    item->state = SHARE_QUEUED;
    item->next = s->head;
    if (!s->head)
        s->tail = &item->next;
    s->head = item;
}

static void unlink_item(struct share *s, struct share_item *item) {
    struct share_item **at = &s->head;
    while (*at && *at != item)
        at = &(*at)->next;
    if (*at)
        *at = item->next;
    s->tail = &s->head;
    while (*s->tail)
        s->tail = &(*s->tail)->next;
}

/* Each round that is free gets a leader, as long as somebody is queued. */
static void fill_rounds(struct share *s) {
    for (struct share_item *item = s->head; item && s->rounds < s->rounds_max; item = item->next)
        if (item->state == SHARE_QUEUED) {
            s->rounds++;
            item->state = SHARE_LEADS;
            wake(item->wake);
        }
}

static void end_round(struct share *s) {
    s->rounds--;
    fill_rounds(s);
}

static void add_to_batch(struct share_batch *b, struct share_item *item) {
    item->state = SHARE_UNDER_WAY;
    item->batch = b;
    item->at = b->n;
    b->items[b->n++] = item;
}

/* The leader's own, and of the others as many as go together: also one that was to lead and has not begun yet. */
static void collect(struct share *s, struct share_batch *b, struct share_item *leader) {
    unlink_item(s, leader);
    add_to_batch(b, leader);
    while (s->head && b->n < SHARE_BATCH_MAX) {
        struct share_item *item = s->head;
        s->head = item->next;
        if (!s->head)
            s->tail = &s->head;
        s->rounds -= item->state == SHARE_LEADS;
        add_to_batch(b, item);
    }
}

static void deliver(struct share_batch *b, size_t at, int rc, const struct error *err) {
    struct share_item *item = b->items[at];
    b->items[at] = NULL;
    item->state = SHARE_DONE;
    item->rc = rc;
    if (rc && item->err)
        *item->err = *err;
    wake(item->wake);
}

bool context_has_ended(const struct context *ctx) { return cancel_fired(ctx->cancel) || context_left(ctx) == 0; }

/* --- rounds --- */

/* Called and left with the lock held. */
static void lead(struct share *s, struct share_item *leader, const struct context *ctx) {
    struct share_batch b = {.share = s};
    struct error why = {0};
    collect(s, &b, leader);
    fill_rounds(s);
    pthread_mutex_unlock(&s->lock);
    int rc = s->run(s->data, &b, ctx, &why);
    pthread_mutex_lock(&s->lock);
    bool mine_only = rc && context_has_ended(ctx);
    for (size_t i = b.n; i-- > 0;) /* backwards: what is put back keeps its order */
        if (b.items[i] && mine_only && b.items[i] != leader)
            put_back(s, b.items[i]);
        else if (b.items[i])
            deliver(&b, i, rc, &why);
    end_round(s);
}

/* The caller does not wait any longer. */
static void leave(struct share *s, struct share_item *item) {
    if (item->state == SHARE_UNDER_WAY)
        item->batch->items[item->at] = NULL;
    else
        unlink_item(s, item);
    if (item->state == SHARE_LEADS)
        end_round(s);
}

/* Until it is done, or up to this caller to lead. With the lock held, but not while it waits. */
static int await(struct share *s, struct share_item *item, const struct context *ctx, struct error *err) {
    while (item->state == SHARE_QUEUED || item->state == SHARE_UNDER_WAY) {
        struct pollfd p = {.fd = item->wake, .events = POLLIN};
        struct error why = {0};
        pthread_mutex_unlock(&s->lock);
        int rc = context_poll(ctx, &p, 1, -1, s->subject, s->what, &why);
        pthread_mutex_lock(&s->lock);
        wakes_drain(item->wake);
        if (rc < 0 && item->state != SHARE_DONE) {
            leave(s, item);
            if (err)
                *err = why;
            return -1;
        }
    }
    return 0;
}

int share_do(struct share *s, struct share_item *item, const struct context *ctx, struct error *err) {
    if (context_check(ctx, s->subject, s->what, err))
        return -1;
    item->err = err;
    item->wake = -1;
    pthread_mutex_lock(&s->lock);
    append(s, item);
    fill_rounds(s);
    int rc = 0;
    if (item->state != SHARE_LEADS && (rc = wakes_take(s->wakes, s->subject, &item->wake, err)))
        unlink_item(s, item);
    else
        rc = await(s, item, ctx, err);
    if (rc == 0 && item->state == SHARE_LEADS)
        lead(s, item, ctx);
    pthread_mutex_unlock(&s->lock);
    wakes_give(s->wakes, item->wake);
    return rc ? rc : item->rc;
}

void share_lock(struct share_batch *b) { pthread_mutex_lock(&b->share->lock); }

void share_unlock(struct share_batch *b) { pthread_mutex_unlock(&b->share->lock); }

void share_deliver(struct share_batch *b, size_t at, int rc, const struct error *err) { deliver(b, at, rc, err); }
