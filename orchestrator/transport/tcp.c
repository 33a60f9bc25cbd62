#include "transport/tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "nestor/buffer.h"

static void freeaddrinfop(struct addrinfo **list) {
    if (*list)
        freeaddrinfo(*list);
}

static int connect_error(int errnum, const char *subject, struct error *err) {
    return error_set_errno(err, errnum, subject, "cannot connect");
}

static int wait_connected(int fd, const char *subject, const struct context *ctx, struct error *err) {
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    if (context_poll(ctx, &wait, 1, -1, subject, "connecting", err) < 0)
        return -1;
    int errnum = 0;
    socklen_t len = sizeof errnum;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &len))
        errnum = errno;
    return errnum ? connect_error(errnum, subject, err) : 0;
}

static int dial_one(const struct addrinfo *to, const char *subject, int *ret_fd, const struct context *ctx,
                    struct error *err) {
    cleanup_close int fd = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->ai_protocol);
    if (fd < 0)
        return connect_error(errno, subject, err);
    /* SSH and QMP send small messages and wait for the answer: Nagle's algorithm would only delay them. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(fd, to->ai_addr, to->ai_addrlen) && errno != EINPROGRESS)
        return connect_error(errno, subject, err);
    if (wait_connected(fd, subject, ctx, err))
        return -1;
    *ret_fd = steal_fd(&fd);
    return 0;
}

/* The time that is left, shared evenly by the addresses not yet tried, so that a silent first one (IPv6 without a
 * route) does not use it up. */
static struct context share_of(const struct context *ctx, const struct addrinfo *rest) {
    int n = 0;
    for (const struct addrinfo *a = rest; a; a = a->ai_next)
        n++;
    return n > 1 && ctx->deadline != DEADLINE_NEVER ? context_timeout(ctx, context_left(ctx) / n) : *ctx;
}

int tcp_dial(const char *host, uint16_t port, int *ret_fd, const struct context *ctx, struct error *err) {
    char subject[192];
    snprintf(subject, sizeof subject, "%s:%u", host, port);
    __attribute__((cleanup(freeaddrinfop))) struct addrinfo *list = NULL;
    if (tcp_resolve(host, port, &list, ctx, err))
        return -1;
    struct error last = {0};
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        struct context share = share_of(ctx, a);
        error_clear(&last);
        if (dial_one(a, subject, ret_fd, &share, &last) == 0)
            return 0;
        if (context_check(ctx, subject, "connecting", NULL))
            break;
    }
    if (err)
        *err = last;
    return -1;
}
