/* `templates:`. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spec/draft.h"
#include "spec/text.h"

#define SHOWN 80

static bool starts_with(const char *s, const char *start) { return strncasecmp(s, start, strlen(start)) == 0; }

static bool is_url(const char *s) {
    size_t scheme = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
    return scheme > 0 && strncmp(s + scheme, "://", 3) == 0;
}

const char *path_resolve(struct decoder *d, const char *path) {
    const char *home = getenv("HOME");
    if (starts_with(path, "~/") && home)
        return arena_printf(d->scratch, "%s%s", home, path + 1);
    if (path[0] == '/')
        return path;
    return arena_printf(d->scratch, "%s%s", d->folder, path);
}

const char *path_resolve_absolute(struct decoder *d, const char *path) {
    const char *seen = path_resolve(d, path);
    cleanup_free char *here = seen[0] == '/' ? NULL : getcwd(NULL, 0);
    return here ? arena_printf(d->scratch, "%s/%s", here, seen) : seen;
}

/* A path or a URL of one of the schemes (up to NULL). */
static void take_place(struct decoder *d, const struct entry *entry, const char *const *schemes, struct word *slot) {
    const char *text = entry_text(d, entry);
    *slot = (struct word){NULL, entry->value->origin};
    if (!text)
        return;
    if (!is_url(text)) {
        slot->text = path_resolve(d, text);
        return;
    }
    size_t n = 0;
    if (url_login(text, &n)) {
        struct diagnostic *found =
            spec_error(d->diags, entry->value->origin,
                       "the URL of '%s' has a login in it, which must not stand in the spec", entry->key->text);
        diagnostic_hint(found, "download the file and give its path");
        return;
    }
    for (; schemes[n]; n++)
        if (starts_with(text, schemes[n])) {
            slot->text = text;
            return;
        }
    struct diagnostic *found = spec_error(d->diags, entry->value->origin, "'%s' cannot be fetched from '%s'",
                                          entry->key->text, text_excerpt(d->scratch, text, SHOWN));
    diagnostic_list(found, "use a path, or a URL that starts with", schemes, n);
}

void decode_source(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    static const char *const schemes[] = {"https://", "http://", NULL};
    (void)field;
    take_place(d, entry, schemes, slot);
}

/* Nothing but TLS vouches for a kernel that is fetched. */
void decode_kernel_file(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    static const char *const schemes[] = {"https://", NULL};
    (void)field;
    take_place(d, entry, schemes, slot);
}

void decode_sha256(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    struct word *sha256 = slot;
    const char *text = entry_text(d, entry);
    *sha256 = (struct word){NULL, entry->value->origin};
    if (!text)
        return;
    if (strlen(text) == 64 && strspn(text, "0123456789abcdefABCDEF") == 64) {
        char *lower = arena_strdup(d->scratch, text);
        for (char *p = lower; *p; p++)
            *p = (char)tolower((unsigned char)*p);
        sha256->text = lower;
        return;
    }
    struct diagnostic *found =
        spec_error(d->diags, entry->value->origin, "'sha256' must be 64 hex digits, not the %zu characters '%s'",
                   strlen(text), text_excerpt(d->scratch, text, SHOWN));
    diagnostic_hint(found, "'sha256sum FILE' prints them");
}

void decode_boot(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    struct template_draft *t = slot;
    const struct node *value = entry->value;
    if (value->kind == NODE_SCALAR && strcmp(value->text, "disk") == 0)
        return;
    if (value->kind != NODE_MAP) {
        struct diagnostic *found = spec_error(d->diags, value->origin, "'boot' must be 'disk' or a map with a kernel");
        diagnostic_hint(found, "for example boot: { kernel: vmlinuz, initrd: initrd.img }");
        return;
    }
    t->boot_at = entry->key->origin;
    decode_keys(d, field->keys, value, entry, t);
}

static uint64_t format_by_suffix(const char *source) {
    size_t len = strlen(source);
    return len > 4 && strcmp(source + len - 4, ".raw") == 0 ? 1 : 0;
}

/* Without a source the name stands for nestor's own image, and what describes a source has nothing to describe. */
static void check_lone(struct decoder *d, const struct template_draft *t) {
    const struct {
        const char *key;
        struct origin at;
    } others[] = {{"sha256", t->sha256.at}, {"format", t->format.at}, {"boot", t->boot_at}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].at.line)
            spec_error(d->diags, others[i].at, "'%s' needs 'source' beside it", others[i].key);
}

static void check_template(struct decoder *d, struct template_draft *t) {
    if (!t->source.at.line)
        check_lone(d, t);
    if (!t->source.text)
        return;
    if (is_url(t->source.text) && !t->sha256.at.line) {
        struct diagnostic *found = spec_error(d->diags, t->source.at, "a 'source' that is a URL needs 'sha256'");
        diagnostic_hint(found, "take the checksum its publisher gives, or download it once and run 'sha256sum FILE'");
    }
    if (!given(&t->format))
        t->format.value = format_by_suffix(t->source.text);
}

static void decode_template(struct decoder *d, const struct entry *entry, void *data) {
    struct lab_draft *lab = data;
    struct template_draft *t = &lab->templates[lab->ntemplates++];
    size_t nerrors = d->diags->nerrors;
    t->name = (struct word){entry->key->text, entry->key->origin};
    if (entry_is_map(d, entry)) {
        decode_keys(d, &template_keys, entry->value, entry, t);
        check_template(d, t);
    }
    t->is_wrong = d->diags->nerrors > nerrors;
}

void decode_templates(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    struct lab_draft *lab = slot;
    if (!entry_is_map(d, entry))
        return;
    lab->templates = arena_alloc(d->scratch, entry->value->n * sizeof *lab->templates);
    decode_names(d, "template", entry->value, decode_template, lab);
}
