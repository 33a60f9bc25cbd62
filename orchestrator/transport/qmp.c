#include "nestor/qmp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "nestor/buffer.h"

/* Replies to what nestor asks are a few KiB; a peer that sends more without a line's end is no QEMU. */
#define LINE_MAX_BYTES ((size_t)1 << 20)
#define READ_BYTES 4096
/* How soon to try again while the queue of a listening socket is full. */
#define QUEUE_FULL_MS 50

struct qmp {
    int fd;
    char *subject;
    struct buffer in; /* received and not yet parsed */
    json_int_t id;    /* of the last command: replies carry it back */
};

/* sockaddr_un has 107 bytes for a path; /proc/self/fd/N/NAME is short however deep the directory lies. */
static void short_address(int dirfd, const char *name, struct sockaddr_un *ret) {
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", dirfd, name);
}

int qmp_connect(int dirfd, const char *name, const char *subject, struct qmp **ret, const struct context *ctx,
                struct error *err) {
    struct sockaddr_un address;
    short_address(dirfd, name, &address);
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, errno, subject, "cannot make a socket");
    while (connect(fd, (const struct sockaddr *)&address, sizeof address)) {
        /* A non-blocking Unix socket says EAGAIN, never EINPROGRESS, when the queue is full: unix(7). */
        if (errno != EAGAIN && errno != EINTR)
            return error_set_errno(err, errno, subject, "cannot reach QEMU's control socket");
        if (context_sleep(ctx, QUEUE_FULL_MS, subject, "queueing for QEMU's control socket", err))
            return -1;
    }
    return qmp_attach(steal_fd(&fd), subject, ret, ctx, err);
}

static int went_away(const struct qmp *q, struct error *err) {
    error_set(err, ERR_UNREACHABLE, q->subject, "QEMU closed its control socket");
    return error_retry(err);
}

static int wait_for(const struct qmp *q, short events, const char *what, const struct context *ctx, struct error *err) {
    struct pollfd p = {.fd = q->fd, .events = events};
    return context_poll(ctx, &p, 1, -1, q->subject, what, err) < 0 ? -1 : 0;
}

static bool try_again(int errnum) { return errnum == EAGAIN || errnum == EINTR; }

static int send_all(const struct qmp *q, const char *bytes, size_t n, const struct context *ctx, struct error *err) {
    while (n) {
        if (wait_for(q, POLLOUT, "sending to QEMU's control socket", ctx, err))
            return -1;
        ssize_t sent = send(q->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && !try_again(errno))
            return went_away(q, err);
        if (sent > 0) {
            bytes += sent;
            n -= (size_t)sent;
        }
    }
    return 0;
}

/* Appends what has arrived to q->in, waiting for the first byte. */
static int receive(struct qmp *q, const char *what, const struct context *ctx, struct error *err) {
    if (wait_for(q, POLLIN, what, ctx, err))
        return -1;
    char *to = buffer_reserve(&q->in, READ_BYTES);
    if (!to)
        return error_set(err, ERR_PROTOCOL, q->subject, "QEMU sent a line of more than %zu bytes", LINE_MAX_BYTES);
    ssize_t n = recv(q->fd, to, READ_BYTES, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && !try_again(errno)))
        return went_away(q, err);
    if (n > 0)
        q->in.len += (size_t)n;
    return 0;
}

/* Takes one message off the connection. The caller owns it. */
static int read_message(struct qmp *q, const char *what, json_t **ret, const struct context *ctx, struct error *err) {
    char *end;
    size_t searched = 0;
    while (!(end = q->in.len ? memchr(q->in.data + searched, '\n', q->in.len - searched) : NULL)) {
        searched = q->in.len;
        if (receive(q, what, ctx, err))
            return -1;
    }
    size_t len = (size_t)(end - q->in.data);
    json_error_t why;
    json_t *message = json_loadb(q->in.data, len, JSON_REJECT_DUPLICATES, &why);
    q->in.len -= len + 1;
    memmove(q->in.data, end + 1, q->in.len);
    if (!json_is_object(message)) {
        json_decref(message);
        return error_set(err, ERR_PROTOCOL, q->subject, "QEMU's control socket sent something that is not QMP");
    }
    *ret = message;
    return 0;
}

static int refused(const struct qmp *q, const char *command, json_t *error, struct error *err) {
    const char *words = json_string_value(json_object_get(error, "desc"));
    return error_set(err, ERR_PROCESS, q->subject, "QEMU refused '%s': %s", command, words ? words : "no reason given");
}

/* What one message means for the command that waits. *done stays false for an event. */
static int take_reply(const struct qmp *q, const char *command, json_t *message, json_t **ret, bool *done,
                      struct error *err) {
    if (json_object_get(message, "event"))
        return 0;
    json_t *error = json_object_get(message, "error"), *value = json_object_get(message, "return");
    json_t *id = json_object_get(message, "id");
    if (error && (!id || json_integer_value(id) == q->id))
        return refused(q, command, error, err);
    if (!value || json_integer_value(id) != q->id)
        return error_set(err, ERR_PROTOCOL, q->subject, "QEMU answered '%s' with something else", command);
    if (ret)
        *ret = json_incref(value);
    *done = true;
    return 0;
}

static int send_command(struct qmp *q, const char *command, json_t *arguments, const struct context *ctx,
                        struct error *err) {
    json_t *message = json_pack("{s:s, s:I}", "execute", command, "id", ++q->id);
    if (message && arguments)
        json_object_set(message, "arguments", arguments);
    char *line = message ? json_dumps(message, JSON_COMPACT) : NULL;
    json_decref(message);
    if (!line)
        return error_set(err, ERR_INTERNAL, q->subject, "cannot put '%s' into JSON", command);
    cleanup_buffer struct buffer out = {0};
    buffer_puts(&out, line);
    buffer_putc(&out, '\n');
    free(line);
    return send_all(q, out.data, out.len, ctx, err);
}

int qmp_execute(struct qmp *q, const char *command, json_t *arguments, json_t **ret, const struct context *ctx,
                struct error *err) {
    int rc = send_command(q, command, arguments, ctx, err);
    json_decref(arguments);
    bool done = false;
    while (!rc && !done) {
        json_t *message = NULL;
        rc = read_message(q, "waiting for QEMU's answer", &message, ctx, err);
        if (!rc)
            rc = take_reply(q, command, message, ret, &done, err);
        json_decref(message);
    }
    return rc;
}

static int negotiate(struct qmp *q, const struct context *ctx, struct error *err) {
    json_t *greeting = NULL;
    if (read_message(q, "waiting for QEMU's greeting (its control socket serves one program at a time)", &greeting, ctx,
                     err))
        return -1;
    bool known = json_is_object(json_object_get(greeting, "QMP"));
    json_decref(greeting);
    if (!known)
        return error_set(err, ERR_PROTOCOL, q->subject, "QEMU's control socket did not greet as QMP does");
    return qmp_execute(q, "qmp_capabilities", NULL, NULL, ctx, err);
}

int qmp_attach(int fd, const char *subject, struct qmp **ret, const struct context *ctx, struct error *err) {
    struct qmp *q = xcalloc(1, sizeof *q);
    *q = (struct qmp){.fd = fd, .subject = xstrdup(subject), .in = {.max = LINE_MAX_BYTES}};
    if (negotiate(q, ctx, err)) {
        qmp_close(q);
        return -1;
    }
    *ret = q;
    return 0;
}

void qmp_close(struct qmp *q) {
    if (!q)
        return;
    close(q->fd);
    buffer_free(&q->in);
    free(q->subject);
    free(q);
}
