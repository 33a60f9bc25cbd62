/* The generic half of an access: every call goes through the table its implementation brought. */
#include <string.h>

#include "nestor/transport.h"

void command_result_free(struct command_result *r) {
    if (!r)
        return;
    buffer_free(&r->out);
    buffer_free(&r->err);
    r->status = 0;
}

int access_run(struct access *a, const struct command *command, struct command_result *ret, const struct context *ctx,
               struct error *err) {
    if (a->ops->run(a, command, ret, ctx, err))
        return -1;
    /* RFC 4254 (6.10) lets a server say any 32 bits, of which a process keeps eight: 256 would be a success. */
    if (ret->status < 0 || ret->status > 255)
        ret->status = 255;
    return 0;
}

int access_put(struct access *a, const char *local_path, const char *remote_path, mode_t mode, progress_fn progress,
               void *progress_data, const struct context *ctx, struct error *err) {
    return a->ops->put(a, local_path, remote_path, mode, progress, progress_data, ctx, err);
}

int access_dial(struct access *a, const char *host, uint16_t port, int *ret_fd, const struct context *ctx,
                struct error *err) {
    return a->ops->dial(a, host, port, ret_fd, ctx, err);
}

const char *access_subject(const struct access *a) { return a->subject; }

bool access_alive(struct access *a) { return a->ops->alive(a); }

void access_close(struct access *a) {
    if (a)
        a->ops->close(a);
}

/* The last line that is not blank: what a failing program wrote there is nearly always the reason. */
static void last_line(const struct buffer *b, const char **ret, size_t *ret_len) {
    const char *text = buffer_str(b);
    size_t end = b->len;
    while (end > 0 && strchr(" \t\r\n", text[end - 1]))
        end--;
    size_t start = end;
    while (start > 0 && text[start - 1] != '\n')
        start--;
    *ret = text + start;
    *ret_len = end - start;
}

static int error_set_status(struct error *err, const char *subject, const struct command_result *r) {
    const char *line;
    size_t len;
    last_line(&r->err, &line, &len);
    if (len > 0)
        error_set(err, ERR_PROCESS, subject, "%.*s", (int)(len < 512 ? len : 512), line);
    else
        error_set(err, ERR_PROCESS, subject, "the command ended with status %d and said nothing", r->status);
    if (err)
        err->native = r->status;
    return -1;
}

int access_run_ok(struct access *a, const char *script, struct command_result *ret, const struct context *ctx,
                  struct error *err) {
    cleanup_command_result struct command_result r = {0};
    if (access_run(a, &COMMAND(script), &r, ctx, err))
        return -1;
    if (r.status != 0)
        return error_set_status(err, a->subject, &r);
    if (ret) {
        *ret = r;
        r = (struct command_result){0};
    }
    return 0;
}
