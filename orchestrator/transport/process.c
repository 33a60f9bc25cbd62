/* Local processes: started with posix_spawn in a group of their own, followed through a pidfd, never left behind. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "transport/stdio.h"

/* How long a killed process may take to vanish; only one stuck in the kernel needs longer. */
#define REAP_MS 5000

struct process {
    pid_t pid; /* 0 once reaped */
    int pidfd;
};

/* Our end and the child's end of one of its three streams. */
struct stream {
    int ours, theirs;
};

static int stream_open(struct stream *s, bool to_child, struct error *err) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        return error_set_errno(err, errno, NULL, "cannot make a pipe");
    s->ours = fds[to_child];
    s->theirs = fds[!to_child];
    /* Only our end: the file status flags of the child's are what the child expects, blocking. */
    if (fcntl(s->ours, F_SETFL, O_NONBLOCK))
        return error_set_errno(err, errno, NULL, "cannot prepare a pipe");
    return 0;
}

static void streams_close(struct stream (*streams)[3]) {
    for (int i = 0; i < 3; i++) {
        cleanup_closep(&(*streams)[i].ours);
        cleanup_closep(&(*streams)[i].theirs);
    }
}

/* A child starts with the default signals, none blocked, in its own process group so that all of it can be killed,
 * and with no descriptor but its three streams: what nestor itself inherited is closed too. */
static int spawn(const char *const argv[], const struct stream streams[3], pid_t *ret) {
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t actions;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    for (int i = 0; i < 3; i++)
        posix_spawn_file_actions_adddup2(&actions, streams[i].theirs, i);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    int rc = posix_spawnp(ret, argv[0], &actions, &attr, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return rc;
}

static int spawn_error(int errnum, const char *program, struct error *err) {
    if (errnum != ENOENT)
        return error_set_errno(err, errnum, program, "cannot start it");
    error_set(err, ERR_MISSING_PROGRAM, program, "the program %s is not installed or not in PATH", program);
    if (err)
        err->native = errnum;
    return error_mend(err, "install the package that brings %s, then run the same command again", program);
}

/* Streams whose ends happen to be 0, 1 or 2 (nestor was started with one of them closed) would overwrite each
 * other in the child, so they are moved up. */
static int stream_above_stdio(struct stream *s, struct error *err) {
    while (s->theirs <= STDERR_FILENO) {
        int moved = fcntl(s->theirs, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (moved < 0)
            return error_set_errno(err, errno, NULL, "cannot prepare a pipe");
        close(s->theirs);
        s->theirs = moved;
    }
    return 0;
}

static int process_start(const char *const argv[], struct stdio *ret_stdio, struct process *ret, struct error *err) {
    __attribute__((cleanup(streams_close))) struct stream streams[3] = {{-1, -1}, {-1, -1}, {-1, -1}};
    for (int i = 0; i < 3; i++)
        if (stream_open(&streams[i], i == STDIN_FILENO, err) || stream_above_stdio(&streams[i], err))
            return -1;
    int rc = spawn(argv, streams, &ret->pid);
    if (rc)
        return spawn_error(rc, argv[0], err);
    ret_stdio->in = steal_fd(&streams[STDIN_FILENO].ours);
    ret_stdio->out = steal_fd(&streams[STDOUT_FILENO].ours);
    ret_stdio->err = steal_fd(&streams[STDERR_FILENO].ours);
    /* The child is not reaped before this, so its pid cannot be another process's. */
    ret->pidfd = pidfd_open(ret->pid, 0);
    if (ret->pidfd < 0)
        return error_set_errno(err, errno, argv[0], "cannot follow the process");
    ret_stdio->ended = ret->pidfd;
    return 0;
}

/* For every way out but the process's own end: nothing of its group stays. */
static void process_kill(struct process *p) {
    if (p->pid > 0) {
        kill(-p->pid, SIGKILL);
        struct pollfd gone = {.fd = p->pidfd, .events = POLLIN};
        if (p->pidfd < 0 || poll(&gone, 1, REAP_MS) > 0)
            waitpid(p->pid, NULL, 0);
    }
    cleanup_closep(&p->pidfd);
}

static int process_reap(struct process *p, const char *subject, int *ret_status, struct error *err) {
    int status;
    pid_t reaped;
    do
        reaped = waitpid(p->pid, &status, 0);
    while (reaped < 0 && errno == EINTR);
    if (reaped < 0)
        return error_set_errno(err, errno, subject, "cannot learn how the process ended");
    p->pid = 0;
    *ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return 0;
}

int process_run(const char *const argv[], const struct command *io, struct command_result *ret,
                const struct context *ctx, struct error *err) {
    const char *subject = argv[0];
    if (context_check(ctx, subject, "starting a command", err))
        return -1;
    __attribute__((cleanup(process_kill))) struct process p = {.pidfd = -1};
    cleanup_stdio struct stdio s = {.in = -1, .out = -1, .err = -1, .ended = -1};
    cleanup_command_result struct command_result r = {0};
    if (process_start(argv, &s, &p, err) || stdio_run(&s, io, &r, subject, ctx, err) ||
        process_reap(&p, subject, &r.status, err))
        return -1;
    *ret = r;
    r = (struct command_result){0};
    return 0;
}
