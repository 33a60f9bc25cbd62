/* The faults to make, from the file HOME/faults: one per line, "#" begins a comment.
 *
 *   OPERATION GLOB ERROR [skip=N] [times=N] [delay=MS] [hold] [reason=CODE] [retry] [after]
 *
 * The counters are counted down in the file itself, in place and under a lock, so they hold across threads, processes
 * and kills, and what is left of them can be read with cat. docs/drivers.md explains each word.
 */
#ifndef NESTOR_DRIVERS_FAULT_RULES_H
#define NESTOR_DRIVERS_FAULT_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "nestor/context.h"
#include "nestor/error.h"

/* X(symbol, name, changes): "after" makes sense only for what changes something. */
#define FAULT_OPERATIONS(X)                                                                                            \
    X(FAULT_OPEN, "open", false)                                                                                       \
    X(FAULT_CHECK, "check", false)                                                                                     \
    X(FAULT_OBSERVE, "observe", false)                                                                                 \
    X(FAULT_IMAGE, "image", true)                                                                                      \
    X(FAULT_NETWORK, "network", true)                                                                                  \
    X(FAULT_CREATE, "create", true)                                                                                    \
    X(FAULT_EXPOSE, "expose", true)                                                                                    \
    X(FAULT_START, "start", true)                                                                                      \
    X(FAULT_STOP, "stop", true)                                                                                        \
    X(FAULT_POWER_CUT, "power-cut", true)                                                                              \
    X(FAULT_ADDRESS, "address", false)                                                                                 \
    X(FAULT_CONSOLE, "console", false)                                                                                 \
    X(FAULT_REMOVE, "remove", true)                                                                                    \
    X(FAULT_PRUNE, "prune", true)                                                                                      \
    X(FAULT_CONNECT, "connect", false)                                                                                 \
    X(FAULT_EXAMINE, "examine", false)                                                                                 \
    X(FAULT_PREPARE, "prepare", true)

enum fault_operation {
#define X(symbol, name, changes) symbol,
    FAULT_OPERATIONS(X)
#undef X
        FAULT_OPERATION_MAX
};
const char *fault_operation_name(enum fault_operation op);

struct fault {
    enum error_code code; /* ERR_NONE: it succeeds, perhaps late */
    bool kill;            /* nestor itself is killed instead */
    bool after;           /* the operation is carried out first */
    bool retry;
    bool hold; /* first it waits as long as the file is there */
    int64_t delay_ms;
    char reason[32];
};

/* Waits until the file is gone: the end of `hold`. ERR_TIMEOUT or ERR_CANCELLED about path with the context. */
int fault_wait(const char *home, const char *path, const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* The fault due for this call, counting it down; all zero when there is none. ERR_USAGE about "HOME/faults:3" for a
 * line that says nothing sensible. */
int fault_take(const char *home, enum fault_operation op, const char *path, struct fault *ret, struct error *err);

#endif
