/* How long a call may take and who may stop it: a deadline and a cancel token, as Go's context.Context.
 *
 * Every call that can wait takes a `const struct context *ctx`. It returns within a moment of the deadline
 * (ERR_TIMEOUT) or of the cancel (ERR_CANCELLED). Contexts are plain values on the caller's stack; a child
 * made by context_timeout never outlives or outlasts its parent.
 */
#ifndef NESTOR_CONTEXT_H
#define NESTOR_CONTEXT_H

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "nestor/error.h"

/* Milliseconds on a clock that never jumps (CLOCK_MONOTONIC). */
int64_t clock_ms(void);
/* Seconds since 1970-01-01 UTC. */
int64_t clock_unix(void);
/* "2026-01-31T12:00:00Z" into out[21]. */
void clock_iso8601(int64_t unix_seconds, char out[21]);

/* A cancel token. cancel_fire is async-signal-safe and may be called from any thread, any number of times. A child is
 * fired with its parent, which it borrows, and without it. */
struct cancel {
    atomic_int level; /* how often it was fired */
    int fd;           /* readable once it or its parent was fired */
    int event;        /* eventfd: its own part of that */
    const struct cancel *parent;
};
int cancel_init(struct cancel *c, struct error *err) NESTOR_CHECKED;
int cancel_init_child(struct cancel *c, const struct cancel *parent, struct error *err) NESTOR_CHECKED;
/* Returns how often it had been fired before. */
int cancel_fire(struct cancel *c);
bool cancel_fired(const struct cancel *c);
void cancel_destroy(struct cancel *c);

#define DEADLINE_NEVER INT64_MAX

struct context {
    int64_t deadline;            /* clock_ms() value, or DEADLINE_NEVER */
    const struct cancel *cancel; /* may be NULL; borrowed */
};

/* The earlier of the parent's deadline and now + ms. parent may be NULL. */
struct context context_timeout(const struct context *parent, int64_t ms);
/* Milliseconds left, 0 when over; at most INT_MAX. */
int context_left(const struct context *ctx);
/* 0 while there is time and nobody cancelled; else ERR_TIMEOUT or ERR_CANCELLED about `subject`, with "time ran out
 * while <what>" or "interrupted while <what>" as the cause. */
int context_check(const struct context *ctx, const char *subject, const char *what, struct error *err) NESTOR_CHECKED;
/* Sleeps ms or until cancel or deadline; 0 when the whole time went by. */
int context_sleep(const struct context *ctx, int64_t ms, const char *subject, const char *what,
                  struct error *err) NESTOR_CHECKED;
/* poll(2) that also ends at the deadline or cancel. Waits at most max_ms (-1: no bound but the context's).
 * Returns the number of ready fds (0: max_ms went by), or -1 with err. n <= 15. */
int context_poll(const struct context *ctx, struct pollfd *fds, unsigned n, int max_ms, const char *subject,
                 const char *what, struct error *err) NESTOR_CHECKED;

#endif
