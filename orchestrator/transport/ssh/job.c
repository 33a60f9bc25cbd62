/* A job: one channel from the asking to the closing, as a state with one short function each. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/ssh/session.h"

struct ssh_job *job_new(enum job_kind kind, const char *subject, struct error *err) {
    int changed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (changed < 0) {
        error_set_errno(err, errno, subject, "cannot make an event descriptor");
        return NULL;
    }
    struct ssh_job *job = xcalloc(1, sizeof *job);
    atomic_init(&job->refs, 1);
    job->kind = kind;
    job->changed = changed;
    job->in.fd = job->out.fd = job->err.fd = -1;
    job->err.stream = SSH_EXTENDED_DATA_STDERR;
    return job;
}

void job_release(struct ssh_job *job) {
    if (!job || atomic_fetch_sub(&job->refs, 1) > 1)
        return;
    flow_close(&job->in);
    flow_close(&job->out);
    flow_close(&job->err);
    close(job->changed);
    free(job->command);
    free(job->host);
    if (job->session)
        ssh_session_release(job->session);
    free(job);
}

void job_signal(struct ssh_job *job) {
    uint64_t one = 1;
    ssize_t ignored = write(job->changed, &one, sizeof one);
    (void)ignored;
}

static void publish(struct ssh_job *job, enum job_phase phase) {
    atomic_store(&job->phase, phase);
    job_signal(job);
}

/* Our ends close before the caller learns of the end: then what it reads has an end too. */
static void finish(struct ssh_job *job) {
    flow_close(&job->in);
    flow_close(&job->out);
    flow_close(&job->err);
    if (atomic_load(&job->phase) != PHASE_DONE)
        publish(job, PHASE_DONE);
}

void job_fail(struct ssh_job *job, const struct error *error) {
    int phase = atomic_load(&job->phase);
    if (phase == PHASE_PENDING || (phase == PHASE_OPEN && job->kind == JOB_EXEC))
        job->error = *error;
    finish(job);
    job->state = JOB_GONE;
}

/* --- the states --- */

/* Before the caller learns of the answer: its next job is to find the session free. */
static void note_answered(struct ssh_job *job) {
    if (job->kind == JOB_FORWARD)
        atomic_fetch_sub(&job->session->unanswered_forwards, 1);
}

/* One request at a time may wait for its reply in a session. libssh2 keeps the state of a channel's opening per
 * session, and takes a reply that is for another channel as a failure of the one that waits (packet.c,
 * _libssh2_packet_requirev). */
static int waiting(struct ssh_job *job, bool *moved) {
    struct ssh_session *s = job->session;
    (void)moved;
    if (s->requesting || (job->kind == JOB_EXEC && s->open_commands >= SSH_COMMANDS_MAX))
        return LIBSSH2_ERROR_EAGAIN;
    s->requesting = job;
    job->state = JOB_OPENING;
    return 0;
}

/* libssh2 tells the peer's reason only in words, and these are fixed (channel.c, _libssh2_channel_open). */
static const struct {
    const char *words;
    enum error_code code;
    bool retry;
    const char *cause, *mend;
} open_failures[] = {
    {"connect failed", ERR_CONNECT_REFUSED, true, "nothing answers at %s:%u, seen from there", ""},
    {"administratively prohibited", ERR_UNSUPPORTED, false, "its SSH server does not forward connections (to %s:%u)",
     "set 'AllowTcpForwarding yes' in its /etc/ssh/sshd_config"},
    {"", ERR_UNREACHABLE, true, "its SSH server opened no channel to %s:%u", ""},
};

static void forward_refused(struct ssh_job *job, const char *message, struct error *err) {
    size_t i = 0;
    while (!strstr(message, open_failures[i].words))
        i++;
    error_set(err, open_failures[i].code, job->session->subject, open_failures[i].cause, job->host, job->port);
    if (open_failures[i].mend[0])
        error_mend(err, "%s", open_failures[i].mend);
    err->retry = open_failures[i].retry;
}

static void subsystem_refused(struct ssh_job *job, struct error *err) {
    error_set(err, ERR_UNSUPPORTED, job->session->subject, "its SSH server has no subsystem %s", job->command);
    error_mend(err, "set it with a Subsystem line in its /etc/ssh/sshd_config");
}

static void command_refused(struct ssh_job *job, const char *message, struct error *err) {
    error_set(err, ERR_PROTOCOL, job->session->subject, "its SSH server runs no command now: %s", message);
    error_mend(err, "see that the user may log in there and how many sessions the server allows (MaxSessions)");
    error_retry(err);
}

/* No channel for a command: the session has all the server allows, and another session can have one. */
static void note_full(struct ssh_job *job) {
    job->session_full = true;
    atomic_store(&job->session->full_until, clock_ms() + SSH_FULL_MS);
}

static int refused(struct ssh_job *job, int rc) {
    char *message = NULL;
    libssh2_session_last_error(job->session->wire->session, &message, NULL, 0);
    struct error e = {0};
    if (job->kind == JOB_FORWARD)
        forward_refused(job, message ? message : "", &e);
    else if (job->subsystem && rc == LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED)
        subsystem_refused(job, &e);
    else
        command_refused(job, message ? message : "", &e);
    e.native = rc;
    job->error = e;
    if (job->kind == JOB_EXEC && rc == LIBSSH2_ERROR_CHANNEL_FAILURE)
        note_full(job);
    note_answered(job);
    job->session->requesting = NULL;
    finish(job);
    job->state = JOB_CLOSING;
    return 0;
}

static LIBSSH2_CHANNEL *open_channel(const struct ssh_job *job, LIBSSH2_SESSION *session) {
    if (job->kind == JOB_FORWARD)
        return libssh2_channel_direct_tcpip_ex(session, job->host, job->port, "127.0.0.1", 0);
    return libssh2_channel_open_session(session);
}

static int opening(struct ssh_job *job, bool *moved) {
    (void)moved;
    job->channel = open_channel(job, job->session->wire->session);
    int rc = job->channel ? 0 : libssh2_session_last_errno(job->session->wire->session);
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return rc;
    if (rc == LIBSSH2_ERROR_CHANNEL_FAILURE || rc == LIBSSH2_ERROR_TIMEOUT)
        return refused(job, rc);
    if (rc)
        return rc;
    if (job->kind == JOB_EXEC) {
        job->state = JOB_STARTING;
        return 0;
    }
    job->session->requesting = NULL;
    note_answered(job);
    publish(job, PHASE_OPEN);
    job->state = JOB_RUNNING;
    return 0;
}

static int request_start(const struct ssh_job *job) {
    if (job->subsystem)
        return libssh2_channel_subsystem(job->channel, job->command);
    return libssh2_channel_exec(job->channel, job->command);
}

static int starting(struct ssh_job *job, bool *moved) {
    (void)moved;
    int rc = request_start(job);
    if (rc == LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED || rc == LIBSSH2_ERROR_TIMEOUT)
        return refused(job, rc);
    if (rc)
        return rc;
    job->session->requesting = NULL;
    publish(job, PHASE_OPEN);
    job->state = JOB_RUNNING;
    return 0;
}

/* The names a server may send (RFC 4254, 6.10). */
static const struct {
    const char *name;
    int number;
} signals[] = {
    {"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"FPE", SIGFPE},   {"HUP", SIGHUP},   {"ILL", SIGILL},
    {"INT", SIGINT},   {"KILL", SIGKILL}, {"PIPE", SIGPIPE}, {"QUIT", SIGQUIT}, {"SEGV", SIGSEGV},
    {"TERM", SIGTERM}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
};

static int status_of_signal(const char *name) {
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (strcmp(signals[i].name, name) == 0)
            return 128 + signals[i].number;
    return 255; /* as ssh(1) does for what has no status */
}

/* A server need not say how a command ended (RFC 4254, 6.10); OpenSSH and Dropbear do, unless the whole connection
 * ends. libssh2 1.10 has 0 for one that said nothing, and does not tell the two apart. */
static int exit_status(LIBSSH2_CHANNEL *channel, LIBSSH2_SESSION *session) {
    char *name = NULL;
    libssh2_channel_get_exit_signal(channel, &name, NULL, NULL, NULL, NULL, NULL);
    if (!name)
        return libssh2_channel_get_exit_status(channel);
    int status = status_of_signal(name);
    libssh2_free(session, name);
    return status;
}

static int send_eof_once(struct ssh_job *job) {
    if (!job->in.eof || flow_pending(&job->in) || job->in_ended)
        return 0;
    int rc = libssh2_channel_send_eof(job->channel);
    if (rc == 0)
        job->in_ended = true;
    return rc == LIBSSH2_ERROR_EAGAIN ? 0 : rc;
}

static bool output_ended(const struct ssh_job *job) {
    return !flow_pending(&job->out) && !flow_pending(&job->err) && libssh2_channel_eof(job->channel) == 1;
}

/* The status comes before the close but may come after the end of the output. */
static int end_command(struct ssh_job *job) {
    int rc = libssh2_channel_wait_closed(job->channel);
    if (rc)
        return rc;
    job->status = exit_status(job->channel, job->session->wire->session);
    job->state = JOB_CLOSING;
    return 0;
}

/* A half that ended is passed on as a half. The whole ends when both have, when the peer has closed the channel, or
 * when the other end of our socket is closed and not only shut down: then nobody is left to read. */
static int end_forward(struct ssh_job *job, bool remote_ended) {
    struct pollfd local = {.fd = job->in.fd};
    bool local_gone = job->in_ended && poll(&local, 1, 0) > 0 && (local.revents & (POLLHUP | POLLERR));
    bool closed = remote_ended && libssh2_channel_wait_closed(job->channel) == 0;
    if (remote_ended)
        shutdown(job->out.fd, SHUT_WR);
    if (!closed && !local_gone && !(remote_ended && job->in_ended))
        return LIBSSH2_ERROR_EAGAIN;
    job->state = JOB_CLOSING;
    return 0;
}

static int running(struct ssh_job *job, bool *moved) {
    int rc;
    if ((rc = flow_to_channel(&job->in, job->channel, job->session->wire, moved)) || (rc = send_eof_once(job)) ||
        (rc = flow_from_channel(&job->out, job->channel, moved)) ||
        (rc = flow_from_channel(&job->err, job->channel, moved)))
        return rc;
    bool ended = output_ended(job);
    if (job->kind == JOB_FORWARD)
        return end_forward(job, ended);
    return ended ? end_command(job) : LIBSSH2_ERROR_EAGAIN;
}

/* The caller has its answer before this; what is left is between the two SSH ends. */
static int closing(struct ssh_job *job, bool *moved) {
    (void)moved;
    finish(job);
    if (job->channel && libssh2_channel_free(job->channel) == LIBSSH2_ERROR_EAGAIN)
        return LIBSSH2_ERROR_EAGAIN;
    job->channel = NULL;
    job->state = JOB_GONE;
    return 0;
}

static int (*const states[])(struct ssh_job *, bool *moved) = {
    [JOB_WAITING] = waiting, [JOB_OPENING] = opening, [JOB_STARTING] = starting,
    [JOB_RUNNING] = running, [JOB_CLOSING] = closing,
};

/* Nobody waits for an abandoned job: one that has not asked for a channel is over, and what runs is closed. A request
 * cannot be taken back: its reply is awaited first. */
static void abandon(struct ssh_job *job) {
    if (job->state == JOB_WAITING) {
        note_answered(job);
        job->state = JOB_GONE;
    } else if (job->state == JOB_RUNNING) {
        job->state = JOB_CLOSING;
    }
}

/* Also while it is closing: the server counts a command until it has ended there. */
static bool counts_as_command(const struct ssh_job *job) {
    return job->kind == JOB_EXEC && job->state > JOB_WAITING && job->state < JOB_GONE;
}

/* Keeps the session's counts right whatever way a job goes. */
static void count(struct ssh_job *job, bool counted) {
    struct ssh_session *s = job->session;
    s->open_commands += (int)counts_as_command(job) - (int)counted;
    if (job->kind == JOB_EXEC && job->state == JOB_GONE)
        atomic_fetch_sub(&s->commands, 1);
}

int job_step(struct ssh_job *job, bool *moved) {
    bool counted = counts_as_command(job);
    int rc = 0;
    while (rc == 0 && job->state != JOB_GONE) {
        if (atomic_load(&job->abandoned))
            abandon(job);
        enum job_state before = job->state;
        rc = before == JOB_GONE ? 0 : states[before](job, moved);
        *moved |= job->state != before;
    }
    count(job, counted);
    return rc == LIBSSH2_ERROR_EAGAIN ? 0 : rc;
}

unsigned job_want(const struct ssh_job *job, const struct wire *w, struct pollfd *fds) {
    if (job->state != JOB_RUNNING)
        return 0;
    fds[0] = flow_want_source(&job->in, w);
    fds[1] = flow_want_sink(&job->out);
    fds[2] = flow_want_sink(&job->err);
    /* Without events poll(2) still tells when the other end of a forward's socket is closed for good. */
    if (job->kind == JOB_FORWARD && job->in_ended)
        fds[0] = (struct pollfd){.fd = job->in.fd};
    return JOB_POLL_MAX;
}
