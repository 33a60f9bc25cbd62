/* One nestor at a time on a lab: flock(2) on a file that stays. Removing it would let a second process lock the
 * removed file while a third locks its successor. */
#include "nestor/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nestor/file.h"
#include "state/state_priv.h"

#define POLL_MS 100

static int open_lock_file(const char *home, const char *lab, struct error *err) {
    cleanup_free char *folder = xasprintf("%s/locks", home);
    if (dir_make(folder, 0700, NULL, err))
        return -1;
    cleanup_free char *path = xasprintf("%s/%s.lock", folder, lab);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 ? error_set_errno(err, errno, path, "cannot open the lab's lock file") : fd;
}

/* Says who we are to those who find it locked. Only a help for them: not to be able to write it is no failure. */
static void sign(int fd, const char *verb) {
    char line[64];
    int n = snprintf(line, sizeof line, "%d %s\n", (int)getpid(), verb);
    if (n >= (int)sizeof line)
        n = sizeof line - 1;
    bool whole = ftruncate(fd, 0) == 0 && pwrite(fd, line, (size_t)n, 0) == n;
    (void)whole;
}

/* "process 4242 (nestor up)". A dead process's line was left by a kill, before the holder's own was written. */
static void read_signature(int fd, char *out, size_t size) {
    char line[64] = "", *verb;
    ssize_t n = pread(fd, line, sizeof line - 1, 0);
    line[n > 0 ? n : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    long pid = strtol(line, &verb, 10);
    if (*verb == ' ' && pid > 0 && pid <= INT_MAX && (kill((pid_t)pid, 0) == 0 || errno == EPERM))
        snprintf(out, size, "process %ld (%s)", pid, verb + 1);
    else
        snprintf(out, size, "another process");
}

static int error_held(int fd, const char *lab, struct error *err) {
    char who[96];
    read_signature(fd, who, sizeof who);
    error_set(err, ERR_LOCKED, lab, "%s is working on it", who);
    error_mend(err, "wait until it has ended, then run the same command again");
    return error_retry(err);
}

static int wait_for_lock(int fd, const char *lab, const struct context *ctx, struct error *err) {
    for (;;) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set_errno(err, errno, lab, "cannot lock the lab");
        struct error why = {0};
        if (context_sleep(ctx, POLL_MS, lab, "waiting for the lab's lock", &why) == 0)
            continue;
        if (why.code == ERR_TIMEOUT)
            return error_held(fd, lab, err);
        if (err)
            *err = why;
        return -1;
    }
}

int lab_lock_take(const char *home, const char *lab, const char *verb, struct lab_lock *ret, const struct context *ctx,
                  struct error *err) {
    cleanup_close int fd = open_lock_file(home, lab, err);
    if (fd < 0 || wait_for_lock(fd, lab, ctx, err))
        return -1;
    sign(fd, verb);
    ret->fd = steal_fd(&fd);
    return 0;
}

void lab_lock_release(struct lab_lock *lock) {
    if (!lock || lock->fd < 0)
        return;
    close(lock->fd);
    lock->fd = -1;
}
