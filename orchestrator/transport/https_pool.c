/* Connections are made up to a number, and then waited for. A server that answers at once is kept busy by a few: more
 * would only wait inside it, and take memory on both sides. The one that was used last is taken first, so that those
 * nobody needs grow old, and are closed. Whoever waits gets the next free one from hand to hand, in the order of
 * coming. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "transport/https.h"

#define SWEEP_MS 1000
#define FEW 8           /* are enough */
#define AT_ONCE_MS 10   /* for one whose replies take less than this */
#define QUICK_SHARE 8   /* one reply of so many is quick; the others may have waited for a turn there */
#define PACE_REPLIES 64 /* the last ones, a bit each */

/* On the stack of the thread that waits. */
struct https_turn {
    struct https_turn *next;
    int fd; /* eventfd: readable once `given` is set */
    struct https_connection *given;
};

static struct https_connection *pop(struct https_connection **list) {
    struct https_connection *c = *list;
    if (c)
        *list = c->next;
    return c;
}

static void push(struct https_connection **list, struct https_connection *c) {
    c->next = *list;
    *list = c;
}

/* How many are of use at the same time. */
static uint32_t enough(struct http *h) {
    unsigned seen = atomic_load(&h->replies), of = seen < PACE_REPLIES ? seen : PACE_REPLIES;
    bool quick = of && (unsigned)__builtin_popcountll(atomic_load(&h->pace)) * QUICK_SHARE >= of;
    return quick && h->pool.max > FEW ? FEW : h->pool.max;
}

/* NULL: all are in use. */
static struct https_connection *take_now(struct http *h) {
    struct https_pool *p = &h->pool;
    struct https_connection *c = pop(&p->kept);
    if (!c && p->used < enough(h)) {
        c = pop(&p->bare);
        if (!c && p->made < p->max) {
            p->made++;
            c = https_connection_new(h);
        }
    }
    p->used += c != NULL;
    return c;
}

static void queue(struct https_pool *p, struct https_turn *t) {
    if (p->last)
        p->last->next = t;
    else
        p->first = t;
    p->last = t;
}

static void unqueue(struct https_pool *p, const struct https_turn *t) {
    struct https_turn *before = NULL;
    for (struct https_turn *at = p->first; at != t; at = at->next)
        before = at;
    *(before ? &before->next : &p->first) = t->next;
    if (p->last == t)
        p->last = before;
}

static int wait_turn(struct http *h, struct https_connection **ret, const struct context *ctx, struct error *err) {
    struct https_pool *p = &h->pool;
    cleanup_close int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return error_set_errno(err, errno, h->config.subject, "cannot make an event descriptor");
    struct https_turn turn = {.fd = fd};
    pthread_mutex_lock(&p->lock);
    turn.given = take_now(h);
    bool waits = !turn.given;
    if (waits)
        queue(p, &turn);
    pthread_mutex_unlock(&p->lock);
    if (waits) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int rc = context_poll(ctx, &ready, 1, -1, h->config.subject, "waiting for a free connection", err);
        pthread_mutex_lock(&p->lock);
        if (!turn.given)
            unqueue(p, &turn);
        pthread_mutex_unlock(&p->lock);
        if (rc < 0 && turn.given)
            https_pool_give(h, turn.given);
        if (rc < 0)
            return -1;
    }
    *ret = turn.given;
    return 0;
}

int https_pool_take(struct http *h, struct https_connection **ret, const struct context *ctx, struct error *err) {
    pthread_mutex_lock(&h->pool.lock);
    *ret = take_now(h);
    pthread_mutex_unlock(&h->pool.lock);
    return *ret ? 0 : wait_turn(h, ret, ctx, err);
}

/* Under the lock: to whoever waits first, or back. */
static void hand_on(struct https_pool *p, struct https_connection *c) {
    struct https_turn *t = p->first;
    if (!t) {
        push(https_connection_is_kept(c) ? &p->kept : &p->bare, c);
        p->used--;
        return;
    }
    p->first = t->next;
    if (!p->first)
        p->last = NULL;
    t->given = c;
    uint64_t one = 1;
    ssize_t ignored = write(t->fd, &one, sizeof one); /* under the lock: afterwards the turn may be gone */
    (void)ignored;
}

/* Under the lock: those that are kept for too long, now and then. The last used is first, so they are the end. */
static struct https_connection *take_old(struct http *h) {
    int64_t now = clock_ms();
    struct https_connection **at = &h->pool.kept;
    if (now - h->pool.swept_at < SWEEP_MS)
        return NULL;
    h->pool.swept_at = now;
    while (*at && now - (*at)->used_at <= h->idle_ms)
        at = &(*at)->next;
    struct https_connection *old = *at;
    *at = NULL;
    return old;
}

void https_pool_give(struct http *h, struct https_connection *c) {
    pthread_mutex_lock(&h->pool.lock);
    hand_on(&h->pool, c);
    struct https_connection *old = take_old(h);
    pthread_mutex_unlock(&h->pool.lock);
    while ((c = pop(&old))) {
        https_connection_close(c);
        pthread_mutex_lock(&h->pool.lock);
        h->pool.used++; /* as if it had been in use: it may be wanted by now */
        hand_on(&h->pool, c);
        pthread_mutex_unlock(&h->pool.lock);
    }
}

void https_pool_note(struct http *h, int64_t took_ms) {
    uint64_t before = atomic_load(&h->pace);
    while (!atomic_compare_exchange_weak(&h->pace, &before, before << 1 | (took_ms < AT_ONCE_MS)))
        continue;
    atomic_fetch_add(&h->replies, 1);
}

uint32_t https_pool_at_once(struct http *h) {
    pthread_mutex_lock(&h->pool.lock);
    uint32_t most = enough(h), used = h->pool.used;
    pthread_mutex_unlock(&h->pool.lock);
    return most > used ? most : used;
}

void https_pool_init(struct https_pool *p, uint32_t max) {
    pthread_mutex_init(&p->lock, NULL);
    p->max = max;
}

void https_pool_close(struct https_pool *p) {
    struct https_connection *c;
    while ((c = pop(&p->kept)) || (c = pop(&p->bare)))
        https_connection_free(c);
    pthread_mutex_destroy(&p->lock);
}
