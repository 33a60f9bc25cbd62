/* Work that many threads ask for at the same time, done for all of them at once by one of them.
 *
 * The first caller leads: it takes what is queued and does it, on its own thread and in its own context. What is asked
 * for meanwhile is queued and goes together in the next round. A caller that waits honours its own context. A leader
 * whose context ends does not fail the others: what it has not done yet is done by the next leader.
 */
#ifndef DRIVERS_VSPHERE_SHARE_H
#define DRIVERS_VSPHERE_SHARE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "nestor/context.h"
#include "nestor/error.h"

#define SHARE_BATCH_MAX 200

bool context_has_ended(const struct context *ctx);

/* Event descriptors that are used again and again: each waiting thread needs one. */
struct wakes {
    pthread_mutex_t lock;
    int *fds;
    size_t n, cap;
};
void wakes_init(struct wakes *w);
void wakes_destroy(struct wakes *w);
int wakes_take(struct wakes *w, const char *subject, int *ret, struct error *err) NESTOR_CHECKED;
void wakes_give(struct wakes *w, int fd); /* -1 is fine */
void wake(int fd);
void wakes_drain(int fd); /* it is not woken any more */

struct share_batch;

/* One caller's wish: first member of a struct that tells what is wished, on the caller's stack. */
struct share_item {
    struct share_item *next;
    enum { SHARE_QUEUED, SHARE_LEADS, SHARE_UNDER_WAY, SHARE_DONE } state;
    struct share_batch *batch; /* while it is under way */
    size_t at;
    int wake, rc;
    struct error *err;
};

/* What is done in one round. An item that was delivered, or whose caller has gone, is NULL; the others may be looked at
 * only between share_lock and share_unlock. */
struct share_batch {
    struct share *share;
    struct share_item *items[SHARE_BATCH_MAX];
    size_t n;
};

struct share {
    pthread_mutex_t lock;
    struct share_item *head, **tail;
    unsigned rounds, rounds_max; /* under way at once */
    struct wakes *wakes;
    const char *subject, *what; /* "reading from the server" */
    /* Does it. What it has not delivered one by one succeeds with 0, or fails with *err. */
    int (*run)(void *data, struct share_batch *batch, const struct context *ctx, struct error *err);
    void *data;
};

void share_init(struct share *s);
void share_destroy(struct share *s); /* nobody may be waiting */

/* 0 or -1: what was delivered for the item, or the end of ctx. */
int share_do(struct share *s, struct share_item *item, const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* For run. */
void share_lock(struct share_batch *b);
void share_unlock(struct share_batch *b);
/* Between the two: the item's caller goes on. rc 0, or -1 with an error that is copied to it. */
void share_deliver(struct share_batch *b, size_t at, int rc, const struct error *err);

#endif
