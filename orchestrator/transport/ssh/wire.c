#include "transport/ssh/wire.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nestor/context.h"

/* --- libssh2's memory --- */

struct wire_block {
    struct wire_block *next, **at; /* *at points here */
    size_t size;
    alignas(max_align_t) char bytes[];
};

static struct wire_block *block_of(void *p) {
    return (struct wire_block *)((char *)p - offsetof(struct wire_block, bytes));
}

/* Zeroed: libssh2 1.10 reads a signal name up to its NUL even when the packet was too short to hold one
 * (packet.c, "exit-signal"). */
static void *ssh_alloc(size_t n, void **abstract) {
    struct wire *w = *abstract;
    if (n > WIRE_MEMORY_MAX || w->memory > WIRE_MEMORY_MAX - n)
        return NULL;
    struct wire_block *b = xcalloc(1, sizeof *b + n);
    b->size = n;
    b->next = w->blocks;
    b->at = &w->blocks;
    if (b->next)
        b->next->at = &b->next;
    w->blocks = b;
    w->memory += n;
    return b->bytes;
}

/* Wiped: the user's key passes through here. */
static void ssh_free(void *p, void **abstract) {
    struct wire *w = *abstract;
    if (!p)
        return;
    struct wire_block *b = block_of(p);
    *b->at = b->next;
    if (b->next)
        b->next->at = b->at;
    w->memory -= b->size;
    explicit_bzero(b->bytes, b->size);
    free(b);
}

static void *ssh_realloc(void *old, size_t n, void **abstract) {
    void *p = ssh_alloc(n, abstract);
    if (!p || !old)
        return p;
    size_t had = block_of(old)->size;
    memcpy(p, old, had < n ? had : n);
    ssh_free(old, abstract);
    return p;
}

/* libssh2 1.10 forgets a packet at each exchange of new keys (kex.c): what it leaves behind goes with the session. */
static void free_blocks(struct wire *w) {
    void *abstract = w;
    while (w->blocks)
        ssh_free(w->blocks->bytes, &abstract);
}

/* --- what libssh2 reads and writes --- */

static ssize_t ssh_send(libssh2_socket_t fd, const void *bytes, size_t n, int flags, void **abstract) {
    struct wire *w = *abstract;
    (void)fd, (void)flags;
    if (w->ended)
        return -ECONNRESET;
    buffer_append(&w->out, bytes, n);
    return buffer_overflowed(&w->out) ? -ENOBUFS : (ssize_t)n;
}

static ssize_t ssh_recv(libssh2_socket_t fd, void *bytes, size_t n, int flags, void **abstract) {
    struct wire *w = *abstract;
    (void)fd, (void)flags;
    size_t have = w->in_end - w->in_start;
    if (have == 0)
        return w->ended ? 0 : -EAGAIN;
    if (n > have)
        n = have;
    memcpy(bytes, w->in + w->in_start, n);
    w->in_start += n;
    w->consumed = true;
    return (ssize_t)n;
}

/* libssh2_init is not thread-safe and is never undone: it only prepares libcrypto. */
static void library_init(void) { (void)!libssh2_init(0); }

struct wire *wire_new(int fd) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_init);
    struct wire *w = xcalloc(1, sizeof *w);
    w->fd = fd;
    w->heard_at = clock_ms();
    w->session = libssh2_session_init_ex(ssh_alloc, ssh_free, ssh_realloc, w);
    if (!w->session) {
        wire_free(w);
        return NULL;
    }
    libssh2_session_set_blocking(w->session, 0);
    libssh2_session_callback_set(w->session, LIBSSH2_CALLBACK_SEND, (void *)ssh_send);
    libssh2_session_callback_set(w->session, LIBSSH2_CALLBACK_RECV, (void *)ssh_recv);
    return w;
}

void wire_free(struct wire *w) {
    if (!w)
        return;
    /* With the wire ended, libssh2 waits for no answer: one call frees everything. */
    w->ended = true;
    w->in_start = w->in_end = 0;
    if (w->session)
        libssh2_session_free(w->session);
    free_blocks(w);
    buffer_free(&w->out);
    close(w->fd);
    explicit_bzero(w, sizeof *w);
    free(w);
}

static void remember_head(struct wire *w, const char *bytes, size_t n) {
    size_t room = sizeof w->head - w->head_len;
    if (n > room)
        n = room;
    memcpy(w->head + w->head_len, bytes, n);
    w->head_len += n;
}

static void end(struct wire *w, int errnum) {
    w->ended = true;
    w->errnum = errnum;
}

void wire_receive(struct wire *w) {
    if (w->in_start > 0) {
        memmove(w->in, w->in + w->in_start, w->in_end - w->in_start);
        w->in_end -= w->in_start;
        w->in_start = 0;
    }
    while (!w->ended && w->in_end < WIRE_IN_MAX) {
        ssize_t n = recv(w->fd, w->in + w->in_end, WIRE_IN_MAX - w->in_end, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0) {
            end(w, n < 0 ? errno : 0);
            return;
        }
        remember_head(w, w->in + w->in_end, (size_t)n);
        w->in_end += (size_t)n;
        w->heard_at = clock_ms();
    }
}

void wire_flush(struct wire *w) {
    while (!w->ended && wire_queued(w) > 0) {
        ssize_t n = send(w->fd, w->out.data + w->out_start, wire_queued(w), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0) {
            end(w, errno);
            return;
        }
        w->out_start += (size_t)n;
    }
    if (w->out_start > 0) {
        memmove(w->out.data, w->out.data + w->out_start, wire_queued(w));
        w->out.len -= w->out_start;
        w->out_start = 0;
    }
}

short wire_events(const struct wire *w) {
    return (short)((wire_in_full(w) ? 0 : POLLIN) | (wire_queued(w) > 0 ? POLLOUT : 0));
}
