/* Wraps another driver and makes its operations fail on demand: see docs/drivers.md. */
#ifndef NESTOR_DRIVERS_FAULT_H
#define NESTOR_DRIVERS_FAULT_H

#include "nestor/driver.h"

extern const struct driver fault_driver;

#endif
