#include "drivers/fake/fake.h"

#include "drivers/fake/operations.h"

static const struct driver_param params[] = {
    FAKE_PARAMS,
    {0},
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
