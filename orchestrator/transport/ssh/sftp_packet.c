#include "transport/ssh/sftp_packet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* What OpenSSH's client takes (sftp-common.h, SFTP_MAX_MSG_LENGTH). */
#define PACKET_MAX ((uint32_t)256 << 10)
#define RECEIVE 65536
/* The shortest: a type and an id. */
#define PACKET_MIN 5

/* --- requests --- */

static void store_big_endian(char *to, uint64_t n, int bytes) {
    while (bytes-- > 0)
        *to++ = (char)(n >> (8 * bytes));
}

void sftp_put_u32(struct sftp *s, uint32_t n) {
    char bytes[4];
    store_big_endian(bytes, n, sizeof bytes);
    buffer_append(&s->queued, bytes, sizeof bytes);
}

void sftp_put_u64(struct sftp *s, uint64_t n) {
    char bytes[8];
    store_big_endian(bytes, n, sizeof bytes);
    buffer_append(&s->queued, bytes, sizeof bytes);
}

void sftp_put_string(struct sftp *s, const void *bytes, size_t n) {
    sftp_put_u32(s, (uint32_t)n);
    buffer_append(&s->queued, bytes, n);
}

struct sftp_request sftp_begin(struct sftp *s, enum sftp_type type) {
    struct sftp_request r = {.id = s->next_id++, .at = s->queued.len};
    sftp_put_u32(s, 0); /* its length: sftp_end */
    buffer_putc(&s->queued, (char)type);
    sftp_put_u32(s, r.id);
    return r;
}

struct sftp_request sftp_begin_extended(struct sftp *s, const char *name) {
    struct sftp_request r = sftp_begin(s, SFTP_EXTENDED);
    sftp_put_string(s, name, strlen(name));
    return r;
}

void sftp_end(struct sftp *s, struct sftp_request r) {
    store_big_endian(s->queued.data + r.at, s->queued.len - r.at - 4, 4);
}

/* --- replies --- */

static uint64_t big_endian(const unsigned char *at, int bytes) {
    uint64_t n = 0;
    while (bytes-- > 0)
        n = n << 8 | *at++;
    return n;
}

static const unsigned char *take(struct sftp_reply *r, size_t n) {
    static const unsigned char nothing[8];
    if (n > r->left) {
        r->cut = true;
        r->left = 0;
        return nothing;
    }
    const unsigned char *at = r->at;
    r->at += n;
    r->left -= n;
    return at;
}

uint32_t sftp_take_u32(struct sftp_reply *r) { return (uint32_t)big_endian(take(r, 4), 4); }
uint64_t sftp_take_u64(struct sftp_reply *r) { return big_endian(take(r, 8), 8); }

const char *sftp_take_string(struct sftp_reply *r, size_t *ret_len) {
    size_t len = sftp_take_u32(r);
    const unsigned char *at = take(r, len);
    *ret_len = r->cut ? 0 : len;
    return (const char *)at;
}

int sftp_nonsense(const struct sftp *s, struct error *err) {
    error_set(err, ERR_PROTOCOL, s->subject, "what answers there as its SFTP server does not speak SFTP");
    return error_mend(err, "see that the start files of the user's shell print nothing");
}

int sftp_take_reply(struct sftp *s, struct sftp_reply *ret, bool *ret_there, struct error *err) {
    const unsigned char *at = (const unsigned char *)buffer_str(&s->received) + s->taken;
    size_t have = s->received.len - s->taken;
    *ret_there = false;
    if (have < 4)
        return 0;
    uint32_t len = (uint32_t)big_endian(at, 4);
    if (len < PACKET_MIN || len > PACKET_MAX)
        return sftp_nonsense(s, err);
    if (have - 4 < len)
        return 0;
    s->taken += 4 + len;
    *ret = (struct sftp_reply){
        .type = at[4], .id = (uint32_t)big_endian(at + 5, 4), .at = at + 4 + PACKET_MIN, .left = len - PACKET_MIN};
    *ret_there = true;
    return 0;
}

/* --- bytes --- */

static bool would_block(void) { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

static int server_ended(struct sftp *s, struct error *err) {
    s->ended = true;
    error_set(err, ERR_PROTOCOL, s->subject, "its SFTP server ended before it had answered");
    return error_retry(err);
}

static void drop_front(struct buffer *b, size_t *n) {
    memmove(b->data, b->data + *n, b->len - *n);
    b->len -= *n;
    *n = 0;
}

static int flush(struct sftp *s, struct error *err) {
    ssize_t n = send(s->in, s->queued.data + s->sent, sftp_unsent(s), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && !would_block())
        return server_ended(s, err);
    if (n > 0)
        s->sent += (size_t)n;
    if (s->sent == s->queued.len || s->sent >= SFTP_QUEUE_MAX)
        drop_front(&s->queued, &s->sent);
    return 0;
}

static int receive(struct sftp *s, struct error *err) {
    if (s->taken > 0)
        drop_front(&s->received, &s->taken);
    ssize_t n = recv(s->out, buffer_reserve(&s->received, RECEIVE), RECEIVE, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && !would_block()))
        return server_ended(s, err);
    if (n > 0)
        s->received.len += (size_t)n;
    return 0;
}

int sftp_move(struct sftp *s, const struct context *ctx, struct error *err) {
    enum { OUT, IN, COUNT };
    struct pollfd fds[COUNT] = {
        [OUT] = {.fd = s->out, .events = POLLIN},
        [IN] = {.fd = sftp_unsent(s) ? s->in : -1, .events = POLLOUT},
    };
    if (context_poll(ctx, fds, COUNT, -1, s->subject, "putting a file there", err) < 0)
        return -1;
    /* First what the server said: it may have ended after an answer. */
    if (fds[OUT].revents && receive(s, err))
        return -1;
    return fds[IN].revents ? flush(s, err) : 0;
}

int sftp_await(struct sftp *s, struct sftp_request r, struct sftp_reply *ret, const struct context *ctx,
               struct error *err) {
    for (;;) {
        bool there;
        if (sftp_take_reply(s, ret, &there, err))
            return -1;
        if (there && ret->id == r.id)
            return 0;
        if (!there && sftp_move(s, ctx, err))
            return -1;
    }
}
