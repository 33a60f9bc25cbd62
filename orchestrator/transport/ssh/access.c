/* An access over SSH: each operation is a job for the session's thread, followed from the caller's own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/ssh/session.h"

/* libssh2 sends a request in one packet of at most 35000 bytes (transport.c, MAX_SSH_PACKET_LEN). */
#define SCRIPT_MAX 32000

struct ssh_access {
    struct access base;
    struct ssh_pool *pool;
};

static struct ssh_pool *pool_of(struct access *a) { return ((struct ssh_access *)a)->pool; }

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
    if (*job && (*job)->session && atomic_load(&(*job)->phase) != PHASE_DONE) {
        atomic_store(&(*job)->abandoned, true);
        ssh_session_wake((*job)->session);
    }
    job_release(*job);
}
#define cleanup_job __attribute__((cleanup(job_leave)))

/* The job's result is ours to read once it is done, not before: the load is what orders the two threads. */
static int job_error(const struct ssh_job *job, struct error *err) {
    if (atomic_load(&job->phase) != PHASE_DONE || !error_is_set(&job->error))
        return 0;
    if (err)
        *err = job->error;
    return -1;
}

/* Until the peer has said yes or no. The phase is set before the descriptor becomes readable, and read after that was
 * taken back, so the next change makes it readable again. A job that is already done keeps it readable, for who waits
 * for its end. */
static int wait_open(struct ssh_job *job, const struct context *ctx, struct error *err) {
    const char *subject = job->session->subject;
    do {
        struct pollfd changed = {.fd = job->changed, .events = POLLIN};
        uint64_t count;
        if (context_poll(ctx, &changed, 1, -1, subject, "waiting for a channel", err) < 0)
            return -1;
        if (read(job->changed, &count, sizeof count) < 0)
            return error_set_errno(err, errno, subject, "cannot use an event descriptor");
    } while (atomic_load(&job->phase) == PHASE_PENDING);
    if (atomic_load(&job->phase) == PHASE_DONE)
        job_signal(job);
    return job_error(job, err);
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

static int job_open_stdio(struct ssh_job *job, struct stdio *s, const char *subject, struct error *err) {
    if (pair(&job->in, &s->in, subject, err) || pair(&job->out, &s->out, subject, err) ||
        pair(&job->err, &s->err, subject, err))
        return -1;
    s->ended = job->changed;
    return 0;
}

static int set_program(struct ssh_job *job, enum ssh_program program, const char *text, const char *subject,
                       struct error *err) {
    if (program == SSH_SCRIPT)
        return shell_command(text, &job->command, subject, err);
    job->subsystem = true;
    job->command = xstrdup(text);
    return 0;
}

/* No byte of the input is taken before the command runs: so a full session can be left for another one. */
static int start_once(struct access *a, enum ssh_program program, const char *text, struct ssh_process *p,
                      bool *ret_full, const struct context *ctx, struct error *err) {
    cleanup_job struct ssh_job *job = job_new(JOB_EXEC, a->subject, err);
    *ret_full = false;
    if (!job || set_program(job, program, text, a->subject, err) || job_open_stdio(job, &p->stdio, a->subject, err) ||
        ssh_pool_submit(pool_of(a), job, ctx, err))
        return -1;
    int rc = wait_open(job, ctx, err);
    *ret_full = rc && atomic_load(&job->phase) == PHASE_DONE && job->session_full;
    if (rc == 0)
        p->job = steal_ptr(&job);
    return rc;
}

int ssh_start(struct access *a, enum ssh_program program, const char *text, struct ssh_process *ret,
              const struct context *ctx, struct error *err) {
    if (context_check(ctx, a->subject, "starting a command", err))
        return -1;
    cleanup_ssh_process struct ssh_process p = SSH_PROCESS_NONE;
    struct error e;
    bool full = true;
    int rc = -1;
    for (int i = 0; full && i < SSH_SESSIONS_MAX; i++) {
        stdio_close(&p.stdio);
        error_clear(&e);
        rc = start_once(a, program, text, &p, &full, ctx, &e);
    }
    if (rc && err)
        *err = e;
    if (rc == 0) {
        *ret = p;
        p = SSH_PROCESS_NONE;
    }
    return rc;
}

int ssh_wait(struct ssh_process *p, int *ret_status, const struct context *ctx, struct error *err) {
    struct pollfd ended = {.fd = p->stdio.ended, .events = POLLIN};
    if (context_poll(ctx, &ended, 1, -1, p->job->session->subject, "waiting for a command's end", err) < 0 ||
        job_error(p->job, err))
        return -1;
    *ret_status = p->job->status;
    return 0;
}

void ssh_leave(struct ssh_process *p) {
    stdio_close(&p->stdio);
    job_leave(&p->job);
    p->job = NULL;
}

int ssh_exec(struct access *a, const struct command *command, const struct transfer *transfer,
             struct command_result *ret, const struct context *ctx, struct error *err) {
    cleanup_ssh_process struct ssh_process p = SSH_PROCESS_NONE;
    cleanup_command_result struct command_result r = {0};
    if (ssh_start(a, SSH_SCRIPT, command->script, &p, ctx, err))
        return -1;
    p.stdio.transfer = transfer;
    if (stdio_run(&p.stdio, command, &r, p.job->session->subject, ctx, err) || job_error(p.job, err))
        return -1;
    r.status = p.job->status;
    *ret = r;
    r = (struct command_result){0};
    return 0;
}

static int ssh_run(struct access *a, const struct command *command, struct command_result *ret,
                   const struct context *ctx, struct error *err) {
    return ssh_exec(a, command, NULL, ret, ctx, err);
}

/* --- dial --- */

static int job_open_forward(struct ssh_job *job, int *ret_ours, const char *subject, struct error *err) {
    if (pair(&job->in, ret_ours, subject, err))
        return -1;
    job->out.fd = fcntl(job->in.fd, F_DUPFD_CLOEXEC, 3);
    if (job->out.fd < 0)
        return error_set_errno(err, errno, subject, "cannot make a descriptor");
    return 0;
}

static int ssh_dial(struct access *a, const char *host, uint16_t port, int *ret_fd, const struct context *ctx,
                    struct error *err) {
    if (context_check(ctx, a->subject, "opening a connection through it", err))
        return -1;
    cleanup_close int fd = -1;
    cleanup_job struct ssh_job *job = job_new(JOB_FORWARD, a->subject, err);
    if (!job)
        return -1;
    job->host = xstrdup(host);
    job->port = port;
    if (job_open_forward(job, &fd, a->subject, err) || ssh_pool_submit(pool_of(a), job, ctx, err) ||
        wait_open(job, ctx, err))
        return -1;
    job_release(steal_ptr(&job)); /* it goes on without us */
    *ret_fd = steal_fd(&fd);
    return 0;
}

static bool ssh_alive(struct access *a) { return ssh_pool_alive(pool_of(a)); }

static void ssh_close(struct access *a) {
    ssh_pool_close(pool_of(a));
    free(a);
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
    struct ssh_pool *pool;
    if (ssh_pool_open(parent, target, keepalive, &pool, ctx, err))
        return -1;
    struct ssh_access *a = xcalloc(1, sizeof *a);
    a->base = (struct access){.ops = &ssh_ops, .subject = ssh_pool_subject(pool)};
    a->pool = pool;
    *ret = &a->base;
    return 0;
}

int access_ssh(struct access *parent, const struct ssh_target *target, struct access **ret, const struct context *ctx,
               struct error *err) {
    return access_ssh_keepalive(parent, target, SSH_KEEPALIVE_DEFAULT, ret, ctx, err);
}
