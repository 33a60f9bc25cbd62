/* A hypervisor made of directories, for tests and for rehearsing the tool itself: see docs/drivers.md. */
#ifndef NESTOR_DRIVERS_FAKE_H
#define NESTOR_DRIVERS_FAKE_H

#include "nestor/driver.h"

extern const struct driver fake_driver;

#endif
