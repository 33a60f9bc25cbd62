#include "nestor/context.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

int64_t clock_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_unix(void) { return (int64_t)time(NULL); }

void clock_iso8601(int64_t seconds, char out[21]) {
    time_t t = (time_t)seconds;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, 21, "1970-01-01T00:00:00Z");
}

/* An epoll descriptor is readable while one of its members is: so whoever waits for a token has one descriptor to look
 * at, however many parents it has (epoll(7)). */
static int either_of(int one, int other) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event readable = {.events = EPOLLIN};
    if (fd >= 0 &&
        (epoll_ctl(fd, EPOLL_CTL_ADD, one, &readable) < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, other, &readable) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

int cancel_init_child(struct cancel *c, const struct cancel *parent, struct error *err) {
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int fd = event >= 0 && parent ? either_of(event, parent->fd) : event;
    if (fd < 0) {
        error_set_errno(err, errno, NULL, "cannot make an event descriptor");
        if (event >= 0)
            close(event);
        return -1;
    }
    atomic_init(&c->level, 0);
    c->fd = fd;
    c->event = event;
    c->parent = parent;
    return 0;
}

int cancel_init(struct cancel *c, struct error *err) { return cancel_init_child(c, NULL, err); }

int cancel_fire(struct cancel *c) {
    int saved = errno, before = atomic_fetch_add(&c->level, 1);
    uint64_t one = 1;
    ssize_t ignored = write(c->event, &one, sizeof one);
    (void)ignored;
    errno = saved;
    return before;
}

bool cancel_fired(const struct cancel *c) {
    while (c && atomic_load(&((struct cancel *)c)->level) == 0)
        c = c->parent;
    return c != NULL;
}

void cancel_destroy(struct cancel *c) {
    if (!c || c->fd < 0)
        return;
    if (c->fd != c->event)
        close(c->fd);
    close(c->event);
    c->fd = c->event = -1;
}

struct context context_timeout(const struct context *parent, int64_t ms) {
    int64_t now = clock_ms(), deadline = ms < DEADLINE_NEVER - now ? now + ms : DEADLINE_NEVER;
    if (parent && parent->deadline < deadline)
        deadline = parent->deadline;
    return (struct context){.deadline = deadline, .cancel = parent ? parent->cancel : NULL};
}

int context_left(const struct context *ctx) {
    if (ctx->deadline == DEADLINE_NEVER)
        return INT_MAX;
    int64_t left = ctx->deadline - clock_ms();
    return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

int context_check(const struct context *ctx, const char *subject, const char *what, struct error *err) {
    if (cancel_fired(ctx->cancel))
        return error_set(err, ERR_CANCELLED, subject, "interrupted while %s", what);
    if (context_left(ctx) == 0)
        return error_set(err, ERR_TIMEOUT, subject, "time ran out while %s", what);
    return 0;
}

int context_poll(const struct context *ctx, struct pollfd *fds, unsigned n, int max_ms, const char *subject,
                 const char *what, struct error *err) {
    struct pollfd all[16];
    if (n > 15)
        return error_set(err, ERR_INTERNAL, subject, "too many descriptors to wait for");
    if (n)
        memcpy(all, fds, n * sizeof *fds);
    unsigned count = n;
    if (ctx->cancel)
        all[count++] = (struct pollfd){.fd = ctx->cancel->fd, .events = POLLIN};
    int64_t end = max_ms < 0 ? DEADLINE_NEVER : clock_ms() + max_ms;
    for (;;) {
        if (context_check(ctx, subject, what, err))
            return -1;
        int left = context_left(ctx);
        if (end != DEADLINE_NEVER) {
            int64_t own = end - clock_ms();
            if (own < left)
                left = own < 0 ? 0 : (int)own;
        }
        int ready = poll(all, count, left == INT_MAX ? -1 : left);
        if (ready < 0 && errno != EINTR)
            return error_set_errno(err, errno, subject, "cannot wait");
        for (unsigned i = 0; i < n; i++)
            fds[i].revents = ready > 0 ? all[i].revents : 0;
        if (ready > 0) {
            if (count > n && all[n].revents) {
                if (context_check(ctx, subject, what, err))
                    return -1;
                ready--;
            }
            if (ready > 0)
                return ready;
        }
        if (end != DEADLINE_NEVER && clock_ms() >= end)
            return 0;
    }
}

int context_sleep(const struct context *ctx, int64_t ms, const char *subject, const char *what, struct error *err) {
    return context_poll(ctx, NULL, 0, ms > INT_MAX ? INT_MAX : (int)ms, subject, what, err);
}
