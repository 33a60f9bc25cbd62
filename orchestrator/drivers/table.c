/* Every driver of this build, and the few helpers that belong to all of them. */
#include <string.h>

#include "drivers/fake/fake.h"
#include "drivers/fault/fault.h"
#include "drivers/libvirt/libvirt.h"
#include "drivers/qemu/qemu.h"
#include "drivers/vsphere/vsphere.h"
#include "nestor/driver.h"

static const struct driver *const drivers[] = {&qemu_driver, &libvirt_driver,     &vsphere_driver,
                                               &fake_driver, &fake_remote_driver, &fault_driver};

#define N_DRIVERS (sizeof drivers / sizeof *drivers)

const struct driver *driver_find(const char *name) {
    for (size_t i = 0; i < N_DRIVERS; i++)
        if (strcmp(drivers[i]->name, name) == 0)
            return drivers[i];
    return NULL;
}

void driver_each(void (*fn)(void *data, const struct driver *driver), void *data) {
    for (size_t i = 0; i < N_DRIVERS; i++)
        fn(data, drivers[i]);
}

const char *param_get(const struct hypervisor_config *config, const char *key, const char *fallback) {
    for (size_t i = 0; i < config->nparams; i++)
        if (strcmp(config->params[i].key, key) == 0)
            return config->params[i].value;
    return fallback;
}

const char *power_name(enum power p) {
    static const char *const names[] = {
        [POWER_ABSENT] = "absent", [POWER_OFF] = "off", [POWER_ON] = "on", [POWER_BROKEN] = "broken"};
    return (unsigned)p < sizeof names / sizeof *names ? names[p] : "unknown";
}
