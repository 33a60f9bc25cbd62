#include "spec/parse.h"

#include <stdlib.h>
#include <string.h>

#include "spec/limits.h"
#include "spec/resolve.h"
#include "spec/text.h"

/* "labs/" for "labs/quickstart.yaml", "" for a file of this folder or standard input. */
static const char *folder_of(struct arena *arena, const char *file) {
    const char *slash = strrchr(file, '/');
    return slash ? arena_strndup(arena, file, (size_t)(slash - file) + 1) : "";
}

static bool may_be_read(const char *text, size_t len, struct diagnostics *diags) {
    struct text_fault fault;
    if (len > SPEC_FILE_MAX) {
        spec_error(diags, (struct origin){1, 1}, "the file is larger than %zuMiB", SPEC_FILE_MAX >> 20);
        return false;
    }
    if (text_check(text, len, &fault))
        return true;
    if (fault.control)
        spec_error(diags, fault.at, "a control character is in the file (its first byte is 0x%02x)", fault.byte);
    else
        diagnostic_hint(spec_error(diags, fault.at, "the byte 0x%02x is not UTF-8", fault.byte),
                        "save the file as UTF-8");
    return false;
}

/* Decodes, checks and, if nothing is wrong, builds into lab. */
static void resolve(struct decoder *d, const struct node *root, template_check_fn *check, struct lab *lab) {
    struct lab_draft draft = {0};
    struct resolver r = {.d = d, .draft = &draft};
    decode_keys(d, &lab_keys, root, NULL, &draft);
    draft_check(&r);
    if (!d->diags->nerrors)
        draft_build(&r, lab);
    else if (check)
        draft_check_templates(&r, check);
    resolver_free(&r);
    index_free(&d->user_files);
}

static void read_lab(const char *file, const struct driver_list *drivers, template_check_fn *check, struct lab *lab,
                     struct diagnostics *diags) {
    struct arena scratch = {0};
    struct decoder d = {.scratch = &scratch,
                        .diags = diags,
                        .folder = folder_of(&scratch, file),
                        .drivers = drivers->items,
                        .ndrivers = drivers->n};
    const struct node *root =
        may_be_read(lab->text, lab->text_len, diags) ? tree_parse(lab->text, lab->text_len, &scratch, diags) : NULL;
    if (root && root->kind != NODE_MAP)
        diagnostic_hint(
            spec_error(diags, root->origin, "a spec is a map of keys and values, not %s", node_kind_name(root)),
            "its first line is 'lab: NAME'");
    else if (root)
        resolve(&d, root, check, lab);
    arena_free(&scratch);
}

static const struct diagnostic *first_error(const struct diagnostics *d) {
    size_t i = 0;
    while (d->items[i].warning)
        i++;
    return &d->items[i];
}

static int refuse(const char *file, const struct diagnostics *diags, struct error *err) {
    const struct diagnostic *first = first_error(diags);
    cleanup_free char *subject = xasprintf("%s:%d:%d", file, first->origin.line, first->origin.column);
    error_set(err, ERR_SPEC, subject, "%s", first->text);
    return first->hint[0] ? error_mend(err, "%s", first->hint) : -1;
}

int spec_parse(const char *file, const char *text, size_t len, const struct driver_list *drivers,
               template_check_fn *check, struct lab **ret, struct diagnostics *diags, struct error *err) {
    struct lab *lab = xcalloc(1, sizeof *lab);
    lab->file = arena_strdup(&lab->arena, file);
    lab->text = arena_strndup(&lab->arena, text, len);
    lab->text_len = len;
    read_lab(file, drivers, check, lab, diags);
    diagnostics_sort(diags);
    if (diags->nerrors) {
        lab_free(lab);
        return refuse(file, diags, err);
    }
    *ret = lab;
    return 0;
}

void lab_free(struct lab *lab) {
    if (!lab)
        return;
    arena_free(&lab->arena);
    free(lab);
}
