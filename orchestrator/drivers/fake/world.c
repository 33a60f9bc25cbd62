#include "drivers/fake/world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_PAUSE_MS 2

static const char *const field_names[RECORD_FIELD_MAX] = {
#define X(symbol, name) [symbol] = name,
    RECORD_FIELDS(X)
#undef X
};

/* --- paths --- */

char *world_path(const struct settings *s, const char *leaf) { return xasprintf("%s/%s", s->world, leaf); }

/* Names of labs and machines hold no dots (name_is_valid), so the dots lead back to the path. */
static void translate(char *s, char from, char to) {
    for (; *s; s++)
        if (*s == from)
            *s = to;
}

char *machine_path(const struct settings *s, const struct tag *tag, const char *leaf) {
    cleanup_free char *dotted = xstrdup(tag->path);
    translate(dotted, '/', '.');
    return xasprintf("%s/machines/%s.%s%s%s", s->world, tag->lab_id, dotted, leaf ? "/" : "", leaf ? leaf : "");
}

static int make_directory(const char *path, const char *subject, struct error *err) {
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    return error_set_errno(err, errno, subject, "cannot make the directory %s", path);
}

static int make_directories(const char *path, const char *subject, struct error *err) {
    cleanup_free char *partial = xstrdup(path);
    for (char *slash = partial + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (make_directory(partial, subject, err))
            return -1;
        *slash = '/';
    }
    return make_directory(path, subject, err);
}

int world_make(const struct settings *s, const char *subject, struct error *err) {
    cleanup_free char *images = world_path(s, "images");
    cleanup_free char *machines = world_path(s, "machines");
    if (access(machines, F_OK) == 0)
        return 0;
    return make_directories(images, subject, err) || make_directories(machines, subject, err) ? -1 : 0;
}

/* --- records --- */

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

void record_load(const struct settings *s, const struct tag *tag, struct record *ret) {
    cleanup_free char *spec = machine_path(s, tag, "spec");
    *ret = (struct record){.power = POWER_BROKEN};
    if (!record_read(spec, ret)) {
        *ret = (struct record){.power = POWER_BROKEN};
        *strrchr(spec, '/') = '\0';
        if (access(spec, F_OK) != 0)
            ret->power = POWER_ABSENT;
        return;
    }
    cleanup_free char *on = machine_path(s, tag, "on");
    cleanup_free char *exposed = machine_path(s, tag, "exposed");
    ret->power = mark_is_set(on) ? POWER_ON : POWER_OFF;
    ret->exposed = mark_is_set(exposed);
}

uint64_t record_number(const struct record *r, enum record_field field) {
    return r->field[field] ? strtoull(r->field[field], NULL, 10) : 0;
}

/* Makes path with its whole content, or not at all. */
static int write_whole(const char *path, const struct buffer *text, const char *subject, struct error *err) {
    cleanup_free char *temporary = xasprintf("%s.tmp", path);
    cleanup_close int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text->data, text->len) != (ssize_t)text->len || rename(temporary, path) != 0)
        return error_set_errno(err, errno, subject, "cannot write %s", path);
    return 0;
}

int record_write(const struct settings *s, const struct machine_spec *spec, struct error *err) {
    cleanup_buffer struct buffer text = {0};
    buffer_printf(&text, "name %s\ndigest %s\nimage %s\nuuid %s\nmac %s\n", spec->name, spec->digest,
                  spec->image->sha256, spec->uuid, spec->mac);
    buffer_printf(&text, "cpus %u\nmemory %llu\ndisk %llu\nssh-port %u\n", spec->cpus, (unsigned long long)spec->memory,
                  (unsigned long long)(spec->disk ? spec->disk : spec->image->virtual_size), spec->ssh_port);
    cleanup_free char *path = machine_path(s, &spec->tag, "spec");
    return write_whole(path, &text, spec->tag.path, err);
}

/* --- all machines --- */

/* "0123456789abcdef.lab.kvm1" -> its two halves, in place. */
static bool split_tag(char *name, struct tag *ret) {
    size_t n = strspn(name, "0123456789abcdef");
    if (n != 16 || name[n] != '.' || !name[n + 1])
        return false;
    name[n] = '\0';
    translate(name + n + 1, '.', '/');
    *ret = (struct tag){.lab_id = name, .path = name + n + 1};
    return true;
}

static void cleanup_closedirp(DIR **dir) {
    if (*dir)
        closedir(*dir);
}

int world_each(const struct settings *s, const char *lab_id, machine_fn fn, void *data, const char *subject,
               struct error *err) {
    cleanup_free char *path = world_path(s, "machines");
    __attribute__((cleanup(cleanup_closedirp))) DIR *dir = opendir(path);
    if (!dir)
        return error_set_errno(err, errno, subject, "cannot list %s", path);
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct tag tag;
        struct record record;
        if (!split_tag(entry->d_name, &tag) || (lab_id && strcmp(lab_id, tag.lab_id) != 0))
            continue;
        record_load(s, &tag, &record);
        if (record.power != POWER_ABSENT) /* removed by somebody since the name was read */
            fn(data, &tag, &record);
    }
    return 0;
}

static void add_usage(void *data, const struct tag *tag, const struct record *record) {
    (void)tag;
    struct usage *sum = data;
    sum->disk += record_number(record, RECORD_DISK);
    if (record->power == POWER_ON)
        sum->memory += record_number(record, RECORD_MEMORY);
}

int world_usage(const struct settings *s, struct usage *ret, const char *subject, struct error *err) {
    struct usage sum = {0};
    if (world_each(s, NULL, add_usage, &sum, subject, err))
        return -1;
    *ret = sum;
    return 0;
}

/* --- marks and trees --- */

bool mark_is_set(const char *path) { return access(path, F_OK) == 0; }

int mark_set(const char *path, const char *subject, struct error *err) {
    if (mknod(path, S_IFREG | 0600, 0) == 0 || errno == EEXIST)
        return 0;
    return error_set_errno(err, errno, subject, "cannot make %s", path);
}

int mark_clear(const char *path, const char *subject, struct error *err) {
    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    return error_set_errno(err, errno, subject, "cannot remove %s", path);
}

static bool is_dots(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

static int remove_entries(const char *path, const char *subject, struct error *err) {
    __attribute__((cleanup(cleanup_closedirp))) DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? 0 : error_set_errno(err, errno, subject, "cannot list %s", path);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (is_dots(entry->d_name))
            continue;
        cleanup_free char *below = xasprintf("%s/%s", path, entry->d_name);
        if (world_tree_remove(below, subject, err))
            return -1;
    }
    return 0;
}

int world_tree_remove(const char *path, const char *subject, struct error *err) {
    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return error_set_errno(err, errno, subject, "cannot remove %s", path);
    if (remove_entries(path, subject, err))
        return -1;
    if (rmdir(path) == 0 || errno == ENOENT)
        return 0;
    return error_set_errno(err, errno, subject, "cannot remove %s", path);
}

/* --- lock and log --- */

int world_lock(const struct settings *s, int *ret_fd, const char *subject, const struct context *ctx,
               struct error *err) {
    cleanup_free char *path = world_path(s, "machines");
    cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, subject, "cannot open %s", path);
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set_errno(err, errno, subject, "cannot lock %s", path);
        if (context_sleep(ctx, LOCK_PAUSE_MS, subject, "waiting for the world's lock", err))
            return -1;
    }
    *ret_fd = steal_fd(&fd);
    return 0;
}

int world_log(const struct settings *s, const char *op, const char *name, struct error *err) {
    cleanup_close int fd = open(s->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    cleanup_free char *line = xasprintf("%s %s\n", op, name);
    size_t n = strlen(line);
    if (fd < 0 || write(fd, line, n) != (ssize_t)n)
        return error_set_errno(err, errno, name, "cannot append to %s", s->log);
    return 0;
}
