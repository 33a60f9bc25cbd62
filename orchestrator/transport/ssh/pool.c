/* The sessions of one access: nearly always one, and more only where libssh2 or the server would make jobs wait for
 * each other.
 *
 *   - While a forward's opening is unanswered, nothing else can be requested on its session (see job.c). To an address
 *     where nobody answers that takes until the server's own connect(2) gives up: seconds, or minutes.
 *   - A server allows so many commands at once on a connection. Those whose callers have gone still count until they
 *     end, which only the server knows: it refuses the next one.
 *
 * So a job goes to the first session that takes it at once; if there is none, one more is connected for it.
 */
#include <stdlib.h>
#include <string.h>

#include "transport/ssh/hostkey.h"
#include "transport/ssh/session.h"

/* One more session is a convenience: its job waits elsewhere when it cannot be had soon. */
#define GROW_MS 20000

struct ssh_pool {
    struct access *parent;
    struct ssh_target target; /* copies, the key wiped at the end */
    struct ssh_keepalive keepalive;

    pthread_mutex_t lock;
    pthread_cond_t idle; /* users became 0 */
    int users;           /* calls inside ssh_pool_submit: closing waits for them, they may be connecting */
    struct ssh_session *sessions[SSH_SESSIONS_MAX]; /* filled from the front */
    size_t nsessions;
    bool growing; /* somebody connects one more; the others do not wait for it */
};

static char *copy(const char *s) { return s ? xstrdup(s) : NULL; }

static struct ssh_target target_copy(const struct ssh_target *t) {
    return (struct ssh_target){
        .subject = copy(t->subject),
        .host = copy(t->host),
        .port = t->port,
        .user = copy(t->user),
        .host_key = copy(t->host_key),
        .private_key = copy(t->private_key),
        .greeting_ms = t->greeting_ms,
    };
}

static void target_free(struct ssh_target *t) {
    if (t->private_key)
        explicit_bzero((char *)t->private_key, strlen(t->private_key));
    free((char *)t->subject);
    free((char *)t->host);
    free((char *)t->user);
    free((char *)t->host_key);
    free((char *)t->private_key);
}

/* A socket to a server that has begun to speak: servers do so without being asked (RFC 4253, 4.2). Until then there may
 * be only a port forward that accepts for a machine which does not listen yet. */
static int dial(const struct ssh_pool *p, int *ret_fd, const struct context *ctx, struct error *err) {
    const struct ssh_target *t = &p->target;
    struct context soon = t->greeting_ms ? context_timeout(ctx, t->greeting_ms) : *ctx;
    cleanup_close int fd = -1;
    if (access_dial(p->parent, t->host, t->port, &fd, &soon, err))
        return error_subject(err, t->subject);
    struct pollfd greeting = {.fd = fd, .events = POLLIN};
    if (t->greeting_ms && context_poll(&soon, &greeting, 1, -1, t->subject, "waiting for its SSH server", err) < 0)
        return -1;
    *ret_fd = steal_fd(&fd);
    return 0;
}

static int connect_one(struct ssh_pool *p, struct ssh_session **ret, const struct context *ctx, struct error *err) {
    const struct ssh_target *t = &p->target;
    int fd = -1;
    struct wire *w;
    if (dial(p, &fd, ctx, err) || ssh_connect(fd, t, &w, ctx, err))
        return -1;
    return ssh_session_start(w, t->subject, p->keepalive, ret, err);
}

/* --- which session --- */

static bool takes_at_once(const struct ssh_session *s, enum job_kind kind) {
    if (atomic_load(&s->unanswered_forwards) > 0)
        return false;
    return kind == JOB_FORWARD ||
           (atomic_load(&s->commands) < SSH_COMMANDS_MAX && clock_ms() >= atomic_load(&s->full_until));
}

static int load_of(const struct ssh_session *s) {
    return atomic_load(&s->commands) + atomic_load(&s->unanswered_forwards);
}

/* The first that takes it at once, else the least busy; *ret_at_once tells which. NULL: none is alive. */
static struct ssh_session *choose(struct ssh_pool *p, enum job_kind kind, bool *ret_at_once) {
    struct ssh_session *best = NULL;
    *ret_at_once = false;
    for (size_t i = 0; i < p->nsessions; i++) {
        struct ssh_session *s = p->sessions[i];
        if (!ssh_session_alive(s))
            continue;
        *ret_at_once = takes_at_once(s, kind);
        if (*ret_at_once)
            return s;
        if (!best || load_of(s) < load_of(best))
            best = s;
    }
    return best;
}

/* --- one more --- */

/* Index of a place for one more session: a dead one's or a new one. SSH_SESSIONS_MAX: none. The first session stays
 * even when dead: it knows why. */
static size_t place(const struct ssh_pool *p) {
    for (size_t i = 1; i < p->nsessions; i++)
        if (!ssh_session_alive(p->sessions[i]))
            return i;
    return p->nsessions;
}

static void put_session(struct ssh_pool *p, struct ssh_session *s) {
    size_t i = place(p);
    if (i < p->nsessions)
        ssh_session_stop(p->sessions[i]); /* its thread has ended */
    else
        p->nsessions++;
    p->sessions[i] = s;
}

/* Called and returns with the lock held, but connects without it. */
static void grow(struct ssh_pool *p, const struct context *ctx) {
    struct ssh_session *s;
    if (p->growing || place(p) == SSH_SESSIONS_MAX)
        return;
    p->growing = true;
    pthread_mutex_unlock(&p->lock);
    struct context soon = context_timeout(ctx, GROW_MS);
    int rc = connect_one(p, &s, &soon, NULL);
    pthread_mutex_lock(&p->lock);
    p->growing = false;
    if (rc == 0)
        put_session(p, s);
}

static int submit_locked(struct ssh_pool *p, struct ssh_job *job, const struct context *ctx, struct error *err) {
    bool at_once;
    struct ssh_session *s = choose(p, job->kind, &at_once);
    if (s && !at_once) {
        grow(p, ctx);
        s = choose(p, job->kind, &at_once);
    }
    return ssh_session_submit(s ? s : p->sessions[0], job, err);
}

int ssh_pool_submit(struct ssh_pool *p, struct ssh_job *job, const struct context *ctx, struct error *err) {
    pthread_mutex_lock(&p->lock);
    p->users++;
    int rc = submit_locked(p, job, ctx, err);
    if (--p->users == 0)
        pthread_cond_broadcast(&p->idle);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

bool ssh_pool_alive(struct ssh_pool *p) {
    bool at_once;
    pthread_mutex_lock(&p->lock);
    bool alive = choose(p, JOB_EXEC, &at_once) != NULL;
    pthread_mutex_unlock(&p->lock);
    return alive;
}

const char *ssh_pool_subject(const struct ssh_pool *p) { return p->target.subject; }

int ssh_pool_open(struct access *parent, const struct ssh_target *target, struct ssh_keepalive keepalive,
                  struct ssh_pool **ret, const struct context *ctx, struct error *err) {
    struct hostkey pinned; /* known to be good before anything goes over the network */
    if (hostkey_parse(target->host_key, &pinned, target->subject, err))
        return -1;
    struct ssh_pool *p = xcalloc(1, sizeof *p);
    p->parent = parent;
    p->target = target_copy(target);
    p->keepalive = keepalive;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->idle, NULL);
    if (connect_one(p, &p->sessions[0], ctx, err)) {
        ssh_pool_close(p);
        return -1;
    }
    p->nsessions = 1;
    *ret = p;
    return 0;
}

void ssh_pool_close(struct ssh_pool *p) {
    pthread_mutex_lock(&p->lock);
    while (p->users > 0)
        pthread_cond_wait(&p->idle, &p->lock);
    pthread_mutex_unlock(&p->lock);
    while (p->nsessions > 0)
        ssh_session_stop(p->sessions[--p->nsessions]);
    pthread_cond_destroy(&p->idle);
    pthread_mutex_destroy(&p->lock);
    target_free(&p->target);
    free(p);
}
