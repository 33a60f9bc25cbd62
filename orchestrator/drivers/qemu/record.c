#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_priv.h"

/* Far above what a kernel command line and a few paths need. */
#define RECORD_MAX_BYTES ((size_t)1 << 20)
#define RECORD_VERSION 1

enum kind { TEXT, NUMBER, FLAG };
struct field {
    const char *key;
    enum kind kind;
    size_t offset;
};
#define FIELD(kind, name)                                                                                              \
    { #name, kind, offsetof(struct record, name) }
static const struct field fields[] = {
    FIELD(TEXT, lab_id),         FIELD(TEXT, path),
    FIELD(TEXT, name),           FIELD(TEXT, digest),
    FIELD(TEXT, uuid),           FIELD(TEXT, mac),
    FIELD(TEXT, image),          FIELD(TEXT, format),
    FIELD(NUMBER, image_size),   FIELD(NUMBER, image_mtime_ns),
    FIELD(TEXT, kernel),         FIELD(TEXT, initrd),
    FIELD(TEXT, cmdline),        FIELD(NUMBER, cpus),
    FIELD(NUMBER, memory),       FIELD(NUMBER, ssh_port),
    FIELD(NUMBER, host_port),    FIELD(FLAG, expose),
    FIELD(NUMBER, launched_pid), FIELD(FLAG, launched_exposed),
};
#define NFIELDS (sizeof fields / sizeof *fields)

static json_t *get_field(const struct record *r, const struct field *f) {
    const char *at = (const char *)r + f->offset;
    switch (f->kind) {
    case TEXT:
        return json_string(*(const char *const *)(const void *)at);
    case NUMBER:
        return json_integer(*(const int64_t *)(const void *)at);
    case FLAG:
        return json_boolean(*(const bool *)at);
    }
    return NULL;
}

/* False when the value is not of the field's kind. */
static bool set_field(struct record *r, const struct field *f, const json_t *value) {
    char *at = (char *)r + f->offset;
    switch (f->kind) {
    case TEXT:
        *(const char **)(void *)at = json_is_string(value) ? arena_strdup(&r->arena, json_string_value(value)) : "";
        return json_is_string(value);
    case NUMBER:
        *(int64_t *)(void *)at = json_integer_value(value);
        return json_is_integer(value) && json_integer_value(value) >= 0;
    case FLAG:
        *(bool *)at = json_is_true(value);
        return json_is_boolean(value);
    }
    return false;
}

static int broken(const char *subject, const char *what, struct error *err) {
    return error_set(err, ERR_STATE_CORRUPT, subject, "its %s is damaged: %s", RECORD_FILE, what);
}

static int from_json(const json_t *json, struct record *ret, const char *subject, struct error *err) {
    if (json_integer_value(json_object_get(json, "version")) != RECORD_VERSION)
        return broken(subject, "it is of another version", err);
    for (size_t i = 0; i < NFIELDS; i++)
        if (!set_field(ret, &fields[i], json_object_get(json, fields[i].key)))
            return broken(subject, fields[i].key, err);
    return 0;
}

int vm_record_load(int dirfd, struct record *ret, const char *subject, struct error *err) {
    cleanup_buffer struct buffer text = {0};
    if (file_read(dirfd, RECORD_FILE, RECORD_MAX_BYTES, &text, subject, err))
        return -1;
    json_error_t why;
    json_t *json = json_loadb(buffer_str(&text), text.len, JSON_REJECT_DUPLICATES, &why);
    struct record r = {0};
    int rc = json ? from_json(json, &r, subject, err) : broken(subject, why.text, err);
    json_decref(json);
    if (rc)
        vm_record_free(&r);
    else
        *ret = r;
    return rc;
}

static json_t *to_json(const struct record *r) {
    json_t *json = json_pack("{s:i}", "version", RECORD_VERSION);
    for (size_t i = 0; json && i < NFIELDS; i++)
        if (json_object_set_new(json, fields[i].key, get_field(r, &fields[i]))) {
            json_decref(json);
            return NULL;
        }
    return json;
}

int vm_record_save(int dirfd, const struct record *r, const char *subject, struct error *err) {
    json_t *json = to_json(r);
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    if (!text)
        return error_set(err, ERR_UNSUPPORTED, subject, "a path or name of it is not valid UTF-8");
    int rc = file_write(dirfd, RECORD_FILE, text, strlen(text), 0600, subject, err);
    free(text);
    return rc;
}

void vm_record_free(struct record *r) {
    arena_free(&r->arena);
    *r = (struct record){0};
}
