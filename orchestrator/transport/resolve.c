/* Names to addresses. getaddrinfo(3) blocks for as long as a name server stays silent and cannot be interrupted,
 * so it works on a thread of its own, which is left to finish alone when its caller's context ends first. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "nestor/buffer.h"
#include "transport/tcp.h"

struct lookup {
    atomic_int refs; /* the caller and the thread; the last one frees */
    char *host;
    char port[8];
    int done; /* eventfd */
    int rc, errnum;
    struct addrinfo *found;
};

static const struct addrinfo stream_hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};

static void lookup_release(struct lookup *l) {
    if (atomic_fetch_sub(&l->refs, 1) > 1)
        return;
    if (l->found)
        freeaddrinfo(l->found);
    close(l->done);
    free(l->host);
    free(l);
}

static void lookup_releasep(struct lookup **l) { lookup_release(*l); }

static void *lookup_main(void *arg) {
    struct lookup *l = arg;
    l->rc = getaddrinfo(l->host, l->port, &stream_hints, &l->found);
    l->errnum = errno;
    uint64_t one = 1;
    ssize_t ignored = write(l->done, &one, sizeof one);
    (void)ignored;
    lookup_release(l);
    return NULL;
}

static int thread_start(struct lookup *l) {
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
    atomic_fetch_add(&l->refs, 1);
    int rc = pthread_create(&thread, &attr, lookup_main, l);
    if (rc)
        atomic_fetch_sub(&l->refs, 1);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return rc;
}

static int resolve_error(int rc, int errnum, const char *host, struct error *err) {
    if (rc == EAI_SYSTEM)
        return error_set_errno(err, errnum, host, "cannot resolve the name");
    error_set(err, ERR_UNREACHABLE, host, "cannot resolve the name: %s", gai_strerror(rc));
    if (rc == EAI_AGAIN)
        error_retry(err);
    return error_mend(err, "check the name and this machine's DNS settings");
}

static int lookup_wait(struct lookup *l, struct addrinfo **ret, const struct context *ctx, struct error *err) {
    struct pollfd done = {.fd = l->done, .events = POLLIN};
    if (context_poll(ctx, &done, 1, -1, l->host, "resolving its name", err) < 0)
        return -1;
    uint64_t count;
    if (read(l->done, &count, sizeof count) < 0)
        return error_set_errno(err, errno, l->host, "cannot resolve the name");
    if (l->rc)
        return resolve_error(l->rc, l->errnum, l->host, err);
    *ret = steal_ptr(&l->found);
    return 0;
}

int tcp_resolve(const char *host, uint16_t port, struct addrinfo **ret, const struct context *ctx, struct error *err) {
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo numeric = stream_hints;
    numeric.ai_flags = AI_NUMERICHOST;
    if (getaddrinfo(host, service, &numeric, ret) == 0)
        return 0;
    int done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (done < 0)
        return error_set_errno(err, errno, host, "cannot make an event descriptor");
    __attribute__((cleanup(lookup_releasep))) struct lookup *l = xcalloc(1, sizeof *l);
    atomic_init(&l->refs, 1);
    l->host = xstrdup(host);
    memcpy(l->port, service, sizeof service);
    l->done = done;
    int rc = thread_start(l);
    if (rc)
        return error_set_errno(err, rc, host, "cannot start a thread");
    return lookup_wait(l, ret, ctx, err);
}
