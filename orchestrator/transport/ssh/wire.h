/* The bytes between the socket and libssh2.
 *
 * libssh2 never touches the socket: it reads what wire_receive put in and its packets wait here until wire_flush.
 * That is why nothing it sends can be cut in the middle. libssh2 keeps one unfinished packet per session and demands
 * that the very same call be repeated before any other (transport.c, send_existing: LIBSSH2_ERROR_BAD_USE), which
 * many channels on one session could not promise; some of its packets even live on a stack frame that is gone by
 * then (channel_send_eof, libssh2_keepalive_send). Here a send is always whole, so LIBSSH2_ERROR_EAGAIN only ever
 * means "wait for the peer", and there is no block direction to ask for.
 *
 * One thread at a time.
 */
#ifndef TRANSPORT_SSH_WIRE_H
#define TRANSPORT_SSH_WIRE_H

#include <libssh2.h>

#include "nestor/buffer.h"

/* What is taken from the socket ahead of libssh2. While it is full the socket is left alone: back-pressure. */
#define WIRE_IN_MAX ((size_t)256 << 10)
/* No more channel data is queued while this much waits for the socket. */
#define WIRE_OUT_HIGH ((size_t)256 << 10)
/* What the peer said first, kept for explaining a failed handshake: its banner and its list of algorithms. */
#define WIRE_HEAD_MAX 8192
/* All that libssh2 may allocate for a session. It queues packets of types it does not expect for ever, so a hostile
 * peer could otherwise fill the memory; honest ones stay within the windows of their channels (2 MiB each). */
#define WIRE_MEMORY_MAX ((size_t)256 << 20)

struct wire_block;

struct wire {
    int fd; /* owned */
    LIBSSH2_SESSION *session;
    char in[WIRE_IN_MAX];
    size_t in_start, in_end;
    struct buffer out;
    size_t out_start;
    char head[WIRE_HEAD_MAX];
    size_t head_len;
    struct wire_block *blocks; /* all libssh2 has allocated */
    size_t memory;             /* bytes libssh2 holds */
    int64_t heard_at;          /* clock_ms() of the last byte from the peer */
    bool consumed; /* libssh2 took bytes since this was last cleared: there may be something for any channel */
    bool ended;    /* the peer has closed, or the socket failed; errnum tells */
    int errnum;
};

/* Takes fd over, in any case. NULL when libssh2 cannot make a session. */
struct wire *wire_new(int fd);
/* Frees the session and closes the socket, at once: no courtesies on the network. */
void wire_free(struct wire *w); /* NULL-safe */

void wire_receive(struct wire *w);
void wire_flush(struct wire *w);
/* Poll events the socket is to be waited for. */
short wire_events(const struct wire *w);
static inline size_t wire_queued(const struct wire *w) { return w->out.len - w->out_start; }
static inline bool wire_in_full(const struct wire *w) { return w->in_end - w->in_start == WIRE_IN_MAX; }

#endif
