#include <signal.h>
#include <time.h>

#include "transport/stdio.h"

static bool pipe_pending(void) {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGPIPE) == 1;
}

static void only_sigpipe(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGPIPE);
}

struct sigpipe_guard sigpipe_block(void) {
    sigset_t set, old;
    only_sigpipe(&set);
    struct sigpipe_guard g = {.was_pending = pipe_pending()};
    pthread_sigmask(SIG_BLOCK, &set, &old);
    g.was_blocked = sigismember(&old, SIGPIPE) == 1;
    return g;
}

void sigpipe_restore(struct sigpipe_guard *g) {
    sigset_t set;
    only_sigpipe(&set);
    /* SIGPIPE goes to the thread that wrote, so what is pending now and was not before is ours to take. */
    if (!g->was_pending && pipe_pending())
        sigtimedwait(&set, NULL, &(struct timespec){0});
    if (!g->was_blocked)
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
