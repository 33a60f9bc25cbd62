/* What makes a fake hypervisor a remote one: templates of its own, an address, a password, things to examine. */
#ifndef NESTOR_DRIVERS_FAKE_REMOTE_H
#define NESTOR_DRIVERS_FAKE_REMOTE_H

#include "drivers/fake/operations.h"

/* Is the template there? Refuses an image that is more than a name: nothing of this machine is cloned. */
int fake_remote_image(const struct hypervisor *hv, const struct image *image, struct error *err);
/* Writes down what the spec chose. Refuses a machine without its two texts. */
int fake_remote_choices(const struct hypervisor *hv, const struct machine_spec *spec, struct error *err);

/* --- addresses.c: HOME/fake/addresses/ADDRESS leads to the machine that answers there --- */

/* Gives the machine an address of its own, if it has none yet: whoever opens it gets the world inside the machine. */
int fake_remote_register(const struct hypervisor *hv, const struct tag *tag, struct endpoint *ret, struct error *err);
void fake_remote_forget(const struct hypervisor *hv, const struct tag *tag);
/* The settings of the world at config->endpoint. */
int fake_remote_settings(const struct hypervisor_config *config, struct settings *ret, struct error *err);
/* Where the power mark of the machine at the endpoint would be; caller frees. */
char *fake_remote_power(const struct hypervisor_config *config);

#endif
