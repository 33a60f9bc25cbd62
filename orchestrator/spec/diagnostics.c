#include "spec/diagnostics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec/limits.h"
#include "spec/text.h"

void diagnostics_free(struct diagnostics *d) {
    if (!d)
        return;
    free(d->items);
    *d = (struct diagnostics){0};
}

static void put_text(char *out, size_t size, const char *fmt, va_list ap) {
    int n = vsnprintf(out, size, fmt, ap);
    if (n >= 0 && (size_t)n >= size)
        memcpy(out + size - 4, "...", 4);
    text_make_printable(out);
}

/* The last one that fits says that there are more; the rest is dropped. */
static struct diagnostic *add(struct diagnostics *d, struct origin at, bool warning, const char *fmt, va_list ap) {
    size_t same = warning ? d->n - d->nerrors : d->nerrors;
    size_t max = warning ? SPEC_WARNINGS_MAX : SPEC_ERRORS_MAX;
    if (same == max)
        return NULL;
    if ((d->n & (d->n + 1)) == 0) /* 0, 1, 3, 7 ...: full */
        d->items = xrealloc(d->items, (2 * d->n + 1) * sizeof *d->items);
    struct diagnostic *found = &d->items[d->n++];
    *found = (struct diagnostic){.origin = at, .warning = warning};
    d->nerrors += !warning;
    if (same + 1 < max) {
        put_text(found->text, sizeof found->text, fmt, ap);
        return found;
    }
    snprintf(found->text, sizeof found->text, "too many %s: the rest is not shown", warning ? "warnings" : "errors");
    return NULL;
}

struct diagnostic *spec_error(struct diagnostics *d, struct origin at, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    struct diagnostic *found = add(d, at, false, fmt, ap);
    va_end(ap);
    return found;
}

struct diagnostic *spec_warning(struct diagnostics *d, struct origin at, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    struct diagnostic *found = add(d, at, true, fmt, ap);
    va_end(ap);
    return found;
}

void diagnostics_add(struct diagnostics *d, struct origin at, const struct error *why) {
    struct diagnostic *found = spec_error(d, at, "%s", why->cause);
    if (why->mend[0])
        diagnostic_hint(found, "%s", why->mend);
    diagnostics_sort(d);
}

void diagnostic_hint(struct diagnostic *found, const char *fmt, ...) {
    if (!found)
        return;
    va_list ap;
    va_start(ap, fmt);
    put_text(found->hint, sizeof found->hint, fmt, ap);
    va_end(ap);
}

bool diagnostic_suggest(struct diagnostic *found, const char *word, const char *const *words, size_t n) {
    const char *nearest = found ? nearest_word(word, words, n) : NULL;
    if (nearest)
        diagnostic_hint(found, "did you mean '%s'?", nearest);
    return nearest != NULL;
}

void diagnostic_list(struct diagnostic *found, const char *lead, const char *const *words, size_t n) {
    if (!found)
        return;
    cleanup_buffer struct buffer list = {0};
    for (size_t i = 0; i < n && list.len < sizeof found->hint; i++)
        buffer_printf(&list, "%s%s", i ? ", " : "", words[i]);
    diagnostic_hint(found, "%s %s", lead, buffer_str(&list));
}

static int compare(const void *pa, const void *pb) {
    const struct diagnostic *a = pa, *b = pb;
    if (a->origin.line != b->origin.line)
        return a->origin.line < b->origin.line ? -1 : 1;
    if (a->origin.column != b->origin.column)
        return a->origin.column < b->origin.column ? -1 : 1;
    return strcmp(a->text, b->text);
}

void diagnostics_sort(struct diagnostics *d) {
    size_t kept = 0;
    if (d->n > 1)
        qsort(d->items, d->n, sizeof *d->items, compare);
    d->nerrors = 0;
    for (size_t i = 0; i < d->n; i++) {
        if (kept && compare(&d->items[kept - 1], &d->items[i]) == 0)
            continue;
        d->items[kept++] = d->items[i];
        d->nerrors += !d->items[i].warning;
    }
    d->n = kept;
}

void diagnostics_print(const struct diagnostics *d, const char *file, struct buffer *out) {
    for (size_t i = 0; i < d->n; i++) {
        const struct diagnostic *found = &d->items[i];
        buffer_printf(out, "%s:%d:%d: %s: %s%s%s\n", file, found->origin.line, found->origin.column,
                      found->warning ? "warning" : "error", found->text, found->hint[0] ? "; " : "", found->hint);
    }
}
