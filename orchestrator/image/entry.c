#include "image/entry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nestor/identity.h"
#include "nestor/state.h"

#define LOCK_RETRY_MS 100
#define KEY_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

void entry_free(struct entry *e) {
    free(e->root);
    free(e->key);
    free(e->folder);
    for (int i = 0; i < IMAGE_FILES; i++)
        free(e->sources[i]);
    *e = (struct entry){0};
}

bool source_is_url(const char *source) { return strstr(source, "://") != NULL; }

/* No dots: ".KEY." then begins the work in progress of one key only. */
static bool key_is_valid(const char *key) {
    size_t len = strlen(key);
    return len >= 1 && len <= 100 && strspn(key, KEY_CHARACTERS) == len && key[0] != '-';
}

int entry_init_key(struct entry *e, const char *key, struct error *err) {
    *e = (struct entry){0};
    if (!key_is_valid(key))
        return error_set(err, ERR_USAGE, key, "is not the name of an image: letters, digits, '-' and '_'");
    const char *cache = nestor_cache(err);
    if (!cache)
        return -1;
    cleanup_free char *root = xasprintf("%s/images", cache);
    if (dir_make(root, 0755, NULL, err))
        return -1;
    e->root = steal_ptr(&root);
    e->key = xstrdup(key);
    e->folder = xasprintf("%s/%s", e->root, key);
    return 0;
}

/* Absolute, because the same relative path means another file elsewhere. */
static int resolve(const struct template *t, const char *source, char **ret, struct error *err) {
    if (!source)
        return 0;
    *ret = source_is_url(source) ? xstrdup(source) : realpath(source, NULL);
    if (*ret)
        return 0;
    error_set_errno(err, errno, source, "cannot find the file");
    return error_mend(err, "correct the path of template '%s'", t->name);
}

static int init_sources(struct entry *e, const struct template *t, struct error *err) {
    bool kernel = t->boot == BOOT_KERNEL;
    const char *const sources[IMAGE_FILES] = {[IMAGE_DISK] = t->source,
                                              [IMAGE_KERNEL] = kernel ? t->kernel : NULL,
                                              [IMAGE_INITRD] = kernel ? t->initrd : NULL};
    cleanup_buffer struct buffer all = {0};
    for (int i = 0; i < IMAGE_FILES; i++) {
        if (resolve(t, sources[i], &e->sources[i], err))
            return -1;
        buffer_printf(&all, "%s\n", e->sources[i] ? e->sources[i] : "");
    }
    char hash[65];
    sha256_hex(buffer_str(&all), all.len, hash);
    cleanup_free char *key = steal_ptr(&e->key), *folder = steal_ptr(&e->folder);
    e->key = xasprintf("%s-%.12s", key, hash);
    e->folder = xasprintf("%s-%.12s", folder, hash);
    return 0;
}

int entry_init(struct entry *e, const struct template *t, struct error *err) {
    if (entry_init_key(e, t->name, err))
        return -1;
    return t->source ? init_sources(e, t, err) : 0;
}

char *entry_log(const struct entry *e) { return xasprintf("%s.log", e->folder); }

static int wait_for_lock(const struct entry *e, int fd, struct event_sink *sink, const struct context *ctx,
                         struct error *err) {
    for (bool told = false; flock(fd, LOCK_EX | LOCK_NB) != 0;) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set_errno(err, errno, e->key, "cannot lock the image");
        if (!ctx) {
            error_set(err, ERR_LOCKED, e->key, "another nestor is making this image");
            return error_mend(err, "wait until it has ended");
        }
        if (!told)
            event_emit(sink, (struct event){.kind = EVENT_NOTICE,
                                            .step = "image",
                                            .text = "waiting for another nestor that is making this image"});
        told = true;
        if (context_sleep(ctx, LOCK_RETRY_MS, e->key, "waiting for another nestor that is making this image", err))
            return -1;
    }
    return 0;
}

static char *lock_path(const struct entry *e) { return xasprintf("%s.lock", e->folder); }

/* Who holds a lock file may remove it: one that was waited for counts only while it has its name. */
static bool has_name(int fd, const char *path) {
    struct stat mine, there;
    return fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_dev == there.st_dev &&
           mine.st_ino == there.st_ino;
}

int entry_lock(const struct entry *e, struct event_sink *sink, const struct context *ctx, struct entry_hold *ret,
               struct error *err) {
    cleanup_free char *path = lock_path(e);
    for (;;) {
        cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return error_set_errno(err, errno, path, "cannot open the lock file");
        if (wait_for_lock(e, fd, sink, ctx, err))
            return -1;
        if (has_name(fd, path)) {
            *ret = (struct entry_hold){e, steal_fd(&fd)};
            return 0;
        }
    }
}

bool entry_is_held(const struct entry *e) {
    cleanup_free char *path = lock_path(e);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;
}

static int end_at_first(void *data, const char *path, struct error *err) {
    (void)data, (void)path, (void)err;
    return -1;
}

void entry_unlock(struct entry_hold *hold) {
    if (!hold->entry)
        return;
    bool leftovers = entry_each_leftover(hold->entry, end_at_first, NULL, NULL) != 0;
    cleanup_free char *path = lock_path(hold->entry);
    if (!leftovers && !file_exists(AT_FDCWD, hold->entry->folder))
        unlink(path);
    close(hold->fd);
    hold->entry = NULL;
}

int entry_stage(const struct entry *e, char **ret_folder, struct error *err) {
    cleanup_free char *folder = xasprintf("%s/.%s.XXXXXX", e->root, e->key);
    if (!mkdtemp(folder))
        return error_set_errno(err, errno, e->root, "cannot make a folder");
    *ret_folder = steal_ptr(&folder);
    return 0;
}

int entry_publish(const struct entry *e, const char *folder, struct error *err) {
    cleanup_free char *old = xasprintf("%s/.%s.old", e->root, e->key);
    if (folder_sync(folder, err) || tree_remove(old, NULL, err))
        return -1;
    if (rename(e->folder, old) != 0 && errno != ENOENT)
        return error_set_errno(err, errno, e->folder, "cannot move the old image away");
    if (rename(folder, e->folder) != 0)
        return error_set_errno(err, errno, e->folder, "cannot move the new image into place");
    cleanup_close int root = open(e->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || fsync(root) != 0)
        return error_set_errno(err, errno, e->root, "cannot write to the disk");
    return tree_remove(old, NULL, err);
}

int entry_each_leftover(const struct entry *e, int (*fn)(void *data, const char *path, struct error *err), void *data,
                        struct error *err) {
    cleanup_dir DIR *root = opendir(e->root);
    if (!root)
        return error_set_errno(err, errno, e->root, "cannot list the images");
    cleanup_free char *prefix = xasprintf(".%s.", e->key);
    int got;
    for (const char *name; (got = dir_next(root, &name)) > 0;) {
        if (strncmp(name, prefix, strlen(prefix)) != 0)
            continue;
        cleanup_free char *path = xasprintf("%s/%s", e->root, name);
        if (fn(data, path, err))
            return -1;
    }
    return got ? error_set_errno(err, errno, e->root, "cannot list the images") : 0;
}

static int remove_leftover(void *data, const char *path, struct error *err) {
    (void)data;
    return tree_remove(path, NULL, err);
}

int entry_clean(const struct entry *e, struct error *err) { return entry_each_leftover(e, remove_leftover, NULL, err); }
