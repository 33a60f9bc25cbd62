#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu_priv.h"

/* Our command lines are below 8 KiB; a longer one is cut, and then it is somebody else's. */
#define CMDLINE_MAX_BYTES ((size_t)64 << 10)

/* Loading a program takes well below this; a process that wiped its arguments for good costs a scan no more. */
#define EXECVE_TRIES 20
#define EXECVE_WAIT_US 1000

/* The argument after `option`, NULL if it is not given. `cmdline` ends with a NUL. */
static const char *option_value(const char *cmdline, size_t len, const char *option) {
    for (const char *at = cmdline, *end = cmdline + len; at < end; at += strlen(at) + 1)
        if (strcmp(at, option) == 0 && at + strlen(at) + 1 < end)
            return at + strlen(at) + 1;
    return NULL;
}

bool qemu_process_parse(const char *cmdline, size_t len, struct arena *arena, struct qemu_process *ret) {
    static const char suffix[] = "/" PID_FILE;
    if (!len || cmdline[len - 1])
        return false;
    const char *uuid = option_value(cmdline, len, "-uuid"), *pidfile = option_value(cmdline, len, "-pidfile");
    if (!uuid || !pidfile || strlen(uuid) != 36 || pidfile[0] != '/' || strlen(pidfile) < sizeof suffix)
        return false;
    size_t dir_len = strlen(pidfile) - (sizeof suffix - 1);
    if (strcmp(pidfile + dir_len, suffix) != 0)
        return false;
    memcpy(ret->uuid, uuid, 37);
    ret->dir = arena_strndup(arena, pidfile, dir_len);
    return true;
}

/* Kernel threads and zombies have neither arguments nor a program. A process with a program but no arguments is in
 * the midst of execve: as it is for a moment between our shell, setsid and QEMU. */
static bool is_changing_program(pid_t pid) {
    char name[32], program[1];
    snprintf(name, sizeof name, "/proc/%d/exe", (int)pid);
    return readlink(name, program, sizeof program) > 0;
}

/* No error of a process that is gone, or that may not be looked at. Any other may hide one of ours. */
static int unseen(pid_t pid, const char *subject, struct error *err) {
    if (errno == ENOENT || errno == ESRCH || errno == EACCES || errno == EPERM)
        return 0;
    return error_set_errno(err, errno, subject, "cannot look at the process %d", (int)pid);
}

/* Anybody may give a process of his the arguments of ours. The directory belongs to the effective user of the process,
 * dumpable or not (task_dump_owner in Linux's fs/proc/base.c). */
static int is_our_users(pid_t pid, const char *subject, struct error *err) {
    char name[32];
    struct stat st;
    snprintf(name, sizeof name, "/proc/%d", (int)pid);
    return stat(name, &st) ? unseen(pid, subject, err) : st.st_uid == geteuid();
}

static int read_cmdline(pid_t pid, struct buffer *ret, const char *subject, struct error *err) {
    char name[32];
    snprintf(name, sizeof name, "/proc/%d/cmdline", (int)pid);
    for (int i = 0; i < EXECVE_TRIES; i++) {
        cleanup_close int fd = open(name, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fd_read(fd, CMDLINE_MAX_BYTES, ret)) {
            buffer_clear(ret);
            return unseen(pid, subject, err);
        }
        if (ret->len || !is_changing_program(pid))
            break;
        usleep(EXECVE_WAIT_US);
    }
    return 0;
}

/* 1: it is ours; 0: it is not, or is gone; -1: an error. */
static int process_read(pid_t pid, struct arena *arena, struct qemu_process *ret, const char *subject,
                        struct error *err) {
    cleanup_buffer struct buffer text = {0};
    int ours = is_our_users(pid, subject, err);
    if (ours <= 0)
        return ours;
    if (read_cmdline(pid, &text, subject, err))
        return -1;
    ret->pid = pid;
    return qemu_process_parse(buffer_str(&text), text.len, arena, ret);
}

static int read_all(DIR *d, struct qemu_process_list *l, const char *subject, struct error *err) {
    size_t room = 0;
    int got;
    for (const char *name; (got = dir_next(d, &name)) > 0;) {
        struct qemu_process p;
        int ours = isdigit((unsigned char)name[0]) ? process_read((pid_t)atoi(name), &l->arena, &p, subject, err) : 0;
        if (ours < 0)
            return -1;
        if (ours == 0)
            continue;
        if (l->n == room)
            l->items = xrealloc(l->items, (room = room ? room * 2 : 16) * sizeof *l->items);
        l->items[l->n++] = p;
    }
    return got ? error_set_errno(err, errno, subject, "cannot read /proc") : 0;
}

int qemu_process_list(struct qemu_process_list *ret, const char *subject, struct error *err) {
    cleanup_dir DIR *d = opendir("/proc");
    if (!d)
        return error_set_errno(err, errno, subject, "cannot read /proc");
    cleanup_qemu_process_list struct qemu_process_list l = {0};
    if (read_all(d, &l, subject, err))
        return -1;
    *ret = l;
    l = (struct qemu_process_list){0};
    return 0;
}

void qemu_process_list_free(struct qemu_process_list *l) {
    free(l->items);
    arena_free(&l->arena);
    *l = (struct qemu_process_list){0};
}

/* The UUID still matches after nestor's home was moved, the directory when the record is gone. */
static bool is_of(const struct vm *vm, const struct qemu_process *p) {
    return (vm->known && strcmp(vm->rec.uuid, p->uuid) == 0) || strcmp(vm->dir, p->dir) == 0;
}

enum life vm_life(const struct vm *vm, const struct qemu_process_list *l, pid_t *ret_pid) {
    enum life life = LIFE_NONE;
    for (size_t i = 0; i < l->n && life != LIFE_RUNS; i++) {
        if (!is_of(vm, &l->items[i]))
            continue;
        life = vm->known && l->items[i].pid == vm->rec.launched_pid ? LIFE_RUNS : LIFE_HALF;
        if (ret_pid)
            *ret_pid = l->items[i].pid;
    }
    return life;
}

int vm_look(const struct vm *vm, enum life *ret, pid_t *ret_pid, struct error *err) {
    cleanup_qemu_process_list struct qemu_process_list l = {0};
    if (qemu_process_list(&l, vm->tag.path, err))
        return -1;
    *ret = vm_life(vm, &l, ret_pid);
    return 0;
}

/* A process id may have been given to another process since the scan; a pidfd cannot. So the arguments are read
 * again once the pidfd is held. -1 in *ret_fd: it has ended. */
static int open_pidfd(const struct vm *vm, pid_t pid, int *ret_fd, struct error *err) {
    cleanup_close int fd = pidfd_open(pid, 0);
    if (fd < 0)
        return errno == ESRCH ? 0 : error_set_errno(err, errno, vm->tag.path, "cannot watch its QEMU process");
    struct arena arena = {0};
    struct qemu_process p;
    int ours = process_read(pid, &arena, &p, vm->tag.path, err);
    if (ours > 0 && is_of(vm, &p))
        *ret_fd = steal_fd(&fd);
    arena_free(&arena);
    return ours < 0 ? -1 : 0;
}

int vm_pidfd(const struct vm *vm, int *ret_fd, const struct context *ctx, struct error *err) {
    *ret_fd = -1;
    for (;;) {
        enum life life = LIFE_NONE;
        pid_t pid = 0;
        if (vm_look(vm, &life, &pid, err))
            return -1;
        if (life == LIFE_NONE)
            return 0;
        if (open_pidfd(vm, pid, ret_fd, err))
            return -1;
        if (*ret_fd >= 0)
            return 0;
        /* It ended between the two looks: the next scan finds none. */
        if (context_check(ctx, vm->tag.path, "looking for its QEMU process", err))
            return -1;
    }
}

static int end_one(const struct vm *vm, int fd, int64_t grace_ms, const struct context *ctx, struct error *err) {
    static const char what[] = "waiting for QEMU to end";
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (grace_ms) {
        pidfd_send_signal(fd, SIGTERM, NULL, 0);
        int ended = context_poll(ctx, &p, 1, (int)grace_ms, vm->tag.path, what, err);
        if (ended)
            return ended < 0 ? -1 : 0;
    }
    if (pidfd_send_signal(fd, SIGKILL, NULL, 0) && errno != ESRCH)
        return error_set_errno(err, errno, vm->tag.path, "cannot end its QEMU process");
    return context_poll(ctx, &p, 1, -1, vm->tag.path, what, err) < 0 ? -1 : 0;
}

int vm_end(const struct vm *vm, int64_t grace_ms, const struct context *ctx, struct error *err) {
    for (;;) {
        cleanup_close int fd = -1;
        if (vm_pidfd(vm, &fd, ctx, err))
            return -1;
        if (fd < 0)
            return 0;
        if (end_one(vm, fd, grace_ms, ctx, err))
            return -1;
    }
}
