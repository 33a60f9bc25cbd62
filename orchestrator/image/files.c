#include "image/files.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int stamp_of(const char *path, struct stamp *ret, struct error *err) {
    struct stat st;
    if (stat(path, &st) != 0)
        return error_set_errno(err, errno, path, "cannot look at the file");
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_IMAGE, path, "is not a regular file");
    *ret = (struct stamp){.size = (uint64_t)st.st_size,
                          .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec};
    return 0;
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

int file_read(const char *path, size_t max, struct buffer *ret, struct error *err) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, path, "cannot read the file");
    cleanup_buffer struct buffer b = {.max = max};
    char chunk[4096];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0)
        buffer_append(&b, chunk, (size_t)n);
    if (n < 0)
        return error_set_errno(err, errno, path, "cannot read the file");
    if (buffer_overflowed(&b))
        return error_set(err, ERR_IMAGE, path, "is larger than %zu bytes", max);
    buffer_append(ret, buffer_str(&b), b.len);
    return 0;
}

int file_read_line(const char *path, char **ret, struct error *err) {
    *ret = NULL;
    if (!file_exists(path))
        return 0;
    cleanup_buffer struct buffer b = {0};
    if (file_read(path, 4096, &b, err))
        return -1;
    *ret = buffer_steal(&b);
    (*ret)[strcspn(*ret, "\r\n")] = '\0';
    return 0;
}

int file_write(const char *path, const void *data, size_t len, struct error *err) {
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_set_errno(err, errno, path, "cannot create the file");
    for (const char *at = data; len > 0;) {
        ssize_t n = write(fd, at, len);
        if (n < 0)
            return error_set_errno(err, errno, path, "cannot write the file");
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

int folder_make(const char *path, struct error *err) {
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return error_set_errno(err, errno, path, "cannot make the folder");
    return 0;
}

static int sync_one(const char *path, struct error *err) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fsync(fd) != 0)
        return error_set_errno(err, errno, path, "cannot write to the disk");
    return 0;
}

static void close_walk(FTS **walk) {
    if (*walk)
        fts_close(*walk);
}

/* Calls fn for every file, and for a folder before and after its contents. NOCHDIR: the working directory belongs to
 * the whole process. */
static int walk_tree(const char *path, int (*fn)(const FTSENT *e, struct error *err), struct error *err) {
    char *const roots[] = {(char *)path, NULL};
    __attribute__((cleanup(close_walk))) FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (!walk)
        return error_set_errno(err, errno, path, "cannot list the folder");
    for (FTSENT *e; (e = fts_read(walk));) {
        bool unreadable = e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS;
        if (unreadable && e->fts_errno != ENOENT)
            return error_set_errno(err, e->fts_errno, e->fts_path, "cannot list the folder");
        if (!unreadable && fn(e, err))
            return -1;
    }
    return 0;
}

static int sync_entry(const FTSENT *e, struct error *err) {
    return e->fts_info == FTS_F || e->fts_info == FTS_DP ? sync_one(e->fts_path, err) : 0;
}

int folder_sync(const char *path, struct error *err) { return walk_tree(path, sync_entry, err); }

static int remove_entry(const FTSENT *e, struct error *err) {
    if (e->fts_info == FTS_D)
        return 0;
    int failed = e->fts_info == FTS_DP ? rmdir(e->fts_path) : unlink(e->fts_path);
    if (failed && errno != ENOENT)
        return error_set_errno(err, errno, e->fts_path, "cannot remove");
    return 0;
}

int tree_remove(const char *path, struct error *err) { return walk_tree(path, remove_entry, err); }
