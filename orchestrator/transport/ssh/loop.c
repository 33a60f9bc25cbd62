/* The session's own thread: one poll loop which moves all jobs. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "transport/ssh/session.h"

static void set_lost(struct ssh_session *s, struct error *e, const char *cause, const char *detail) {
    error_set(e, ERR_UNREACHABLE, s->subject, "%s%s%s", cause, detail ? ": " : "", detail ? detail : "");
    error_mend(e, "the connection is made anew by the same command; if it stays, look at the machine's console (nestor "
                  "console)");
    error_retry(e);
}

static void set_lost_by_peer(struct ssh_session *s, int rc, struct error *e) {
    const struct wire *w = s->wire;
    char *message = NULL;
    libssh2_session_last_error(w->session, &message, NULL, 0);
    /* A peer that dies with bytes of ours unread resets the connection instead of closing it. */
    bool reset = w->errnum == ECONNRESET || w->errnum == EPIPE;
    if (w->ended && w->errnum && !reset)
        set_lost(s, e, "the connection was lost", strerror(w->errnum));
    else if (w->ended || rc == LIBSSH2_ERROR_SOCKET_DISCONNECT)
        set_lost(s, e, "the connection was closed by the other side", NULL);
    else
        set_lost(s, e, "the SSH session failed", message);
    e->native = rc;
}

void ssh_session_wake(struct ssh_session *s) {
    uint64_t one = 1;
    ssize_t ignored = write(s->wake, &one, sizeof one);
    (void)ignored;
}

/* --- the thread --- */

/* Moves what callers submitted behind the jobs that are here. Returns false when the session is to stop. */
static bool take_submitted(struct ssh_session *s) {
    pthread_mutex_lock(&s->lock);
    struct ssh_job *newest = s->submitted, *oldest = NULL;
    s->submitted = NULL;
    bool stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    while (newest) { /* reverses */
        struct ssh_job *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    struct ssh_job **tail = &s->jobs;
    while (*tail)
        tail = &(*tail)->next;
    *tail = oldest;
    return !stop;
}

static void drop_gone(struct ssh_session *s) {
    for (struct ssh_job **at = &s->jobs; *at;) {
        struct ssh_job *job = *at;
        if (job->state != JOB_GONE) {
            at = &job->next;
            continue;
        }
        *at = job->next;
        job_release(job);
    }
}

static int step_all(struct ssh_session *s, bool *moved) {
    for (struct ssh_job *job = s->jobs; job; job = job->next) {
        int rc = job_step(job, moved);
        if (rc)
            return rc;
    }
    drop_gone(s);
    return 0;
}

/* A silent peer is asked for an answer: an SSH request that every server answers, if only to say that it does not
 * know it. Returns false when it was asked and stayed silent. */
static bool peer_lives(struct ssh_session *s) {
    struct wire *w = s->wire;
    int64_t now = clock_ms();
    if (s->pinged_at && w->heard_at >= s->pinged_at)
        s->pinged_at = 0;
    if (wire_in_full(w)) { /* it is we who do not listen */
        w->heard_at = now;
        s->pinged_at = 0;
    }
    if (s->pinged_at)
        return now - s->pinged_at < s->keepalive.dead_ms;
    if (now - w->heard_at < s->keepalive.ping_ms)
        return true;
    /* libssh2 sends none within two seconds of the last (keepalive.c): only what was sent can be answered. */
    size_t queued = wire_queued(w);
    libssh2_keepalive_send(w->session, NULL);
    if (wire_queued(w) > queued)
        s->pinged_at = now;
    return true;
}

static int ms_to_next_look(const struct ssh_session *s) {
    int64_t at = s->pinged_at ? s->pinged_at + s->keepalive.dead_ms : s->wire->heard_at + s->keepalive.ping_ms;
    int64_t left = at - clock_ms();
    /* At least a little: when a ping was due and could not be sent yet. */
    return left < 50 ? 50 : (int)left;
}

static void wait_for_work(struct ssh_session *s, bool moved) {
    unsigned jobs = 0, n = 2;
    for (const struct ssh_job *job = s->jobs; job; job = job->next)
        jobs++;
    cleanup_free struct pollfd *fds = xcalloc(2 + jobs * JOB_POLL_MAX, sizeof *fds);
    fds[0] = (struct pollfd){.fd = s->wake, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = s->wire->fd, .events = wire_events(s->wire)};
    for (const struct ssh_job *job = s->jobs; job; job = job->next)
        n += job_want(job, s->wire, fds + n);
    poll(fds, n, moved ? 0 : ms_to_next_look(s));
    uint64_t count;
    if (fds[0].revents && read(s->wake, &count, sizeof count) < 0)
        return; /* it was not readable after all */
}

/* One turn; false when the session is over, with the reason in *e. */
static bool turn(struct ssh_session *s, bool *moved, struct error *e) {
    struct wire *w = s->wire;
    *moved = w->consumed = false;
    wire_receive(w);
    int rc = step_all(s, moved);
    wire_flush(w);
    *moved |= w->consumed;
    bool all_read = w->in_start == w->in_end || !*moved;
    if (rc || (w->ended && all_read)) {
        set_lost_by_peer(s, rc, e);
        return false;
    }
    if (!peer_lives(s)) {
        set_lost(s, e, "the machine does not answer any more", NULL);
        return false;
    }
    wire_flush(w);
    return true;
}

static void run_until_lost(struct ssh_session *s, struct error *e) {
    bool moved = true;
    while (take_submitted(s)) {
        if (!turn(s, &moved, e))
            return;
        wait_for_work(s, moved);
    }
    set_lost(s, e, "the connection was closed by nestor", NULL);
    libssh2_session_disconnect(s->wire->session, "done");
    wire_flush(s->wire);
}

static void *session_main(void *arg) {
    struct ssh_session *s = arg;
    struct error e = {0};
    run_until_lost(s, &e);
    pthread_mutex_lock(&s->lock);
    s->error = e;
    s->dead = true;
    pthread_mutex_unlock(&s->lock);
    take_submitted(s); /* from here on nothing more is submitted */
    for (struct ssh_job *job = s->jobs; job; job = job->next)
        job_fail(job, &e);
    drop_gone(s);
    /* Now, and not when the access is closed: what waits at the other end is to learn of it too. */
    wire_free(s->wire);
    s->wire = NULL;
    return NULL;
}

/* --- for callers --- */

void ssh_session_release(struct ssh_session *s) {
    if (atomic_fetch_sub(&s->refs, 1) > 1)
        return;
    cleanup_closep(&s->wake);
    wire_free(s->wire);
    pthread_mutex_destroy(&s->lock);
    free(s->subject);
    free(s);
}

static int start_thread(struct ssh_session *s) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
    int rc = pthread_create(&s->thread, NULL, session_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

int ssh_session_start(struct wire *w, const char *subject, struct ssh_keepalive keepalive, struct ssh_session **ret,
                      struct error *err) {
    struct ssh_session *s = xcalloc(1, sizeof *s);
    atomic_init(&s->refs, 1);
    s->wire = w;
    s->subject = xstrdup(subject);
    s->keepalive = keepalive;
    pthread_mutex_init(&s->lock, NULL);
    /* When to send is peer_lives' affair; libssh2 only needs some interval to send at all. */
    libssh2_keepalive_config(w->session, 1, 2);
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = s->wake < 0 ? errno : start_thread(s);
    if (rc) {
        ssh_session_release(s);
        return error_set_errno(err, rc, subject, "cannot start a thread for the connection");
    }
    *ret = s;
    return 0;
}

void ssh_session_stop(struct ssh_session *s) {
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_mutex_unlock(&s->lock);
    ssh_session_wake(s);
    pthread_join(s->thread, NULL);
    ssh_session_release(s);
}

int ssh_session_submit(struct ssh_session *s, struct ssh_job *job, struct error *err) {
    pthread_mutex_lock(&s->lock);
    bool dead = s->dead;
    if (!dead) {
        atomic_fetch_add(&s->refs, 1);
        job->session = s;
        atomic_fetch_add(job->kind == JOB_EXEC ? &s->commands : &s->unanswered_forwards, 1);
        atomic_fetch_add(&job->refs, 1);
        job->next = s->submitted;
        s->submitted = job;
    } else if (err) {
        *err = s->error;
    }
    pthread_mutex_unlock(&s->lock);
    if (dead)
        return -1;
    ssh_session_wake(s);
    return 0;
}

bool ssh_session_alive(struct ssh_session *s) {
    pthread_mutex_lock(&s->lock);
    bool alive = !s->dead;
    pthread_mutex_unlock(&s->lock);
    return alive;
}
