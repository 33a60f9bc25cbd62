/* `user-data:`, as text or as a file. */
#include <string.h>
#include <strings.h>

#include "spec/draft.h"
#include "spec/limits.h"
#include "spec/plain_file.h"
#include "spec/text.h"

#define SHOWN 80

static bool check_text(struct decoder *d, struct origin at, const char *text, size_t len) {
    struct text_fault fault;
    if (len > SPEC_USER_DATA_MAX)
        spec_error(d->diags, at, "the user-data is larger than %zuKiB", SPEC_USER_DATA_MAX >> 10);
    else if (!text_check(text, len, &fault))
        spec_error(d->diags, at, "the user-data is not plain text: byte 0x%02x in its line %d, column %d", fault.byte,
                   fault.at.line, fault.at.column);
    else if (len == 0)
        spec_error(d->diags, at, "the user-data is empty");
    else
        return true;
    return false;
}

static const char *load(struct decoder *d, const char *path, struct origin at) {
    cleanup_buffer struct buffer content = {0};
    struct error err = {0};
    if (plain_file_read(path, SPEC_USER_DATA_MAX + 1, &content, &err))
        spec_error(d->diags, at, "the file '%s': %s", text_excerpt(d->scratch, path, SHOWN), err.cause);
    else if (content.len > SPEC_USER_DATA_TOTAL_MAX - d->user_files_size)
        spec_error(d->diags, at, "the user-data files are larger than %zuMiB together", SPEC_USER_DATA_TOTAL_MAX >> 20);
    else if (check_text(d, at, buffer_str(&content), content.len)) {
        d->user_files_size += content.len;
        return arena_strndup(d->scratch, buffer_str(&content), content.len);
    }
    return NULL;
}

/* A file named many times, by counts of machines or aliases, is read once. */
static const char *load_once(struct decoder *d, const char *path, struct origin at) {
    const char *text = index_find(&d->user_files, path);
    if (!text) {
        text = load(d, path, at);
        index_put(&d->user_files, path, (void *)(text ? text : ""));
    }
    return text && *text ? text : NULL;
}

/* As cloudinit/handlers/__init__.py has them, of two that fit the longer first. */
static const struct {
    const char *start, *type;
} types[] = {
    {"#cloud-config-archive", "text/cloud-config-archive"},
    {"#cloud-config-jsonp", "text/cloud-config-jsonp"},
    {"#cloud-config", "text/cloud-config"},
    {"#cloud-boothook", "text/cloud-boothook"},
    {"#part-handler", "text/part-handler"},
    {"#include-once", "text/x-include-once-url"},
    {"#include", "text/x-include-url"},
    {"## template: jinja", "text/jinja2"},
    {"#!", "text/x-shellscript"},
    {"Content-Type: multipart/", USER_DATA_MULTIPART},
    {"MIME-Version:", USER_DATA_MULTIPART},
};

const char *user_data_type(const char *user_data) {
    const char *text = user_data + strspn(user_data, " \t\r\n"); /* cloud-init skips them too */
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strncasecmp(text, types[i].start, strlen(types[i].start)) == 0)
            return types[i].type;
    return NULL;
}

/* cloud-init silently drops what it does not know (docs.cloud-init.io, "User data formats"). */
static void check_header(struct decoder *d, const struct word *user_data) {
    if (user_data_type(user_data->text))
        return;
    struct diagnostic *found = spec_error(d->diags, user_data->at, "cloud-init would ignore this user-data");
    diagnostic_hint(found, "begin it with '#cloud-config', '#!/bin/sh' or another of cloud-init's formats");
}

static const char *user_data_text(struct decoder *d, const struct field *field, const struct entry *entry) {
    const struct node *value = entry->value;
    if (value->kind == NODE_MAP) {
        struct word file = {0};
        decode_keys(d, field->keys, value, entry, &file);
        return file.text ? load_once(d, path_resolve(d, file.text), file.at) : NULL;
    }
    if (value->kind == NODE_SCALAR && !value->null)
        return check_text(d, value->origin, value->text, value->n) ? value->text : NULL;
    spec_error(d->diags, value->origin, "'user-data' must be a text or a map with 'file', not %s",
               node_kind_name(value));
    return NULL;
}

void decode_user_data(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    struct word *user_data = slot;
    *user_data = (struct word){user_data_text(d, field, entry), entry->value->origin};
    if (user_data->text)
        check_header(d, user_data);
}
