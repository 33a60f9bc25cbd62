/* The qemu driver: local QEMU processes, no daemon. See docs/hosts/qemu.md. */
#ifndef NESTOR_DRIVERS_QEMU_H
#define NESTOR_DRIVERS_QEMU_H

#include "nestor/driver.h"

extern const struct driver qemu_driver;

#endif
