/* Decoding by tables: what a map of the spec may hold is a keyset, and one keyset serves the parser, the "did you
 * mean", the test that compares docs/spec.md and the one that compares templates/lab.schema.json. */
#ifndef NESTOR_SPEC_FIELDS_H
#define NESTOR_SPEC_FIELDS_H

#include <stddef.h>

#include "nestor/driver.h"
#include "spec/diagnostics.h"
#include "spec/index.h"
#include "spec/tree.h"

/* What decoding reads from and tells to. */
struct decoder {
    struct arena *scratch; /* gone when parsing is over; what struct lab keeps is copied */
    struct diagnostics *diags;
    const char *folder; /* where relative paths start, with its last slash; "" for the current folder */
    const struct driver *const *drivers;
    size_t ndrivers;
    bool lacks_section;      /* a key of the lab itself is unknown: what stands under it is missing elsewhere */
    size_t nmachines;        /* machine maps decoded so far */
    struct index user_files; /* path -> text of user-data read already */
    size_t user_files_size;
};

struct field;
/* Puts the entry's value where slot points, or tells what is wrong with it. */
typedef void decode_fn(struct decoder *d, const struct field *field, const struct entry *entry, void *slot);

struct choice {
    const char *name; /* NULL ends a list */
    uint64_t value;
};

/* A kind of number and how it is written. */
struct unit {
    const char *noun; /* "a size" */
    const char *examples;
    bool (*read)(const char *text, uint64_t *ret);
    void (*format)(uint64_t value, char out[24]);
};
extern const struct unit unit_count, unit_bytes, unit_seconds;

struct field {
    const char *key;
    const char *type;     /* as docs/spec.md names it */
    const char *fallback; /* what holds without it, as docs/spec.md says it */
    const char *help;     /* the same sentence in docs/spec.md and in the JSON Schema */
    decode_fn *decode;
    size_t offset; /* of the slot in the object being decoded */
    bool required;
    union {
        struct { /* decode_number */
            const struct unit *unit;
            uint64_t min, max;
        };
        const struct choice *choices; /* decode_choice */
        const struct keyset *keys;    /* decode_map, and the keys of each entry of a map of names */
    };
};

struct keyset {
    const char *name;           /* "machine": the heading in docs/spec.md, the definition in the JSON Schema */
    const struct field *fields; /* ends with key NULL */
    const struct keyset *more;  /* keys this map shares with another, at the same offsets; may be NULL */
    decode_fn *other;           /* takes keys that are not in the table; NULL: they are errors */
};

/* Every keyset of the spec, ending with NULL: for the tests that compare. */
extern const struct keyset *const keysets[];

/* Values, with where they stand. */
struct word {
    const char *text; /* NULL: not given, or wrong */
    struct origin at; /* line 0: not given */
};
struct number {
    uint64_t value;
    struct origin at; /* line 0: not given, or wrong */
};
static inline bool given(const struct number *n) { return n->at.line > 0; }

/* Decodes the map's entries into object. The map may say nothing; entry is the one it is the value of, NULL for the
 * whole file. */
void decode_keys(struct decoder *d, const struct keyset *keys, const struct node *node, const struct entry *entry,
                 void *object);
/* False after telling that the text cannot name a `noun`. */
bool name_check(struct decoder *d, const char *noun, const char *text, struct origin at);
/* Walks a map of names, checking each: calls fn for every entry, so that what is wrong in it is told as well. */
void decode_names(struct decoder *d, const char *noun, const struct node *map,
                  void (*fn)(struct decoder *d, const struct entry *entry, void *data), void *data);

/* The entry's text, or NULL after telling that it is none, or holds control characters. */
const char *entry_text(struct decoder *d, const struct entry *entry);
/* False after telling that the value is not a map (saying nothing is an empty one). */
bool entry_is_map(struct decoder *d, const struct entry *entry);

decode_fn decode_word;   /* struct word */
decode_fn decode_number; /* struct number */
decode_fn decode_choice; /* struct number */
decode_fn decode_map;    /* the object itself, through field->keys */

#endif
