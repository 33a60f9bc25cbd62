#include "drivers/fake/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drivers/fake/world.h"

static const char *const field_names[RECORD_FIELD_MAX] = {
#define X(symbol, name) [symbol] = name,
    RECORD_FIELDS(X)
#undef X
};

/* Cuts "name X\ndigest Y\n..." into its fields. */
static bool record_parse(struct record *r) {
    char *rest = r->text;
    for (int i = 0; i < RECORD_FIELD_MAX; i++) {
        char *value = strsep(&rest, "\n");
        const char *key = value ? strsep(&value, " ") : NULL;
        if (!value || !rest || strcmp(key, field_names[i]) != 0)
            return false;
        r->field[i] = value;
    }
    return true;
}

static bool record_read(const char *path, struct record *r) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, r->text, sizeof r->text - 1);
    if (n < 0)
        return false;
    r->text[n] = '\0';
    return record_parse(r);
}

void fake_record_load(const struct settings *s, const struct tag *tag, struct record *ret) {
    cleanup_free char *spec = fake_machine_path(s, tag, "spec");
    *ret = (struct record){.power = POWER_BROKEN};
    if (!record_read(spec, ret)) {
        *ret = (struct record){.power = POWER_BROKEN};
        *strrchr(spec, '/') = '\0';
        if (access(spec, F_OK) != 0)
            ret->power = POWER_ABSENT;
        return;
    }
    cleanup_free char *on = fake_machine_path(s, tag, "on");
    cleanup_free char *exposed = fake_machine_path(s, tag, "exposed");
    ret->power = fake_mark_is_set(on) ? POWER_ON : POWER_OFF;
    ret->exposed = fake_mark_is_set(exposed);
}

uint64_t fake_record_number(const struct record *r, enum record_field field) {
    return r->field[field] ? strtoull(r->field[field], NULL, 10) : 0;
}

int fake_record_write(const struct settings *s, const struct machine_spec *spec, struct error *err) {
    cleanup_buffer struct buffer text = {0};
    buffer_printf(&text, "name %s\ndigest %s\nimage %s\nuuid %s\nmac %s\n", spec->name, spec->digest,
                  spec->image->sha256[0] ? spec->image->sha256 : spec->image->name, spec->uuid, spec->mac);
    buffer_printf(&text, "cpus %u\nmemory %llu\ndisk %llu\nssh-port %u\n", spec->cpus, (unsigned long long)spec->memory,
                  (unsigned long long)(spec->disk ? spec->disk : spec->image->virtual_size), spec->ssh_port);
    cleanup_free char *path = fake_machine_path(s, &spec->tag, "spec");
    return fake_write(path, &text, spec->tag.path, err);
}

int fake_record_each(const struct settings *s, const char *lab_id, record_fn fn, void *data, const char *subject,
                     struct error *err) {
    cleanup_free char *path = fake_world_path(s, "machines");
    cleanup_dir DIR *dir = opendir(path);
    if (!dir)
        return error_set_errno(err, errno, subject, "cannot list %s", path);
    int got;
    for (const char *name; (got = dir_next(dir, &name)) > 0;) {
        cleanup_free char *split = xstrdup(name);
        struct tag tag;
        struct record record;
        if (!fake_split_tag(split, &tag) || (lab_id && strcmp(lab_id, tag.lab_id) != 0))
            continue;
        fake_record_load(s, &tag, &record);
        if (record.power != POWER_ABSENT) /* removed by somebody since the name was read */
            fn(data, &tag, &record);
    }
    return got ? error_set_errno(err, errno, subject, "cannot list %s", path) : 0;
}

static void add_usage(void *data, const struct tag *tag, const struct record *record) {
    (void)tag;
    struct usage *sum = data;
    sum->disk += fake_record_number(record, RECORD_DISK);
    if (record->power == POWER_ON)
        sum->memory += fake_record_number(record, RECORD_MEMORY);
}

int fake_record_usage(const struct settings *s, struct usage *ret, const char *subject, struct error *err) {
    struct usage sum = {0};
    if (fake_record_each(s, NULL, add_usage, &sum, subject, err))
        return -1;
    *ret = sum;
    return 0;
}
