/* The machine nestor runs on, as an access. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nestor/file.h"
#include "nestor/transport.h"
#include "transport/tcp.h"

/* Between two looks at the context. */
#define COPY_CHUNK ((size_t)8 << 20)

static int local_run(struct access *a, const struct command *command, struct command_result *ret,
                     const struct context *ctx, struct error *err) {
    const char *argv[] = {"sh", "-c", command->script, NULL};
    if (process_run(argv, command, ret, ctx, err))
        return error_subject(err, a->subject);
    return 0;
}

static int local_dial(struct access *a, const char *host, uint16_t port, int *ret_fd, const struct context *ctx,
                      struct error *err) {
    (void)a;
    return tcp_dial(host, port, ret_fd, ctx, err);
}

static int copy_bytes(int from, int to, const char *path, progress_fn progress, void *data, const struct context *ctx,
                      struct error *err) {
    struct stat st;
    if (fstat(from, &st))
        return error_set_errno(err, errno, path, "cannot read the file to copy");
    uint64_t done = 0;
    for (;;) {
        if (context_check(ctx, path, "copying a file", err))
            return -1;
        ssize_t n = sendfile(to, from, NULL, COPY_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, path, "cannot copy the file");
        if (n == 0)
            return 0;
        done += (uint64_t)n;
        if (progress)
            progress(data, done, (uint64_t)st.st_size);
    }
}

static int local_put(struct access *a, const char *local_path, const char *remote_path, mode_t mode,
                     progress_fn progress, void *progress_data, const struct context *ctx, struct error *err) {
    (void)a;
    cleanup_close int from = open(local_path, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return error_set_errno(err, errno, local_path, "cannot open the file to copy");
    const char *name = basename(remote_path);
    cleanup_free char *temp = xasprintf("%.*s.%s.part-XXXXXX", (int)(name - remote_path), remote_path, name);
    cleanup_close int to = mkostemp(temp, O_CLOEXEC);
    if (to < 0)
        return error_set_errno(err, errno, remote_path, "cannot write beside it");
    int rc = copy_bytes(from, to, remote_path, progress, progress_data, ctx, err);
    if (rc == 0 && fd_publish(to, AT_FDCWD, temp, remote_path, mode))
        rc = error_set_errno(err, errno, remote_path, "cannot put the file in its place");
    if (rc)
        unlink(temp);
    return rc;
}

static bool local_alive(struct access *a) {
    (void)a;
    return true;
}

/* There is one local machine, and it stays. */
static void local_close(struct access *a) { (void)a; }

static const struct access_ops local_ops = {
    .run = local_run,
    .put = local_put,
    .dial = local_dial,
    .alive = local_alive,
    .close = local_close,
};

struct access *access_local(void) {
    static struct access local = {.ops = &local_ops, .subject = "localhost"};
    return &local;
}
