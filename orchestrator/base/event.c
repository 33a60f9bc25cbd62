#include "nestor/event.h"

#include "nestor/context.h"

static const char *const kind_names[EVENT_KIND_MAX] = {
#define X(symbol, name) [symbol] = name,
    EVENT_KINDS(X)
#undef X
};

const char *event_kind_name(enum event_kind kind) {
    return (unsigned)kind < EVENT_KIND_MAX ? kind_names[kind] : "unknown";
}

void event_emit(struct event_sink *sink, struct event event) {
    if (!sink)
        return;
    event.at_ms = clock_ms();
    sink->emit(sink, &event);
}
