#include "drivers/fake/fake.h"

#include "drivers/fake/operations.h"

static const struct driver_param params[] = {
    {"world", "directory that is the host; default: fake/NAME in nestor's state directory", false},
    {"delay", "milliseconds each change takes; default 0", false},
    {"flag", "svm, vmx or none: what machines see when it is exposed to them; default svm", false},
    {"blind", "glob of machine paths that see no flag even when it is exposed to them", false},
    {"memory", "memory of the host, for machines that run; default: no limit", false},
    {"disk", "disk space of the host, for all machines; default: no limit", false},
    {"torn", "true: cloning takes its time while the machine is half-made; default false", false},
    {NULL, NULL, false},
};

const struct driver fake_driver = {
    .size = sizeof(struct driver),
    .api = DRIVER_API,
    .name = "fake",
    .summary = "for tests and rehearsing the tool itself: machines are directories",
    .features = DRIVER_LINKED_CLONE | DRIVER_HOST | DRIVER_GUEST,
    .params = params,
    .parallel = 8,
    .boot_timeout_s = 30,
    .boot_timeout_emulated_s = 30,
    .open = fake_open,
    .close = fake_close,
    .check = fake_check,
    .observe = fake_observe,
    .ensure_image = fake_ensure_image,
    .ensure_network = fake_ensure_network,
    .create = fake_create,
    .expose = fake_expose,
    .start = fake_start,
    .stop = fake_stop,
    .power_cut = fake_power_cut,
    .address = fake_address,
    .console = fake_console,
    .remove = fake_remove,
    .prune = fake_prune,
    .connect = fake_connect,
};
