/* Inside sftp: requests and replies as packets. */
#ifndef TRANSPORT_SSH_SFTP_PACKET_H
#define TRANSPORT_SSH_SFTP_PACKET_H

#include "transport/ssh/sftp.h"

/* So much waits for the socket at most before more of a file is read. */
#define SFTP_QUEUE_MAX ((size_t)256 << 10)

enum sftp_type {
    SFTP_INIT = 1,
    SFTP_VERSION = 2,
    SFTP_OPEN = 3,
    SFTP_CLOSE = 4,
    SFTP_WRITE = 6,
    SFTP_FSETSTAT = 10,
    SFTP_REMOVE = 13,
    SFTP_STAT = 17,
    SFTP_STATUS = 101,
    SFTP_HANDLE = 102,
    SFTP_ATTRS = 105,
    SFTP_EXTENDED = 200,
    SFTP_EXTENDED_REPLY = 201,
};

/* --- a request: begin, put its fields, end --- */

struct sftp_request {
    uint32_t id;
    size_t at; /* where it begins in the queue */
};
struct sftp_request sftp_begin(struct sftp *s, enum sftp_type type);
struct sftp_request sftp_begin_extended(struct sftp *s, const char *name);
void sftp_end(struct sftp *s, struct sftp_request r);
void sftp_put_u32(struct sftp *s, uint32_t n);
void sftp_put_u64(struct sftp *s, uint64_t n);
void sftp_put_string(struct sftp *s, const void *bytes, size_t n);
static inline size_t sftp_unsent(const struct sftp *s) { return s->queued.len - s->sent; }

/* --- a reply: its fields are taken in order --- */

/* Borrowed until more is received. Past its end fields are 0 and empty, and `cut` is set. */
struct sftp_reply {
    uint8_t type;
    uint32_t id; /* of the request; in SFTP_VERSION the version */
    const unsigned char *at;
    size_t left;
    bool cut;
};
uint32_t sftp_take_u32(struct sftp_reply *r);
uint64_t sftp_take_u64(struct sftp_reply *r);
const char *sftp_take_string(struct sftp_reply *r, size_t *ret_len);

/* One that has come whole; *ret_there is false when none has. */
int sftp_take_reply(struct sftp *s, struct sftp_reply *ret, bool *ret_there, struct error *err) NESTOR_CHECKED;
/* Waits until something can be sent or received, and does it. Replies taken before are gone. */
int sftp_move(struct sftp *s, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* The reply to this request. Others, to requests that nobody waits for any more, are dropped. */
int sftp_await(struct sftp *s, struct sftp_request r, struct sftp_reply *ret, const struct context *ctx,
               struct error *err) NESTOR_CHECKED;
int sftp_nonsense(const struct sftp *s, struct error *err);

#endif
