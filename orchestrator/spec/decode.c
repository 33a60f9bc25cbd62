#include "spec/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec/draft.h"
#include "spec/duration.h"
#include "spec/limits.h"
#include "spec/text.h"

#define KEYS_MAX 64 /* of one keyset: one bit each in `seen` */
#define SHOWN 60    /* bytes of a wrong value that are shown */

static bool count_read(const char *text, uint64_t *ret) {
    size_t len = strspn(text, "0123456789");
    /* A leading zero is octal to some YAML readers and decimal to others. */
    if (len == 0 || len > 18 || text[len] || (text[0] == '0' && len > 1))
        return false;
    *ret = strtoull(text, NULL, 10);
    return true;
}

static void count_format(uint64_t value, char out[24]) { snprintf(out, 24, "%" PRIu64, value); }

static bool bytes_read(const char *text, uint64_t *ret) { return size_parse(text, ret, NULL) == 0; }

const struct unit unit_count = {"a whole number", NULL, count_read, count_format};
const struct unit unit_bytes = {"a size", "128MiB, 1.5GiB or 20GB", bytes_read, size_format};
const struct unit unit_seconds = {"a duration", "90s, 5m or 1h", duration_read, duration_format};

/* --- single values --- */

const char *entry_text(struct decoder *d, const struct entry *entry) {
    const struct node *value = entry->value;
    if (value->kind != NODE_SCALAR)
        spec_error(d->diags, value->origin, "'%s' must be a single value, not %s", entry->key->text,
                   node_kind_name(value));
    else if (value->null || !*value->text)
        spec_error(d->diags, value->null ? entry->key->origin : value->origin, "'%s' has no value", entry->key->text);
    else if (text_has_control(value->text))
        spec_error(d->diags, value->origin, "'%s' holds a line break or another control character", entry->key->text);
    else
        return value->text;
    return NULL;
}

void decode_word(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    *(struct word *)slot = (struct word){entry_text(d, entry), entry->value->origin};
}

void decode_number(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    const char *text = entry_text(d, entry);
    uint64_t value;
    if (!text)
        return;
    if (field->unit->read(text, &value) && value >= field->min && value <= field->max) {
        *(struct number *)slot = (struct number){value, entry->value->origin};
        return;
    }
    char min[24], max[24];
    field->unit->format(field->min, min);
    field->unit->format(field->max, max);
    struct diagnostic *found =
        spec_error(d->diags, entry->value->origin, "'%s' must be %s from %s to %s, not '%s'", field->key,
                   field->unit->noun, min, max, text_excerpt(d->scratch, text, SHOWN));
    if (field->unit->examples)
        diagnostic_hint(found, "for example %s", field->unit->examples);
}

void decode_choice(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    const char *text = entry_text(d, entry), *names[8];
    size_t n = 0;
    if (!text)
        return;
    for (const struct choice *c = field->choices; c->name; c++) {
        names[n++] = c->name;
        if (strcmp(c->name, text) == 0) {
            *(struct number *)slot = (struct number){c->value, entry->value->origin};
            return;
        }
    }
    struct diagnostic *found = spec_error(d->diags, entry->value->origin, "'%s' cannot be '%s'", field->key,
                                          text_excerpt(d->scratch, text, SHOWN));
    if (!diagnostic_suggest(found, text, names, n))
        diagnostic_list(found, "choose one of", names, n);
}

bool name_check(struct decoder *d, const char *noun, const char *text, struct origin at) {
    if (name_is_valid(text))
        return true;
    struct diagnostic *found =
        spec_error(d->diags, at, "'%s' cannot be the name of a %s", text_excerpt(d->scratch, text, SHOWN), noun);
    diagnostic_hint(found, "use 1 to %d lower-case letters, digits and '-', with no '-' at either end", SPEC_NAME_MAX);
    return false;
}

/* --- maps --- */

bool entry_is_map(struct decoder *d, const struct entry *entry) {
    const struct node *value = entry->value;
    if (value->kind == NODE_MAP || value->null)
        return true;
    spec_error(d->diags, value->origin, "'%s' must be a map of keys and values, not %s",
               text_excerpt(d->scratch, entry->key->text, SHOWN), node_kind_name(value));
    return false;
}

/* The keyset's fields and those it shares, in one row. */
static size_t fields_of(const struct keyset *keys, const struct field *ret[static KEYS_MAX]) {
    size_t n = 0;
    for (; keys; keys = keys->more)
        for (const struct field *f = keys->fields; f->key && n < KEYS_MAX; f++)
            ret[n++] = f;
    return n;
}

static void tell_unknown(struct decoder *d, const struct keyset *keys, const struct node *key,
                         const struct field *const *fields, size_t n) {
    const char *names[KEYS_MAX];
    for (size_t i = 0; i < n; i++)
        names[i] = fields[i]->key;
    const char *word = text_excerpt(d->scratch, key->text, SHOWN);
    d->lacks_section = d->lacks_section || keys == &lab_keys;
    struct diagnostic *found = spec_error(d->diags, key->origin, "unknown key '%s'", word);
    if (diagnostic_suggest(found, word, names, n))
        return;
    const char *lead = arena_printf(d->scratch, "the keys of '%s' are", keys->name);
    diagnostic_list(found, lead, names, n);
}

/* As in Compose: room for anchors and for other programs' settings. */
static bool is_extension(const char *key) { return strncmp(key, "x-", 2) == 0; }

static void decode_entry(struct decoder *d, const struct keyset *keys, const struct field *const *fields, size_t n,
                         const struct entry *entry, void *object, uint64_t *seen) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(fields[i]->key, entry->key->text) == 0) {
            *seen |= UINT64_C(1) << i;
            fields[i]->decode(d, fields[i], entry, (char *)object + fields[i]->offset);
            return;
        }
    if (is_extension(entry->key->text))
        return;
    if (keys->other)
        keys->other(d, NULL, entry, object);
    else
        tell_unknown(d, keys, entry->key, fields, n);
}

/* A key that looks like the missing one is most likely the missing one, misspelt: a host takes any key for a parameter
 * of its driver, and cannot tell while there is no driver. */
static void hint_misspelt(struct diagnostic *found, const char *key, const struct node *node) {
    for (size_t i = 0; node->kind == NODE_MAP && i < node->n; i++) {
        const struct entry *e = &node->entries[i];
        if (nearest_word(e->key->text, &key, 1))
            diagnostic_hint(found, "did you mean '%s' by the key in line %d?", key, e->key->origin.line);
    }
}

static void tell_missing(struct decoder *d, const char *key, const struct node *node, const struct entry *entry) {
    struct diagnostic *found = entry ? spec_error(d->diags, entry->key->origin, "'%s' needs the key '%s'",
                                                  text_excerpt(d->scratch, entry->key->text, SHOWN), key)
                                     : spec_error(d->diags, node->origin, "the spec needs the key '%s'", key);
    hint_misspelt(found, key, node);
}

void decode_keys(struct decoder *d, const struct keyset *keys, const struct node *node, const struct entry *entry,
                 void *object) {
    const struct field *fields[KEYS_MAX];
    size_t n = fields_of(keys, fields);
    uint64_t seen = 0;
    if (node->kind == NODE_MAP)
        for (size_t i = 0; i < node->n; i++)
            decode_entry(d, keys, fields, n, &node->entries[i], object, &seen);
    for (size_t i = 0; i < n; i++)
        if (fields[i]->required && !(seen & UINT64_C(1) << i))
            tell_missing(d, fields[i]->key, node, entry);
}

void decode_map(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    if (entry_is_map(d, entry))
        decode_keys(d, field->keys, entry->value, entry, slot);
}

void decode_names(struct decoder *d, const char *noun, const struct node *map,
                  void (*fn)(struct decoder *d, const struct entry *entry, void *data), void *data) {
    if (map->kind != NODE_MAP)
        return;
    for (size_t i = 0; i < map->n; i++) {
        name_check(d, noun, map->entries[i].key->text, map->entries[i].key->origin);
        fn(d, &map->entries[i], data);
    }
}
