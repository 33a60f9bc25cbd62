/* `machines:`, at any level. */
#include <string.h>

#include "spec/draft.h"
#include "spec/limits.h"
#include "spec/text.h"

void decode_name(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    decode_word(d, field, entry, slot);
    const struct word *name = slot;
    if (name->text)
        name_check(d, field->key, name->text, name->at);
}

void decode_ssh_user(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    const char *text = entry_text(d, entry);
    if (!text)
        return;
    if (login_is_valid(text)) {
        *(struct word *)slot = (struct word){text, entry->value->origin};
        return;
    }
    struct diagnostic *found = spec_error(d->diags, entry->value->origin, "'%s' is no login name",
                                          text_excerpt(d->scratch, text, 2 * LOGIN_MAX));
    diagnostic_hint(found, "use at most %d letters, digits, '_' and '-', beginning with a letter or '_'", LOGIN_MAX);
}

static void decode_machine(struct decoder *d, const struct entry *entry, void *data) {
    struct machine_drafts *machines = data;
    if (++d->nmachines > SPEC_MACHINES_MAX) /* told once, by check.c */
        return;
    if (!entry_is_map(d, entry))
        return;
    struct machine_draft *m = &machines->items[machines->n++];
    m->name = (struct word){entry->key->text, entry->key->origin};
    decode_keys(d, &machine_keys, entry->value, entry, m);
}

void decode_machines(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    struct machine_drafts *machines = slot;
    if (!entry_is_map(d, entry))
        return;
    machines->at = entry->key->origin;
    size_t left = SPEC_MACHINES_MAX - (d->nmachines < SPEC_MACHINES_MAX ? d->nmachines : SPEC_MACHINES_MAX);
    size_t n = entry->value->n < left ? entry->value->n : left;
    machines->items = arena_alloc(d->scratch, n * sizeof *machines->items);
    decode_names(d, "machine", entry->value, decode_machine, machines);
}
