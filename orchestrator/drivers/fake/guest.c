/* The way into a fake machine: an access that works while the machine stays powered on. */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/fake/operations.h"
#include "drivers/fake/shell.h"
#include "drivers/fake/world.h"

#define MAX_STREAM ((size_t)16 << 20)

struct guest {
    struct access base; /* its subject is owned */
    struct hypervisor *hv;
    char *dir;             /* the machine's directory */
    char *on;              /* its power mark */
    struct timespec since; /* when it was powered on: after a reboot this access is dead */
    struct settings inside;
};

static bool powered_on_at(const char *on, struct timespec *ret) {
    struct stat st;
    if (stat(on, &st) != 0)
        return false;
    *ret = st.st_mtim;
    return true;
}

static bool guest_alive(struct access *a) {
    struct guest *g = (struct guest *)a;
    struct timespec t;
    return powered_on_at(g->on, &t) && t.tv_sec == g->since.tv_sec && t.tv_nsec == g->since.tv_nsec &&
           access_alive(g->hv->access);
}

static int check_alive(struct guest *g, const char *what, const struct context *ctx, struct error *err) {
    if (context_check(ctx, g->base.subject, what, err))
        return -1;
    if (guest_alive(&g->base))
        return 0;
    error_set(err, ERR_UNREACHABLE, g->base.subject, "the connection to it is lost");
    error_mend(err, "connect again once the machine runs");
    return error_retry(err);
}

static int too_much(const struct guest *g, struct error *err) {
    return error_set(err, ERR_PROTOCOL, g->base.subject, "a command's input or output is too long");
}

/* Reads fd to its end. */
static int read_input(const struct guest *g, int fd, struct buffer *to, const struct context *ctx, struct error *err) {
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (context_poll(ctx, &p, 1, -1, g->base.subject, "reading a command's input", err) < 0)
            return -1;
        char *room = buffer_reserve(to, 4096);
        if (!room)
            return too_much(g, err);
        ssize_t n = read(fd, room, 4096);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return error_set_errno(err, errno, g->base.subject, "cannot read a command's input");
        if (n == 0)
            return 0;
        to->len += n > 0 ? (size_t)n : 0;
    }
}

/* Empties b into fd, or leaves it in b when there is no fd. */
static int deliver(const struct guest *g, int fd, struct buffer *b, const struct context *ctx, struct error *err) {
    size_t done = 0;
    while (fd >= 0 && done < b->len) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (context_poll(ctx, &p, 1, -1, g->base.subject, "writing a command's output", err) < 0)
            return -1;
        ssize_t n = write(fd, b->data + done, b->len - done);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return error_set_errno(err, errno, g->base.subject, "cannot write a command's output");
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        buffer_clear(b);
    return 0;
}

static int guest_run(struct access *a, const struct command *c, struct command_result *ret, const struct context *ctx,
                     struct error *err) {
    struct guest *g = (struct guest *)a;
    size_t max = c->max_output ? c->max_output : MAX_STREAM;
    cleanup_command_result struct command_result r = {.out.max = max, .err.max = max};
    cleanup_buffer struct buffer input = {.max = MAX_STREAM};
    if (check_alive(g, "running a command", ctx, err))
        return -1;
    /* A command that does not read its input must not wait for a terminal's. */
    if (c->in_fd >= 0 && fake_shell_reads(c->script) && read_input(g, c->in_fd, &input, ctx, err))
        return -1;
    struct shell sh = {.path = g->base.subject,
                       .dir = g->dir,
                       .inside = &g->inside,
                       .input = c->in_fd >= 0 ? input.data : c->input,
                       .input_len = c->in_fd >= 0 ? input.len : c->input_len,
                       .out = &r.out,
                       .err = &r.err};
    r.status = fake_shell_run(&sh, c->script);
    if (buffer_overflowed(&r.out) || buffer_overflowed(&r.err))
        return too_much(g, err);
    if (deliver(g, c->out_fd, &r.out, ctx, err) || deliver(g, c->err_fd, &r.err, ctx, err))
        return -1;
    *ret = r;
    r = (struct command_result){0};
    return 0;
}

static int copy_bytes(int from, int to, uint64_t *done) {
    char block[65536];
    ssize_t n;
    while ((n = read(from, block, sizeof block)) > 0) {
        if (fd_write(to, block, (size_t)n))
            return -1;
        *done += (uint64_t)n;
    }
    return (int)n;
}

static int guest_put(struct access *a, const char *local, const char *remote, mode_t mode, progress_fn progress,
                     void *data, const struct context *ctx, struct error *err) {
    struct guest *g = (struct guest *)a;
    if (check_alive(g, "copying a file", ctx, err))
        return -1;
    cleanup_free char *files = xasprintf("%s/files", g->dir);
    cleanup_free char *path = fake_shell_file(g->dir, remote);
    cleanup_free char *temporary = xasprintf("%s.tmp", path);
    cleanup_close int from = open(local, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return error_set_errno(err, errno, local, "cannot read it");
    if (dir_make(files, 0700, g->base.subject, err))
        return -1;
    cleanup_close int to = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    uint64_t done = 0;
    if (to < 0 || copy_bytes(from, to, &done) || rename(temporary, path) != 0)
        return error_set_errno(err, errno, g->base.subject, "cannot copy %s", local);
    if (progress)
        progress(data, done, done);
    return 0;
}

static int guest_dial(struct access *a, const char *host, uint16_t port, int *ret_fd, const struct context *ctx,
                      struct error *err) {
    (void)ret_fd;
    (void)ctx;
    return error_set(err, ERR_UNSUPPORTED, a->subject, "a fake machine has no network to reach %s:%u", host, port);
}

static void guest_close(struct access *a) {
    struct guest *g = (struct guest *)a;
    fake_settings_free(&g->inside);
    free((char *)g->base.subject);
    free(g->dir);
    free(g->on);
    free(g);
}

static const struct access_ops guest_ops = {
    .run = guest_run, .put = guest_put, .dial = guest_dial, .alive = guest_alive, .close = guest_close};

struct settings fake_settings_inside(const struct settings *outer, const struct tag *tag, bool exposed) {
    struct settings s = {.world = fake_machine_path(outer, tag, "inside"),
                         .log = xstrdup(outer->log),
                         .blind = xstrdup(outer->blind),
                         .templates = xstrdup(outer->templates),
                         .calls = xstrdup(outer->calls),
                         .home = xstrdup(outer->home),
                         .delay_ms = outer->delay_ms,
                         .torn = outer->torn};
    if (exposed && fnmatch(outer->blind, tag->path, FNM_PATHNAME) != 0)
        memcpy(s.flag, outer->flag, sizeof s.flag);
    return s;
}

int fake_guest_open(struct hypervisor *hv, const struct tag *tag, const struct record *record, struct access **ret,
                    struct error *err) {
    cleanup_free char *on = fake_machine_path(&hv->settings, tag, "on");
    struct timespec since;
    if (!powered_on_at(on, &since)) {
        error_set(err, ERR_UNREACHABLE, tag->path, "it is powered off");
        error_mend(err, "start the machine first");
        return error_retry(err);
    }
    struct guest *g = xcalloc(1, sizeof *g);
    *g = (struct guest){.base = {.ops = &guest_ops, .subject = xstrdup(tag->path)},
                        .hv = hv,
                        .dir = fake_machine_path(&hv->settings, tag, NULL),
                        .on = steal_ptr(&on),
                        .since = since,
                        .inside = fake_settings_inside(&hv->settings, tag, record->exposed)};
    *ret = &g->base;
    return 0;
}
