/* An access over SSH: each operation is a job for the session's thread, followed from the caller's own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/ssh/hostkey.h"
#include "transport/ssh/session.h"
#include "transport/stdio.h"

/* libssh2 sends a request in one packet of at most 35000 bytes (transport.c, MAX_SSH_PACKET_LEN). */
#define SCRIPT_MAX 32000

struct ssh_access {
    struct access base;
    struct ssh_session *session;
    char *subject;
};

static struct ssh_session *session_of(struct access *a) { return ((struct ssh_access *)a)->session; }

/* A job's other ends: what the caller keeps. */
static int pair(struct flow *theirs, int *ret_ours, const char *subject, struct error *err) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds))
        return error_set_errno(err, errno, subject, "cannot make a socket pair");
    theirs->fd = fds[0];
    *ret_ours = fds[1];
    return 0;
}

/* Leaves a job alone: if it has not ended, the thread closes its channel. */
static void job_leave(struct ssh_job **job) {
    if (*job && atomic_load(&(*job)->phase) != PHASE_DONE) {
        atomic_store(&(*job)->abandoned, true);
        ssh_session_wake((*job)->session);
    }
    job_release(*job);
}
#define cleanup_job __attribute__((cleanup(job_leave)))

/* The job's result is ours to read once its phase says so: the load is what orders the two threads. */
static int job_error(const struct ssh_job *job, struct error *err) {
    if (atomic_load(&job->phase) == PHASE_PENDING)
        return error_set(err, ERR_INTERNAL, job->session->subject, "a job's result was read before its end");
    if (!error_is_set(&job->error))
        return 0;
    if (err)
        *err = job->error;
    return -1;
}

/* --- run --- */

/* The user's login shell may be any shell: all of them understand these three words and single quotes. */
static int shell_command(const char *script, char **ret, const char *subject, struct error *err) {
    cleanup_buffer struct buffer b = {0};
    buffer_puts(&b, "exec sh -c ");
    buffer_put_shell(&b, script);
    if (b.len > SCRIPT_MAX) {
        error_set(err, ERR_UNSUPPORTED, subject, "a script of %zu bytes is too long for SSH", b.len);
        return error_mend(err, "pass the data as the script's input");
    }
    *ret = buffer_steal(&b);
    return 0;
}

static int job_open_stdio(struct ssh_job *job, struct stdio *s, struct error *err) {
    if (pair(&job->in, &s->in, job->session->subject, err) || pair(&job->out, &s->out, job->session->subject, err) ||
        pair(&job->err, &s->err, job->session->subject, err))
        return -1;
    s->ended = job->changed;
    return 0;
}

int ssh_exec(struct access *a, const struct command *command, const struct transfer *transfer,
             struct command_result *ret, const struct context *ctx, struct error *err) {
    if (context_check(ctx, a->subject, "starting a command", err))
        return -1;
    cleanup_stdio struct stdio s = {.in = -1, .out = -1, .err = -1, .ended = -1, .transfer = transfer};
    cleanup_command_result struct command_result r = {0};
    cleanup_job struct ssh_job *job = job_new(JOB_EXEC, session_of(a), err);
    if (!job || shell_command(command->script, &job->command, a->subject, err) || job_open_stdio(job, &s, err) ||
        ssh_session_submit(job, err) || stdio_run(&s, command, &r, job->session->subject, ctx, err) ||
        job_error(job, err))
        return -1;
    r.status = job->status;
    *ret = r;
    r = (struct command_result){0};
    return 0;
}

static int ssh_run(struct access *a, const struct command *command, struct command_result *ret,
                   const struct context *ctx, struct error *err) {
    return ssh_exec(a, command, NULL, ret, ctx, err);
}

/* --- dial --- */

static int wait_open(struct ssh_job *job, const struct context *ctx, struct error *err) {
    while (atomic_load(&job->phase) == PHASE_PENDING) {
        struct pollfd changed = {.fd = job->changed, .events = POLLIN};
        if (context_poll(ctx, &changed, 1, -1, job->session->subject, "opening a connection through it", err) < 0)
            return -1;
    }
    return job_error(job, err);
}

static int job_open_forward(struct ssh_job *job, int *ret_ours, struct error *err) {
    if (pair(&job->in, ret_ours, job->session->subject, err))
        return -1;
    job->out.fd = fcntl(job->in.fd, F_DUPFD_CLOEXEC, 3);
    if (job->out.fd < 0)
        return error_set_errno(err, errno, job->session->subject, "cannot make a descriptor");
    return 0;
}

static int ssh_dial(struct access *a, const char *host, uint16_t port, int *ret_fd, const struct context *ctx,
                    struct error *err) {
    if (context_check(ctx, a->subject, "opening a connection through it", err))
        return -1;
    cleanup_close int fd = -1;
    cleanup_job struct ssh_job *job = job_new(JOB_FORWARD, session_of(a), err);
    if (!job)
        return -1;
    job->host = xstrdup(host);
    job->port = port;
    if (job_open_forward(job, &fd, err) || ssh_session_submit(job, err) || wait_open(job, ctx, err))
        return -1;
    job_release(steal_ptr(&job)); /* it goes on without us */
    *ret_fd = steal_fd(&fd);
    return 0;
}

static bool ssh_alive(struct access *a) { return ssh_session_alive(session_of(a)); }

static void ssh_close(struct access *a) {
    struct ssh_access *ssh = (struct ssh_access *)a;
    ssh_session_stop(ssh->session);
    free(ssh->subject);
    free(ssh);
}

static const struct access_ops ssh_ops = {
    .run = ssh_run,
    .put = ssh_put,
    .dial = ssh_dial,
    .alive = ssh_alive,
    .close = ssh_close,
};

int access_ssh_keepalive(struct access *parent, const struct ssh_target *target, struct ssh_keepalive keepalive,
                         struct access **ret, const struct context *ctx, struct error *err) {
    struct hostkey pinned;
    if (hostkey_parse(target->host_key, &pinned, target->subject, err))
        return -1;
    int fd;
    struct wire *w;
    struct ssh_session *session;
    if (access_dial(parent, target->host, target->port, &fd, ctx, err))
        return error_subject(err, target->subject);
    if (ssh_connect(fd, target, &w, ctx, err) || ssh_session_start(w, target->subject, keepalive, &session, err))
        return -1;
    struct ssh_access *a = xcalloc(1, sizeof *a);
    a->subject = xstrdup(target->subject);
    a->base = (struct access){.ops = &ssh_ops, .subject = a->subject};
    a->session = session;
    *ret = &a->base;
    return 0;
}

int access_ssh(struct access *parent, const struct ssh_target *target, struct access **ret, const struct context *ctx,
               struct error *err) {
    return access_ssh_keepalive(parent, target, SSH_KEEPALIVE_DEFAULT, ret, ctx, err);
}
