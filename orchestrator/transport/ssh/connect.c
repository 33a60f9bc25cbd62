/* From a connected socket to an authenticated session, fail-closed: the pinned key or nothing. */
#include <string.h>

#include "transport/ssh/hostkey.h"
#include "transport/ssh/session.h"

struct attempt {
    struct wire *wire;
    const struct ssh_target *target;
    struct hostkey pinned;
};

/* The one waiting place: runs a libssh2 call until it no longer asks to be repeated. Returns the call's result in
 * *ret_rc; -1 only when the context ends or waiting fails. */
typedef int (*ssh_call)(struct attempt *a);

static int repeat(struct attempt *a, ssh_call call, const char *what, int *ret_rc, const struct context *ctx,
                  struct error *err) {
    struct wire *w = a->wire;
    for (;;) {
        bool ended = w->ended;
        *ret_rc = call(a);
        wire_flush(w);
        if (*ret_rc != LIBSSH2_ERROR_EAGAIN || ended)
            return 0;
        struct pollfd wait = {.fd = w->fd, .events = wire_events(w)};
        if (context_poll(ctx, &wait, 1, -1, a->target->subject, what, err) < 0)
            return -1;
        wire_receive(w);
    }
}

/* RFC 4253, 4.2 lets a server say other lines before its banner. No SSH server of a guest does, while a web server
 * or a proxy that answers in its place does: "SSH-" must come first. */
static bool speaks_ssh(const struct wire *w) {
    static const char start[] = "SSH-";
    size_t n = w->head_len < sizeof start - 1 ? w->head_len : sizeof start - 1;
    return memcmp(w->head, start, n) == 0;
}

static int call_handshake(struct attempt *a) {
    if (!speaks_ssh(a->wire))
        return LIBSSH2_ERROR_BANNER_RECV;
    return libssh2_session_handshake(a->wire->session, a->wire->fd);
}

static int call_auth(struct attempt *a) {
    const struct ssh_target *t = a->target;
    return libssh2_userauth_publickey_frommemory(a->wire->session, t->user, strlen(t->user), NULL, 0, t->private_key,
                                                 strlen(t->private_key), NULL);
}

static const char *last_message(struct wire *w) {
    char *message = NULL;
    libssh2_session_last_error(w->session, &message, NULL, 0);
    return message && message[0] ? message : "no reason given";
}

static int lost(struct attempt *a, const char *when, struct error *err) {
    error_set(err, ERR_UNREACHABLE, a->target->subject, "the other side closed the connection %s", when);
    error_mend(err, "wait until the machine has booted; if it stays, look at its console (nestor console)");
    return error_retry(err);
}

static int garbage(struct attempt *a, struct error *err) {
    error_set(err, ERR_PROTOCOL, a->target->subject, "what answers at %s:%u does not speak SSH", a->target->host,
              a->target->port);
    error_mend(err, "see that the port belongs to the machine's SSH server");
    return error_retry(err);
}

static int key_changed(struct attempt *a, const char *cause, struct error *err) {
    error_set(err, ERR_HOST_KEY_CHANGED, a->target->subject, "%s", cause);
    return error_mend(err,
                      "either another machine answers at %s:%u, or this one was rebuilt outside nestor: run "
                      "'nestor down' and then 'nestor up' for it",
                      a->target->host, a->target->port);
}

static int handshake_error(struct attempt *a, int rc, struct error *err) {
    struct wire *w = a->wire;
    if (!speaks_ssh(w))
        garbage(a, err);
    else if (!hostkey_may_be_offered(w->head, w->head_len, a->pinned.type))
        key_changed(a, "the host offers no key of the recorded key's type", err);
    else if (w->ended && rc != LIBSSH2_ERROR_KEX_FAILURE) /* without common algorithms a server closes as well */
        lost(a, w->head_len ? "while keys were exchanged" : "before it said anything", err);
    else {
        error_set(err, ERR_PROTOCOL, a->target->subject, "the SSH handshake failed: %s", last_message(w));
        error_mend(err, "see that its SSH server is a recent one: both sides must know a common set of algorithms");
        error_retry(err);
    }
    if (err)
        err->native = rc;
    return -1;
}

static int handshake(struct attempt *a, const struct context *ctx, struct error *err) {
    int rc;
    /* Asking for the pinned key's type only: a server with several keys must show this one. */
    if (libssh2_session_method_pref(a->wire->session, LIBSSH2_METHOD_HOSTKEY, a->pinned.type))
        return error_set(err, ERR_UNSUPPORTED, a->target->subject, "host keys of type %s are not supported",
                         a->pinned.type);
    if (repeat(a, call_handshake, "waiting for its SSH server", &rc, ctx, err))
        return -1;
    if (rc)
        return handshake_error(a, rc, err);
    size_t len;
    int type;
    const char *blob = libssh2_session_hostkey(a->wire->session, &len, &type);
    if (!hostkey_equal(&a->pinned, blob, len))
        return key_changed(a, "the host proved to have another key than the recorded one", err);
    return 0;
}

static int auth_error(struct attempt *a, int rc, struct error *err) {
    const struct ssh_target *t = a->target;
    if (rc == LIBSSH2_ERROR_AUTHENTICATION_FAILED || rc == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED) {
        error_set(err, ERR_AUTH, t->subject, "its SSH server refuses nestor's key for the user %s", t->user);
        error_mend(err, "wait until cloud-init has put the key there; else see that the image runs cloud-init");
        error_retry(err);
    } else if (a->wire->ended || rc == LIBSSH2_ERROR_SOCKET_DISCONNECT) {
        lost(a, "while the user logged in", err);
    } else {
        error_set(err, ERR_AUTH, t->subject, "logging in as %s failed: %s", t->user, last_message(a->wire));
    }
    if (err)
        err->native = rc;
    return -1;
}

static int authenticate(struct attempt *a, const struct context *ctx, struct error *err) {
    int rc;
    if (repeat(a, call_auth, "logging in", &rc, ctx, err))
        return -1;
    return rc ? auth_error(a, rc, err) : 0;
}

int ssh_connect(int fd, const struct ssh_target *target, struct wire **ret, const struct context *ctx,
                struct error *err) {
    cleanup_close int socket = fd;
    struct attempt a = {.target = target};
    if (hostkey_parse(target->host_key, &a.pinned, target->subject, err))
        return -1;
    a.wire = wire_new(steal_fd(&socket));
    if (!a.wire)
        return error_set(err, ERR_INTERNAL, target->subject, "libssh2 cannot make a session");
    if (handshake(&a, ctx, err) || authenticate(&a, ctx, err)) {
        wire_free(a.wire);
        return -1;
    }
    *ret = a.wire;
    return 0;
}
