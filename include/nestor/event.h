/* What happens, told while it happens. Stages emit events; ui/ shows them and state/ keeps them.
 * Nothing below cli/ and ui/ prints.
 */
#ifndef NESTOR_EVENT_H
#define NESTOR_EVENT_H

#include <stdint.h>

#include "nestor/error.h"

#define EVENT_KINDS(X)                                                                                                 \
    X(EVENT_RUN_START, "run-start")                                                                                    \
    X(EVENT_RUN_END, "run-end")                                                                                        \
    X(EVENT_STEP_START, "step-start")                                                                                  \
    X(EVENT_STEP_PROGRESS, "step-progress")                                                                            \
    X(EVENT_STEP_DONE, "step-done")                                                                                    \
    X(EVENT_STEP_FAILED, "step-failed")                                                                                \
    X(EVENT_STEP_SKIPPED, "step-skipped")                                                                              \
    X(EVENT_NOTICE, "notice")                                                                                          \
    X(EVENT_WARNING, "warning")

enum event_kind {
#define X(symbol, name) symbol,
    EVENT_KINDS(X)
#undef X
        EVENT_KIND_MAX
};
const char *event_kind_name(enum event_kind kind);

/* Borrowed for the length of the call that delivers it. */
struct event {
    enum event_kind kind;
    int64_t at_ms;             /* clock_ms() */
    const char *path;          /* machine path, or NULL for the lab itself */
    const char *step;          /* "start", or NULL */
    const char *text;          /* one line, or NULL */
    uint64_t done, total;      /* bytes or steps for EVENT_STEP_PROGRESS; total 0 = unknown */
    int64_t elapsed_ms;        /* for EVENT_STEP_DONE and EVENT_STEP_FAILED */
    const struct error *error; /* for EVENT_STEP_FAILED; why there is a notice or a warning; or NULL */
};

/* A receiver. `emit` may be called from any thread; the receiver locks for itself and returns soon. */
struct event_sink {
    void (*emit)(struct event_sink *sink, const struct event *event);
};

/* NULL-safe: no sink, no event. Fills at_ms. */
void event_emit(struct event_sink *sink, struct event event);

#endif
