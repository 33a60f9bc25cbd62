/* access_put over SSH: over SFTP where there is a server that can do it, else through a shell (put_shell.c). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/ssh/session.h"

/* For taking the part file away again: the caller's own time may be over. */
#define CLEANUP_MS 3000
/* The guard is a convenience: all sessions may be full. */
#define GUARD_MS 2000

static char *part_name(const char *path) {
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint64_t)clock_ms();
    const char *name = basename(path);
    return xasprintf("%.*s.%s.part-%08" PRIx32, (int)(name - path), path, name, (uint32_t)random);
}

/* --- over SFTP --- */

/* SFTP cannot clean up behind a connection that was cut, or a nestor that was killed: a part of many gigabytes would
 * stay. A command beside it can, where there is a shell: its input ends with the connection, or with the put, and a
 * part that was renamed by then is no longer there. It does nothing before it is told to: one that we stopped waiting
 * for may still start, and would find its input ended already. */
static void guard_start(const struct put *p, struct ssh_process *guard, const struct context *ctx) {
    static const char go[] = "go\n";
    struct context soon = context_timeout(ctx, GUARD_MS);
    cleanup_buffer struct buffer script = {0};
    buffer_puts(&script, "read -r go && cat >/dev/null && rm -f ");
    buffer_put_shell(&script, p->part);
    /* Without one the put goes on: the part is then only removed while the connection stands. */
    if (ssh_start(p->access, SSH_SCRIPT, buffer_str(&script), guard, &soon, NULL) ||
        send(guard->stdio.in, go, sizeof go - 1, MSG_NOSIGNAL) < 0)
        ssh_leave(guard);
}

static void remove_part(const struct put *p, struct sftp *s, struct error *err) {
    struct context moment = context_timeout(NULL, CLEANUP_MS);
    struct error e = {0};
    if (!s->ended && sftp_remove(s, p->part, &moment, &e) && e.code != ERR_NOT_FOUND)
        error_note(err, "%s may still be there: %s", p->part, e.cause);
}

/* The directory was there a moment ago: it is the part that is missing. Its guard removed it, if it was on another
 * connection and that one was lost. */
static int give_name(const struct put *p, struct sftp *s, const struct context *ctx, struct error *err) {
    struct error e = {0};
    if (sftp_rename(s, p->part, p->path, ctx, &e) == 0)
        return 0;
    if (e.code != ERR_NOT_FOUND) {
        *err = e;
        return -1;
    }
    error_set(err, ERR_IO, s->subject, "cannot write %s: its temporary file was removed meanwhile", p->path);
    return error_retry(err);
}

static int put_file(const struct put *p, struct sftp *s, const struct context *ctx, struct error *err) {
    struct sftp_file file;
    bool directory;
    if (sftp_is_directory(s, p->path, &directory, ctx, err))
        return -1;
    if (directory)
        return error_set(err, ERR_IO, s->subject, "cannot write %s: Is a directory", p->path);
    int rc = sftp_create(s, p->part, &file, ctx, err);
    if (rc == 0)
        rc = sftp_write(s, &file, &p->from, &p->transfer, ctx, err);
    if (rc == 0)
        rc = sftp_finish(s, &file, p->mode, ctx, err);
    if (rc == 0)
        rc = give_name(p, s, ctx, err);
    if (rc)
        remove_part(p, s, err);
    return rc;
}

/* The end of the stream says nothing about its reason: the channel tells. Leaves *err as it is when it was the server
 * that ended, and not the connection. */
static void explain_end(struct ssh_process *server, struct error *err) {
    struct context moment = context_timeout(NULL, CLEANUP_MS);
    struct error e = {0};
    int status;
    if (ssh_wait(server, &status, &moment, &e) && e.code != ERR_TIMEOUT)
        *err = e;
}

/* A server that ended without a word was never there: Dropbear grants the subsystem and then finds no program for it,
 * as OpenSSH does when its Subsystem line names one that is missing. */
static bool was_never_there(const struct sftp *s, const struct error *err) {
    return s->ended && !sftp_heard(s) && err->code == ERR_PROTOCOL;
}

/* *ret_usable is false when there is no SFTP server, or one that cannot replace a file in one step, which the shell
 * can. Nothing has happened then. */
static int put_over(struct ssh_process *server, const struct put *p, bool *ret_usable, const struct context *ctx,
                    struct error *err) {
    cleanup_ssh_process struct ssh_process guard = SSH_PROCESS_NONE;
    cleanup_sftp struct sftp s = {
        .in = server->stdio.in, .out = server->stdio.out, .subject = p->access->subject, .target = p->path};
    int rc = sftp_greet(&s, ctx, err);
    *ret_usable = rc || (s.extensions & SFTP_POSIX_RENAME);
    if (!*ret_usable)
        return -1;
    if (rc == 0) {
        guard_start(p, &guard, ctx);
        rc = put_file(p, &s, ctx, err);
    }
    if (rc && s.ended)
        explain_end(server, err);
    if (rc && was_never_there(&s, err))
        *ret_usable = false;
    return rc;
}

static int put_by_sftp(const struct put *p, bool *ret_usable, const struct context *ctx, struct error *err) {
    cleanup_ssh_process struct ssh_process server = SSH_PROCESS_NONE;
    if (ssh_start(p->access, SSH_SUBSYSTEM, "sftp", &server, ctx, err)) {
        *ret_usable = err->code != ERR_UNSUPPORTED;
        return -1;
    }
    cleanup_closep(&server.stdio.err); /* whatever it says there */
    return put_over(&server, p, ret_usable, ctx, err);
}

int ssh_put(struct access *a, const char *local_path, const char *remote_path, mode_t mode, progress_fn progress,
            void *progress_data, const struct context *ctx, struct error *err) {
    struct stat st;
    cleanup_close int from = open(local_path, O_RDONLY | O_CLOEXEC);
    if (from < 0 || fstat(from, &st))
        return error_set_errno(err, errno, local_path, "cannot open the file to copy");
    cleanup_free char *part = part_name(remote_path);
    struct put p = {.access = a,
                    .from = {.path = local_path, .fd = from, .size = (uint64_t)st.st_size},
                    .path = remote_path,
                    .part = part,
                    .mode = mode,
                    .transfer = {.progress = progress, .data = progress_data, .total = (uint64_t)st.st_size}};
    bool usable;
    struct error e = {0};
    int rc = put_by_sftp(&p, &usable, ctx, &e);
    if (!usable)
        return ssh_put_by_shell(&p, ctx, err);
    if (rc && err)
        *err = e;
    return rc;
}
