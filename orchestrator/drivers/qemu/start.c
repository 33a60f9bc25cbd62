#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu_priv.h"

/* How long QEMU may take until its control socket serves us: set-up takes a fraction of a second, but ten of them
 * may start at once on a busy machine. */
#define READY_MS 60000
/* The same for one found half started: it had its time, and is easily replaced. */
#define CARRY_ON_MS 3000
#define RETRY_MS 20
/* The budget for ending a QEMU whose start failed; the caller's may be used up. */
#define CLEANUP_MS 5000
#define LOG_TAIL_BYTES 400

/* QEMU in a session of its own outlives nestor and its terminal. Its messages are kept in a file, since they are the
 * only explanation when it dies later. -daemonize is not used: it forks, which the seccomp fence forbids. */
static const char launcher[] = "cd \"$1\" || exit 1\n"
                               "shift\n"
                               "umask 077\n"
                               "command -v \"$1\" >/dev/null || exit 127\n"
                               "setsid \"$@\" </dev/null >" LOG_FILE " 2>&1 &\n";

static int spawn(const struct hypervisor *hv, const struct vm *vm, const struct accel *accel, const struct context *ctx,
                 struct error *err) {
    cleanup_launch struct launch l = {.argv = {"sh", "-c", launcher, "sh", vm->dir}, .n = 5};
    launch_build(&l, hv, vm, accel);
    cleanup_command_result struct command_result result = {0};
    if (process_run(l.argv, &COMMAND(NULL), &result, ctx, err))
        return -1;
    if (result.status == 127) {
        error_set(err, ERR_MISSING_PROGRAM, vm->tag.path, "the program %s is not installed or not in PATH", hv->binary);
        return error_mend(err, "apt-get install qemu-system-x86");
    }
    if (result.status)
        return error_set(err, ERR_PROCESS, vm->tag.path, "cannot start %s in %s: %s", hv->binary, vm->dir,
                         buffer_str(&result.err));
    return 0;
}

/* The cause is what QEMU said last. */
static int died_starting(const struct vm *vm, struct error *err) {
    cleanup_buffer struct buffer log = {0};
    vm_log_tail(vm, LOG_FILE, LOG_TAIL_BYTES, &log);
    error_set(err, ERR_PROCESS, vm->tag.path, "QEMU ended while starting: %s", log.len ? log.data : "it said nothing");
    return error_mend(err, "correct what it complains about (the host's parameters, or memory); all of it is in %s/%s",
                      vm->dir, LOG_FILE);
}

static bool nobody_listens(const struct error *err) {
    return err->code == ERR_CONNECT_REFUSED || err->code == ERR_NOT_FOUND || err->code == ERR_UNREACHABLE;
}

/* Connects as soon as QEMU listens; told apart from one that died by its pidfd. */
static int connect_when_ready(const struct vm *vm, struct qmp **ret, const struct context *ctx, struct error *err) {
    cleanup_close int pidfd = -1;
    if (vm_pidfd(vm, &pidfd, ctx, err))
        return -1;
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    while (pidfd >= 0) {
        struct error e = {.code = ERR_NONE};
        if (qmp_connect(vm->fd, SOCKET_FILE, vm->tag.path, ret, ctx, &e) == 0)
            return 0;
        if (!nobody_listens(&e)) {
            if (err)
                *err = e;
            return -1;
        }
        int n = context_poll(ctx, &ended, 1, RETRY_MS, vm->tag.path, "waiting for QEMU to listen", err);
        if (n < 0)
            return -1;
        if (n > 0)
            break;
    }
    return died_starting(vm, err);
}

/* The QOM path of the first CPU, into path. */
static int find_cpu(struct qmp *q, const char *subject, char **ret, const struct context *ctx, struct error *err) {
    json_t *cpus = NULL;
    if (qmp_execute(q, "query-cpus-fast", NULL, &cpus, ctx, err))
        return -1;
    const char *path = json_string_value(json_object_get(json_array_get(cpus, 0), "qom-path"));
    if (path)
        *ret = xstrdup(path);
    json_decref(cpus);
    return path ? 0 : error_set(err, ERR_PROTOCOL, subject, "QEMU does not say where its CPU is");
}

static int read_cpu_flag(struct qmp *q, const char *cpu, const char *flag, bool *ret, const struct context *ctx,
                         struct error *err) {
    json_t *value = NULL;
    if (qmp_execute(q, "qom-get", json_pack("{s:s, s:s}", "path", cpu, "property", flag), &value, ctx, err))
        return -1;
    *ret = json_is_true(value);
    json_decref(value);
    return 0;
}

/* Asks the CPU that was really made: QEMU drops a flag its accelerator lacks with no more than a warning. */
static int read_exposed(struct qmp *q, const struct vm *vm, bool *ret, const struct context *ctx, struct error *err) {
    cleanup_free char *cpu = NULL;
    bool vmx = false, svm = false;
    if (find_cpu(q, vm->tag.path, &cpu, ctx, err) || read_cpu_flag(q, cpu, "vmx", &vmx, ctx, err) ||
        read_cpu_flag(q, cpu, "svm", &svm, ctx, err))
        return -1;
    *ret = vmx || svm;
    return 0;
}

static int check_exposed(struct qmp *q, const struct vm *vm, const struct context *ctx, struct error *err) {
    bool exposed = false;
    if (read_exposed(q, vm, &exposed, ctx, err))
        return -1;
    if (exposed == vm->rec.expose)
        return 0;
    error_set(err, ERR_NESTING, vm->tag.path,
              exposed ? "its CPU shows hardware virtualization, though it was switched off"
                      : "its CPU shows neither vmx nor svm, though hardware virtualization was switched on");
    error_mend(err, "look at the host's cpu parameter: it must not contradict the machine's nesting");
    return error_reason(err, "vhv-not-set");
}

/* From a QEMU that waits with its guest not yet let run, to a running guest on record. Repeating it is harmless. */
static int let_run(struct vm *vm, int64_t budget_ms, const struct context *ctx, struct error *err) {
    struct context soon = context_timeout(ctx, budget_ms);
    cleanup_qmp struct qmp *q = NULL;
    uint16_t port = 0;
    pid_t pid = 0;
    enum life life;
    if (connect_when_ready(vm, &q, &soon, err) || check_exposed(q, vm, &soon, err) ||
        forward_ensure(q, (uint16_t)vm->rec.ssh_port, (uint16_t)vm->rec.host_port, &port, vm->tag.path, &soon, err) ||
        qmp_execute(q, "cont", NULL, NULL, &soon, err) || vm_look(vm, &life, &pid, err))
        return -1;
    if (life == LIFE_NONE)
        return died_starting(vm, err);
    vm->rec.host_port = port;
    vm->rec.launched_pid = pid;
    vm->rec.launched_exposed = vm->rec.expose;
    return vm_save(vm, err);
}

/* An overlay on a changed image is a damaged disk. */
static int check_image(const struct vm *vm, struct error *err) {
    struct stat st;
    const struct record *r = &vm->rec;
    if (stat(r->image, &st)) {
        error_set_errno(err, errno, vm->tag.path, "cannot use the image it is a clone of, %s", r->image);
        return error_mend(err, "bring the image back, or make the machine anew: 'nestor down', then 'nestor up'");
    }
    if (st.st_size == r->image_size && st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec == r->image_mtime_ns)
        return 0;
    error_set(err, ERR_IMAGE, vm->tag.path, "the image it is a clone of, %s, was changed since", r->image);
    return error_mend(err, "make the machine anew: 'nestor down', then 'nestor up'");
}

/* Ends what a failed start left; the start's own error stays the cause. */
static int undo(const struct vm *vm, struct error *err) {
    struct context ctx = context_timeout(NULL, CLEANUP_MS);
    struct error e = {.code = ERR_NONE};
    if (vm_end(vm, 0, &ctx, &e))
        error_note(err, "%s", e.cause);
    return -1;
}

static int launch(const struct hypervisor *hv, struct vm *vm, const struct context *ctx, struct error *err) {
    struct accel accel;
    accel_choose(hv->root, hv->accel, hv->cpu, &accel);
    if ((vm->rec.expose && accel_require_nesting(&accel, vm->tag.path, err)) || check_image(vm, err))
        return -1;
    /* The record of an earlier launch must not speak for this one, nor its socket. */
    vm->rec.launched_pid = 0;
    if (unlinkat(vm->fd, SOCKET_FILE, 0) && errno != ENOENT)
        return error_set_errno(err, errno, vm->tag.path, "cannot delete its old control socket");
    if (vm_save(vm, err))
        return -1;
    return spawn(hv, vm, &accel, ctx, err) || let_run(vm, READY_MS, ctx, err) ? undo(vm, err) : 0;
}

int qemu_start(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx, struct error *err) {
    cleanup_vm struct vm vm = VM_NONE;
    enum life life = LIFE_NONE;
    if (context_check(ctx, spec->tag.path, "starting it", err) || vm_load(hv, &spec->tag, &vm, err) ||
        vm_look(&vm, &life, NULL, err))
        return -1;
    if (life == LIFE_RUNS)
        return 0;
    /* A start that was cut is carried on; if that one is beyond help, it is begun again. */
    if (life == LIFE_HALF && let_run(&vm, CARRY_ON_MS, ctx, NULL) == 0)
        return 0;
    if (life == LIFE_HALF && vm_end(&vm, 0, ctx, err))
        return -1;
    return launch(hv, &vm, ctx, err);
}
