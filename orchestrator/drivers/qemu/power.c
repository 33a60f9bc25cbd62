#include <string.h>

#include "qemu_priv.h"

/* A guest that is still booting loses the press of the power button: it is pressed again this often. */
#define PRESS_AGAIN_MS 3000
/* For one visit to the control socket, which another program may hold. */
#define MONITOR_MS 3000
/* SIGTERM makes QEMU write its caches and end; it takes milliseconds unless its disk hangs. */
#define TERMINATE_MS 3000
#define CONSOLE_TAIL_BYTES 320
#define LOG_TAIL_BYTES 200

static int press_power_button(const struct vm *vm, const struct context *ctx, struct error *err) {
    struct context brief = context_timeout(ctx, MONITOR_MS);
    cleanup_qmp struct qmp *q = NULL;
    if (qmp_connect(vm->fd, SOCKET_FILE, vm->tag.path, &q, &brief, err))
        return -1;
    return qmp_execute(q, "system_powerdown", NULL, NULL, &brief, err);
}

/* Presses until the process has ended. A press that fails is no failure yet: QEMU may just be ending. */
static int shut_down(const struct vm *vm, const struct context *ctx, struct error *err) {
    cleanup_close int pidfd = -1;
    if (vm_pidfd(vm, &pidfd, ctx, err))
        return -1;
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    struct error press = {.code = ERR_NONE};
    while (pidfd >= 0) {
        error_clear(&press);
        int pressed = press_power_button(vm, ctx, &press);
        int n = context_poll(ctx, &ended, 1, PRESS_AGAIN_MS, vm->tag.path, "waiting for the guest to power off", err);
        if (n < 0 && pressed)
            error_note(err, "%s", press.cause);
        if (n)
            return n < 0 ? -1 : 0;
    }
    return 0;
}

int qemu_stop(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    cleanup_vm struct vm vm = VM_NONE;
    enum life life = LIFE_NONE;
    if (context_check(ctx, tag->path, "stopping it", err) || vm_find(hv, tag, &vm, err) ||
        vm_look(&vm, &life, NULL, err))
        return -1;
    /* A guest that never ran cannot power itself off. */
    if (life == LIFE_HALF)
        return vm_end(&vm, TERMINATE_MS, ctx, err);
    return life == LIFE_RUNS ? shut_down(&vm, ctx, err) : 0;
}

/* SIGTERM does what QMP's "quit" does, and needs no turn at the control socket. */
int qemu_power_cut(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    cleanup_vm struct vm vm = VM_NONE;
    if (context_check(ctx, tag->path, "cutting its power", err) || vm_find(hv, tag, &vm, err))
        return -1;
    return vm_end(&vm, TERMINATE_MS, ctx, err);
}

static int not_running(const struct vm *vm, struct error *err) {
    cleanup_buffer struct buffer log = {0}, console = {0};
    vm_log_tail(vm, LOG_FILE, LOG_TAIL_BYTES, &log);
    vm_log_tail(vm, CONSOLE_FILE, CONSOLE_TAIL_BYTES, &console);
    error_set(err, ERR_DIED, vm->tag.path, "it is not running; QEMU said: %s; its console ends: %s",
              log.len ? log.data : "nothing", console.len ? console.data : "(empty)");
    return error_mend(err, "run 'nestor up' to start it again; its console is %s/%s", vm->dir, CONSOLE_FILE);
}

/* User networking gives every guest the same address; what differs is the forwarded port, known since the start. */
int qemu_address(struct hypervisor *hv, const struct machine_spec *spec, struct endpoint *ret,
                 const struct context *ctx, struct error *err) {
    cleanup_vm struct vm vm = VM_NONE;
    enum life life = LIFE_NONE;
    if (context_check(ctx, spec->tag.path, "learning its address", err) || vm_load(hv, &spec->tag, &vm, err) ||
        vm_look(&vm, &life, NULL, err))
        return -1;
    if (life != LIFE_RUNS)
        return not_running(&vm, err);
    *ret = (struct endpoint){.host = "127.0.0.1", .port = (uint16_t)vm.rec.host_port};
    return 0;
}
