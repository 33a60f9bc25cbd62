#include "transport/stdio.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_MAX_OUTPUT ((size_t)16 << 20)
#define CHUNK 65536

/* One direction: from a buffer or a caller's descriptor to the command, or the reverse. */
struct flow {
    int *ours;              /* our end, in struct stdio */
    int theirs;             /* the caller's descriptor, or -1 */
    struct buffer *collect; /* where output goes when theirs < 0 */
    const char *pending;    /* bytes not yet passed on */
    size_t pending_len;
    char chunk[CHUNK];
};

struct pump {
    struct stdio *s;
    const char *subject;
    struct flow in, out, err;
    uint64_t fed;
};

void stdio_close(struct stdio *s) {
    cleanup_closep(&s->in);
    cleanup_closep(&s->out);
    cleanup_closep(&s->err);
}

static bool would_block(void) { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

static void tell_progress(struct pump *p, size_t n) {
    const struct transfer *t = p->s->transfer;
    p->fed += n;
    if (t && t->progress)
        t->progress(t->data, p->fed, t->total);
}

/* The command has closed its standard input: what is left is not wanted, as in a shell pipeline. */
static int feed(struct pump *p, struct error *err) {
    struct flow *f = &p->in;
    while (f->pending_len > 0) {
        ssize_t n = write(*f->ours, f->pending, f->pending_len);
        if (n < 0 && would_block())
            return 0;
        if (n < 0 && errno != EPIPE && errno != ECONNRESET)
            return error_set_errno(err, errno, p->subject, "cannot write to the command's standard input");
        if (n < 0) {
            cleanup_closep(f->ours);
            return 0;
        }
        f->pending += n;
        f->pending_len -= (size_t)n;
        tell_progress(p, (size_t)n);
    }
    if (f->theirs < 0)
        cleanup_closep(f->ours);
    return 0;
}

static int take_input(struct pump *p, struct error *err) {
    struct flow *f = &p->in;
    ssize_t n = read(f->theirs, f->chunk, sizeof f->chunk);
    if (n < 0 && would_block())
        return 0;
    if (n < 0)
        return error_set_errno(err, errno, p->subject, "cannot read the input for the command");
    if (n == 0)
        f->theirs = -1; /* feed() then passes the end on */
    f->pending = f->chunk;
    f->pending_len = (size_t)n;
    return feed(p, err);
}

static int collect(struct pump *p, struct flow *f, size_t n, struct error *err) {
    buffer_append(f->collect, f->chunk, n);
    if (!buffer_overflowed(f->collect))
        return 0;
    error_set(err, ERR_PROTOCOL, p->subject, "the command wrote more than %zu bytes", f->collect->max);
    return error_mend(err, "look at what the command prints; it was stopped");
}

/* Reads once from the command; *ret_more is false when nothing is there now. */
static int take_output(struct pump *p, struct flow *f, bool *ret_more, struct error *err) {
    ssize_t n = read(*f->ours, f->chunk, sizeof f->chunk);
    *ret_more = n > 0;
    if (n < 0 && would_block())
        return 0;
    if (n < 0 && errno != ECONNRESET)
        return error_set_errno(err, errno, p->subject, "cannot read the command's output");
    if (n <= 0) {
        cleanup_closep(f->ours);
        return 0;
    }
    if (f->theirs < 0)
        return collect(p, f, (size_t)n, err);
    f->pending = f->chunk;
    f->pending_len = (size_t)n;
    return 0;
}

/* The caller's descriptor may be in blocking mode, and shared, so its mode is not ours to change. After POLLOUT a
 * pipe takes PIPE_BUF bytes without blocking (pipe(7)), so no more is written at once. */
static int pass_on(struct pump *p, struct flow *f, struct error *err) {
    size_t n = f->pending_len < PIPE_BUF ? f->pending_len : PIPE_BUF;
    ssize_t written = write(f->theirs, f->pending, n);
    if (written < 0 && would_block())
        return 0;
    if (written < 0)
        return error_set_errno(err, errno, p->subject, "cannot pass the command's output on");
    f->pending += written;
    f->pending_len -= (size_t)written;
    return 0;
}

/* What each direction waits for now; fd -1 when nothing. */
static struct pollfd want_input(const struct flow *f) {
    if (*f->ours < 0)
        return (struct pollfd){.fd = -1};
    if (f->pending_len > 0 || f->theirs < 0)
        return (struct pollfd){.fd = *f->ours, .events = POLLOUT};
    return (struct pollfd){.fd = f->theirs, .events = POLLIN};
}

static struct pollfd want_output(const struct flow *f) {
    if (f->pending_len > 0)
        return (struct pollfd){.fd = f->theirs, .events = POLLOUT};
    return (struct pollfd){.fd = *f->ours, .events = POLLIN};
}

static int move_input(struct pump *p, struct error *err) {
    struct flow *f = &p->in;
    return f->pending_len > 0 || f->theirs < 0 ? feed(p, err) : take_input(p, err);
}

static int move_output(struct pump *p, struct flow *f, struct error *err) {
    bool more;
    return f->pending_len > 0 ? pass_on(p, f, err) : take_output(p, f, &more, err);
}

/* The command has ended: all it wrote is in the pipe by now. */
static int drain(struct pump *p, struct flow *f, const struct context *ctx, struct error *err) {
    bool more = true;
    while (more || f->pending_len > 0) {
        struct pollfd wait = want_output(f);
        if (f->pending_len > 0) {
            if (context_poll(ctx, &wait, 1, -1, p->subject, "passing on a command's output", err) < 0 ||
                pass_on(p, f, err))
                return -1;
        } else if (*f->ours < 0) {
            return 0;
        } else if (take_output(p, f, &more, err)) {
            return -1;
        }
    }
    return 0;
}

static int turn(struct pump *p, bool *ret_ended, const struct context *ctx, struct error *err) {
    enum { ENDED, IN, OUT, ERR, COUNT };
    struct pollfd fds[COUNT] = {
        [ENDED] = {.fd = p->s->ended, .events = POLLIN},
        [IN] = want_input(&p->in),
        [OUT] = want_output(&p->out),
        [ERR] = want_output(&p->err),
    };
    if (context_poll(ctx, fds, COUNT, -1, p->subject, "running a command", err) < 0)
        return -1;
    if (fds[IN].revents && move_input(p, err))
        return -1;
    if (fds[OUT].revents && move_output(p, &p->out, err))
        return -1;
    if (fds[ERR].revents && move_output(p, &p->err, err))
        return -1;
    *ret_ended = fds[ENDED].revents != 0;
    return 0;
}

static int pump_run(struct pump *p, const struct context *ctx, struct error *err) {
    bool ended = false;
    if (p->in.theirs < 0 && feed(p, err))
        return -1;
    while (!ended)
        if (turn(p, &ended, ctx, err))
            return -1;
    if (drain(p, &p->out, ctx, err) || drain(p, &p->err, ctx, err))
        return -1;
    return 0;
}

int stdio_run(struct stdio *s, const struct command *command, struct command_result *ret, const char *subject,
              const struct context *ctx, struct error *err) {
    size_t max = command->max_output ? command->max_output : DEFAULT_MAX_OUTPUT;
    cleanup_command_result struct command_result r = {.out.max = max, .err.max = max};
    cleanup_sigpipe struct sigpipe_guard guard = sigpipe_block();
    cleanup_free struct pump *p = xcalloc(1, sizeof *p);
    p->s = s;
    p->subject = subject;
    p->in = (struct flow){.ours = &s->in, .theirs = command->in_fd};
    p->out = (struct flow){.ours = &s->out, .theirs = command->out_fd, .collect = &r.out};
    p->err = (struct flow){.ours = &s->err, .theirs = command->err_fd, .collect = &r.err};
    if (command->in_fd < 0) {
        p->in.pending = command->input;
        p->in.pending_len = command->input_len;
    }
    if (pump_run(p, ctx, err))
        return -1;
    ret->out = r.out;
    ret->err = r.err;
    r = (struct command_result){0};
    return 0;
}
