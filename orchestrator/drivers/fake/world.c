#include "drivers/fake/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_PAUSE_MS 2

/* --- paths --- */

char *fake_world_path(const struct settings *s, const char *leaf) { return xasprintf("%s/%s", s->world, leaf); }

/* Names of labs and machines hold no dots (name_is_valid), so the dots lead back to the path. */
static void translate(char *s, char from, char to) {
    for (; *s; s++)
        if (*s == from)
            *s = to;
}

char *fake_machine_path(const struct settings *s, const struct tag *tag, const char *leaf) {
    cleanup_free char *dotted = xstrdup(tag->path);
    translate(dotted, '/', '.');
    return xasprintf("%s/machines/%s.%s%s%s", s->world, tag->lab_id, dotted, leaf ? "/" : "", leaf ? leaf : "");
}

bool fake_split_tag(char *name, struct tag *ret) {
    size_t n = strspn(name, "0123456789abcdef");
    if (n != 16 || name[n] != '.' || !name[n + 1])
        return false;
    name[n] = '\0';
    translate(name + n + 1, '.', '/');
    *ret = (struct tag){.lab_id = name, .path = name + n + 1};
    return true;
}

/* --- directories and files --- */

static int make_parents(const char *path, const char *subject, struct error *err) {
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    cleanup_free char *parent = xstrdup(path);
    parent[slash - path] = '\0';
    if (file_exists(AT_FDCWD, parent))
        return 0;
    return make_parents(parent, subject, err) || dir_make(parent, 0700, subject, err) ? -1 : 0;
}

int fake_world_make(const struct settings *s, bool parents, const char *subject, struct error *err) {
    cleanup_free char *images = fake_world_path(s, "images");
    cleanup_free char *machines = fake_world_path(s, "machines");
    if (parents && make_parents(s->world, subject, err))
        return -1;
    if (dir_make(s->world, 0700, subject, err) || dir_make(images, 0700, subject, err))
        return -1;
    return dir_make(machines, 0700, subject, err);
}

bool fake_mark_is_set(const char *path) { return access(path, F_OK) == 0; }

int fake_mark_set(const char *path, const char *subject, struct error *err) {
    if (mknod(path, S_IFREG | 0600, 0) == 0 || errno == EEXIST)
        return 0;
    return error_set_errno(err, errno, subject, "cannot make %s", path);
}

int fake_mark_clear(const char *path, const char *subject, struct error *err) {
    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    return error_set_errno(err, errno, subject, "cannot remove %s", path);
}

int fake_write(const char *path, const struct buffer *text, const char *subject, struct error *err) {
    cleanup_free char *temporary = xasprintf("%s.tmp", path);
    cleanup_close int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || fd_write(fd, text->data, text->len) || rename(temporary, path) != 0)
        return error_set_errno(err, errno, subject, "cannot write %s", path);
    return 0;
}

/* --- lock and log --- */

int fake_world_lock(const struct settings *s, const char *part, int *ret_fd, const char *subject,
                    const struct context *ctx, struct error *err) {
    cleanup_free char *path = fake_world_path(s, part);
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

static int append_line(const char *path, const char *what, const char *name, struct error *err) {
    cleanup_close int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    cleanup_free char *line = xasprintf("%s %s\n", what, name);
    if (fd < 0 || fd_write(fd, line, strlen(line)))
        return error_set_errno(err, errno, name, "cannot append to %s", path);
    return 0;
}

int fake_world_log(const struct settings *s, const char *op, const char *name, struct error *err) {
    return append_line(s->log, op, name, err);
}

int fake_world_note(const struct settings *s, const char *what, const char *name, struct error *err) {
    return s->calls[0] ? append_line(s->calls, what, name, err) : 0;
}
