/* One line per event, for logs and pipes: "[  12.3s] quickstart/kvm1: start done in 1.2s". */
#include <stdio.h>
#include <string.h>

#include "ui/progress.h"

#define LONGEST_BEAT_MS 60000

static void begin_line(const struct board *b, int64_t at, const char *path, const struct look *look,
                       struct buffer *out) {
    int64_t ms = at - b->began;
    buffer_printf(out, "[%5lld.%llds] ", (long long)(ms / 1000), (long long)(ms % 1000 / 100));
    if (!path)
        path = b->lab[0] ? b->lab : NULL;
    if (path) {
        text_put_safe(out, path, TEXT_NO_LIMIT, look->utf8);
        buffer_puts(out, ": ");
    }
}

static void put_failure(const struct event *e, const struct look *look, struct buffer *out) {
    char took[24];
    elapsed_format(e->elapsed_ms, took);
    if (was_interrupted(e)) {
        buffer_printf(out, "%s interrupted after %s", e->step ? e->step : "it", took);
        return;
    }
    buffer_printf(out, "%s%s failed%s after %s", tint(look->color, TINT_BAD), e->step ? e->step : "it",
                  tint_end(look->color), took);
    if (!e->error)
        return;
    buffer_puts(out, ": ");
    text_put_safe(out, e->error->cause, TEXT_NO_LIMIT, look->utf8);
}

/* At each tenth, and then never again for the same tenth. */
static bool tenth_reached(struct active *a) {
    if (!a || !a->total)
        return false;
    unsigned tenths = share_of(a->done, a->total, 10);
    if (tenths <= a->tenths)
        return false;
    a->tenths = tenths;
    return true;
}

static bool wanted(const struct event *e, struct active *active, bool quiet) {
    switch (e->kind) {
    case EVENT_STEP_FAILED:
        return !quiet || !was_interrupted(e);
    case EVENT_WARNING:
        return e->text;
    case EVENT_NOTICE:
        return e->text && !quiet;
    case EVENT_STEP_PROGRESS:
        return !quiet && tenth_reached(active);
    default:
        return !quiet;
    }
}

static void put_progress(const struct event *e, const struct active *active, const struct look *look,
                         struct buffer *out) {
    buffer_printf(out, "%s ", active->step);
    if (e->text) {
        text_put_safe(out, e->text, TEXT_NO_LIMIT, look->utf8);
        buffer_putc(out, ' ');
    }
    put_amount(out, active);
}

static void put_text_of(const struct event *e, const struct active *active, const struct look *look,
                        struct buffer *out) {
    char took[24];
    const char *step = e->step ? e->step : "";
    elapsed_format(e->elapsed_ms, took);
    switch (e->kind) {
    case EVENT_RUN_START:
        buffer_printf(out, "%s: %llu step%s", e->text, (unsigned long long)e->total, e->total == 1 ? "" : "s");
        break;
    case EVENT_RUN_END:
        buffer_printf(out, "%s", e->text);
        break;
    case EVENT_STEP_START:
        buffer_printf(out, "%s begins", step);
        if (e->text && !(active && active->same)) {
            buffer_puts(out, ": ");
            text_put_safe(out, e->text, TEXT_NO_LIMIT, look->utf8);
        }
        break;
    case EVENT_STEP_PROGRESS:
        put_progress(e, active, look, out);
        break;
    case EVENT_STEP_DONE:
        buffer_printf(out, "%s done in %s", step, took);
        break;
    case EVENT_STEP_SKIPPED:
        buffer_printf(out, "%s not done: something it needs has failed", step);
        break;
    case EVENT_STEP_FAILED:
        put_failure(e, look, out);
        break;
    case EVENT_WARNING:
        buffer_printf(out, "%swarning:%s ", tint(look->color, TINT_WARN), tint_end(look->color)); /* fall through */
    default:
        text_put_safe(out, e->text, TEXT_NO_LIMIT, look->utf8);
        buffer_puts(out, e->error ? ": " : "");
        text_put_safe(out, e->error ? e->error->cause : "", TEXT_NO_LIMIT, look->utf8);
    }
}

void plain_event(const struct board *b, const struct event *e, struct active *active, bool quiet,
                 const struct look *look, struct buffer *out) {
    if (!wanted(e, active, quiet))
        return;
    begin_line(b, e->at_ms, e->path, look, out);
    put_text_of(e, active, look, out);
    buffer_putc(out, '\n');
}

void plain_beats(struct board *b, int64_t now, const struct look *look, struct buffer *out) {
    for (size_t i = 0; i < b->n; i++)
        for (struct active *a = b->rows[i].active; a; a = a->next) {
            if (now < a->next_beat)
                continue;
            int64_t ran = now - a->started;
            begin_line(b, now, b->rows[i].path, look, out);
            buffer_printf(out, "still waiting for it: %s, %lld s\n", a->step, (long long)(ran / 1000));
            a->next_beat = now + (ran < LONGEST_BEAT_MS ? ran : LONGEST_BEAT_MS); /* 10 s, 20 s, 40 s ... */
        }
}
