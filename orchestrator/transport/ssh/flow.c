#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/ssh/session.h"

/* Chunks one direction may move before the others get their turn. */
#define TURNS 8

void flow_close(struct flow *f) {
    cleanup_closep(&f->fd);
    f->eof = true;
    f->start = f->end = 0;
}

static bool would_block(void) { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

/* True when there are bytes to pass on. */
static bool fill_from_source(struct flow *f) {
    if (f->eof || f->fd < 0)
        return false;
    ssize_t n = recv(f->fd, f->bytes, sizeof f->bytes, MSG_DONTWAIT);
    if (n < 0 && would_block())
        return false;
    if (n <= 0)
        f->eof = true; /* a reset says no more than an end here: nothing will follow */
    f->start = 0;
    f->end = n > 0 ? (size_t)n : 0;
    return n > 0;
}

int flow_to_channel(struct flow *f, LIBSSH2_CHANNEL *channel, const struct wire *w, bool *moved) {
    for (int i = 0; i < TURNS && wire_queued(w) < WIRE_OUT_HIGH; i++) {
        if (!flow_pending(f) && !fill_from_source(f))
            return 0;
        /* The same bytes again after EAGAIN: libssh2 may have made the packet's header for them already. */
        ssize_t n = libssh2_channel_write(channel, f->bytes + f->start, f->end - f->start);
        if (n == LIBSSH2_ERROR_EAGAIN || n == 0)
            return 0; /* the window is full, or keys are being exchanged: the peer has to speak first */
        if (n < 0)
            return (int)n;
        f->start += (size_t)n;
        *moved = true;
    }
    return 0;
}

/* Who took the bytes is gone: the rest is read, so that the channel can end, and dropped. */
static void empty_into_sink(struct flow *f) {
    ssize_t n = f->fd < 0 ? -1 : send(f->fd, f->bytes + f->start, f->end - f->start, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && f->fd >= 0 && would_block())
        return;
    if (n < 0)
        f->start = f->end;
    else
        f->start += (size_t)n;
}

int flow_from_channel(struct flow *f, LIBSSH2_CHANNEL *channel, bool *moved) {
    for (int i = 0; i < TURNS; i++) {
        if (!flow_pending(f)) {
            ssize_t n = libssh2_channel_read_ex(channel, f->stream, f->bytes, sizeof f->bytes);
            if (n == LIBSSH2_ERROR_EAGAIN || n == 0)
                return 0;
            if (n < 0)
                return (int)n;
            f->start = 0;
            f->end = (size_t)n;
            *moved = true;
        }
        empty_into_sink(f);
        if (flow_pending(f))
            return 0;
    }
    return 0;
}

struct pollfd flow_want_source(const struct flow *f, const struct wire *w) {
    bool want = f->fd >= 0 && !f->eof && !flow_pending(f) && wire_queued(w) < WIRE_OUT_HIGH;
    return (struct pollfd){.fd = want ? f->fd : -1, .events = POLLIN};
}

struct pollfd flow_want_sink(const struct flow *f) {
    return (struct pollfd){.fd = flow_pending(f) ? f->fd : -1, .events = POLLOUT};
}
