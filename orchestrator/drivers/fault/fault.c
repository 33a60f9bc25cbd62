/* Every operation is the wrapped driver's, with two chances to fail: before it and after it. */
#include "drivers/fault/fault.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drivers/fake/fake.h"
#include "drivers/fault/rules.h"

struct hypervisor {
    const struct driver *driver;
    struct hypervisor *inner; /* the driver's own handle */
    const char *subject, *home;
};

static int strike(const struct fault *f, const char *home, enum fault_operation op, const char *path,
                  const struct context *ctx, struct error *err) {
    if (f->hold && fault_wait(home, path, ctx, err))
        return -1;
    if (f->delay_ms && context_sleep(ctx, f->delay_ms, path, "a fault delays it", err))
        return -1;
    if (f->kill)
        kill(getpid(), SIGKILL);
    if (f->code == ERR_NONE)
        return 0;
    error_set(err, f->code, path, "injected fault: %s", fault_operation_name(op));
    error_mend(err, "remove the fault from the file 'faults' in nestor's state directory");
    if (f->reason[0])
        error_reason(err, f->reason);
    return f->retry ? error_retry(err) : -1;
}

static int before(const char *home, enum fault_operation op, const char *path, struct fault *ret,
                  const struct context *ctx, struct error *err) {
    if (fault_take(home, op, path, ret, err))
        return -1;
    return ret->after ? 0 : strike(ret, home, op, path, ctx, err);
}

static int after(const struct fault *f, const char *home, enum fault_operation op, const char *path,
                 const struct context *ctx, struct error *err) {
    return f->after ? strike(f, home, op, path, ctx, err) : 0;
}

/* `call` with its arguments, as hv's driver does it. For use in functions with hv, ctx and err. */
#define WITH_FAULTS(op, path, call)                                                                                    \
    ({                                                                                                                 \
        struct fault _fault;                                                                                           \
        before(hv->home, op, path, &_fault, ctx, err) || hv->driver->call ||                                           \
                after(&_fault, hv->home, op, path, ctx, err)                                                           \
            ? -1                                                                                                       \
            : 0;                                                                                                       \
    })

static int find_inner(const struct hypervisor_config *config, const struct driver **ret, struct error *err) {
    const char *name = param_get(config, "wraps", "fake");
    *ret = driver_find(name);
    if (*ret && *ret != &fault_driver)
        return 0;
    error_set(err, ERR_USAGE, config->subject, "the fault driver cannot wrap '%s'", name);
    return error_mend(err, "name another driver in 'wraps'");
}

static int fault_open(const struct hypervisor_config *config, struct hypervisor **ret, const struct context *ctx,
                      struct error *err) {
    const struct driver *driver;
    struct fault fault;
    struct hypervisor *inner;
    if (find_inner(config, &driver, err) || before(config->home, FAULT_OPEN, config->subject, &fault, ctx, err) ||
        driver->open(config, &inner, ctx, err))
        return -1;
    struct hypervisor *hv = xmalloc(sizeof *hv);
    *hv = (struct hypervisor){driver, inner, config->subject, config->home};
    *ret = hv;
    return 0;
}

static void fault_close(struct hypervisor *hv) {
    if (!hv)
        return;
    hv->driver->close(hv->inner);
    free(hv);
}

static int fault_check(struct hypervisor *hv, struct capability *ret, const struct context *ctx, struct error *err) {
    return WITH_FAULTS(FAULT_CHECK, hv->subject, check(hv->inner, ret, ctx, err));
}

static int fault_observe(struct hypervisor *hv, const char *lab_id, struct observation **ret, const struct context *ctx,
                         struct error *err) {
    return WITH_FAULTS(FAULT_OBSERVE, hv->subject, observe(hv->inner, lab_id, ret, ctx, err));
}

static int fault_ensure_image(struct hypervisor *hv, const struct image *image, progress_fn progress, void *data,
                              const struct context *ctx, struct error *err) {
    return WITH_FAULTS(FAULT_IMAGE, hv->subject, ensure_image(hv->inner, image, progress, data, ctx, err));
}

static int fault_ensure_network(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    return WITH_FAULTS(FAULT_NETWORK, hv->subject, ensure_network(hv->inner, ctx, err));
}

static int fault_create(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx,
                        struct error *err) {
    return WITH_FAULTS(FAULT_CREATE, spec->tag.path, create(hv->inner, spec, ctx, err));
}

static int fault_expose(struct hypervisor *hv, const struct machine_spec *spec, bool on, bool *ret_exposed,
                        const struct context *ctx, struct error *err) {
    bool exposed;
    if (WITH_FAULTS(FAULT_EXPOSE, spec->tag.path, expose(hv->inner, spec, on, &exposed, ctx, err)))
        return -1;
    *ret_exposed = exposed;
    return 0;
}

static int fault_start(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx,
                       struct error *err) {
    return WITH_FAULTS(FAULT_START, spec->tag.path, start(hv->inner, spec, ctx, err));
}

static int fault_stop(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    return WITH_FAULTS(FAULT_STOP, tag->path, stop(hv->inner, tag, ctx, err));
}

static int fault_power_cut(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    return WITH_FAULTS(FAULT_POWER_CUT, tag->path, power_cut(hv->inner, tag, ctx, err));
}

static int fault_address(struct hypervisor *hv, const struct machine_spec *spec, struct endpoint *ret,
                         const struct context *ctx, struct error *err) {
    return WITH_FAULTS(FAULT_ADDRESS, spec->tag.path, address(hv->inner, spec, ret, ctx, err));
}

static int fault_console(struct hypervisor *hv, const struct tag *tag, struct buffer *ret, const struct context *ctx,
                         struct error *err) {
    return WITH_FAULTS(FAULT_CONSOLE, tag->path, console(hv->inner, tag, ret, ctx, err));
}

static int fault_remove(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    return WITH_FAULTS(FAULT_REMOVE, tag->path, remove(hv->inner, tag, ctx, err));
}

/* What a driver may leave out. */

static int fault_prune(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    return hv->driver->prune ? WITH_FAULTS(FAULT_PRUNE, hv->subject, prune(hv->inner, ctx, err)) : 0;
}

static int fault_connect(struct hypervisor *hv, const struct machine_spec *spec, struct access **ret,
                         const struct context *ctx, struct error *err) {
    if (hv->driver->connect)
        return WITH_FAULTS(FAULT_CONNECT, spec->tag.path, connect(hv->inner, spec, ret, ctx, err));
    return error_set(err, ERR_UNSUPPORTED, spec->tag.path, "machines of driver '%s' are reached by SSH",
                     hv->driver->name);
}

static int fault_examine(struct hypervisor *hv, finding_fn fn, void *data, const struct context *ctx,
                         struct error *err) {
    static const struct finding nothing = {FINDING_FINE, "wrapped driver", "it examines nothing", "", NULL};
    if (hv->driver->examine)
        return WITH_FAULTS(FAULT_EXAMINE, hv->subject, examine(hv->inner, fn, data, ctx, err));
    if (context_check(ctx, hv->subject, "examining it", err))
        return -1;
    fn(data, &nothing);
    return 0;
}

static int fault_prepare(struct hypervisor *hv, bool undo, struct buffer *report, const struct context *ctx,
                         struct error *err) {
    if (hv->driver->prepare)
        return WITH_FAULTS(FAULT_PREPARE, hv->subject, prepare(hv->inner, undo, report, ctx, err));
    return error_set(err, ERR_UNSUPPORTED, hv->subject, "the driver '%s' has nothing to prepare", hv->driver->name);
}

static const struct driver_param params[] = {
    {.key = "wraps", .help = "the driver to wrap; default fake"},
    FAKE_PARAMS,
    {0},
};

const struct driver fault_driver = {
    .size = sizeof(struct driver),
    .api = DRIVER_API,
    .name = "fault",
    .summary = "for tests: another driver whose operations fail on demand",
    .features = DRIVER_LINKED_CLONE | DRIVER_HOST | DRIVER_GUEST,
    .params = params,
    .parallel = 8,
    .boot_timeout_s = 30,
    .boot_timeout_emulated_s = 30,
    .open = fault_open,
    .close = fault_close,
    .check = fault_check,
    .observe = fault_observe,
    .ensure_image = fault_ensure_image,
    .ensure_network = fault_ensure_network,
    .create = fault_create,
    .expose = fault_expose,
    .start = fault_start,
    .stop = fault_stop,
    .power_cut = fault_power_cut,
    .address = fault_address,
    .console = fault_console,
    .remove = fault_remove,
    .prune = fault_prune,
    .connect = fault_connect,
    .examine = fault_examine,
    .prepare = fault_prepare,
};
