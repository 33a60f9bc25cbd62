/* A hypervisor made of directories, for tests and for rehearsing the tool itself: see docs/drivers.md. */
#ifndef NESTOR_DRIVERS_FAKE_H
#define NESTOR_DRIVERS_FAKE_H

#include "nestor/driver.h"

extern const struct driver fake_driver;
/* The same machines on a hypervisor that is far away: with templates of its own, spoken to at its address (remote.c).
 */
extern const struct driver fake_remote_driver;

/* Also the fault driver's, which hands them on. */
#define FAKE_PARAMS                                                                                                    \
    {.key = "world", .help = "directory that is the host; default: fake/NAME in nestor's state directory"},            \
        {.key = "delay", .help = "milliseconds each change takes; default 0"},                                         \
        {.key = "flag", .help = "svm, vmx or none: what machines see when it is exposed to them; default svm"},        \
        {.key = "blind", .help = "glob of machine paths that see no flag even when it is exposed to them"},            \
        {.key = "memory", .help = "memory of the host, for machines that run; default: no limit"},                     \
        {.key = "disk", .help = "disk space of the host, for all machines; default: no limit"},                        \
        {.key = "emulated", .help = "true: it says that it emulates; default false"},                                  \
        {.key = "torn", .help = "true: cloning takes its time while the machine is half-made; default false"}, {       \
        .key = "counts", .help = "true: each call is noted in the file calls of the world; default false"              \
    }

#endif
