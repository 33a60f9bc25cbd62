#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
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

static bool read_cmdline(pid_t pid, struct buffer *ret) {
    char name[32];
    snprintf(name, sizeof name, "/proc/%d/cmdline", (int)pid);
    for (int i = 0; i < EXECVE_TRIES; i++) {
        if (file_read(AT_FDCWD, name, CMDLINE_MAX_BYTES, ret, NULL, NULL))
            return false;
        if (ret->len || !is_changing_program(pid))
            break;
        usleep(EXECVE_WAIT_US);
    }
    return ret->len > 0;
}

/* False when it is not ours, or is gone. */
static bool process_read(pid_t pid, struct arena *arena, struct qemu_process *ret) {
    cleanup_buffer struct buffer text = {0};
    if (!read_cmdline(pid, &text))
        return false;
    ret->pid = pid;
    return qemu_process_parse(text.data, text.len, arena, ret);
}

int qemu_process_list(struct qemu_process_list *ret, const char *subject, struct error *err) {
    DIR *d = opendir("/proc");
    if (!d)
        return error_set_errno(err, errno, subject, "cannot read /proc");
    struct qemu_process_list l = {0};
    size_t room = 0;
    for (struct dirent *e; (e = readdir(d));) {
        struct qemu_process p;
        if (!isdigit((unsigned char)e->d_name[0]) || !process_read((pid_t)atoi(e->d_name), &l.arena, &p))
            continue;
        if (l.n == room)
            l.items = xrealloc(l.items, (room = room ? room * 2 : 16) * sizeof *l.items);
        l.items[l.n++] = p;
    }
    closedir(d);
    *ret = l;
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
 * again once the pidfd is held. */
static int open_pidfd(const struct vm *vm, pid_t pid) {
    cleanup_close int fd = pidfd_open(pid, 0);
    struct arena arena = {0};
    struct qemu_process p;
    bool same = fd >= 0 && process_read(pid, &arena, &p) && is_of(vm, &p);
    arena_free(&arena);
    return same ? steal_fd(&fd) : -1;
}

int vm_pidfd(const struct vm *vm, int *ret_fd, struct error *err) {
    enum life life = LIFE_NONE;
    int fd = -1;
    do {
        pid_t pid = 0;
        if (vm_look(vm, &life, &pid, err))
            return -1;
        if (life != LIFE_NONE)
            fd = open_pidfd(vm, pid);
        /* It ended between the two looks: the next scan finds none. */
    } while (life != LIFE_NONE && fd < 0);
    *ret_fd = fd;
    return 0;
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
        if (vm_pidfd(vm, &fd, err))
            return -1;
        if (fd < 0)
            return 0;
        if (end_one(vm, fd, grace_ms, ctx, err))
            return -1;
    }
}
