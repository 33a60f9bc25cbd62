#include "nestor/file.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK ((size_t)64 << 10)

int fd_read(int fd, size_t max, struct buffer *ret) {
    while (max > 0) {
        size_t want = max < CHUNK ? max : CHUNK;
        char *to = buffer_reserve(ret, want);
        if (!to) {
            errno = EFBIG;
            return -1;
        }
        ssize_t got = read(fd, to, want);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return (int)got;
        ret->len += (size_t)got;
        ret->data[ret->len] = '\0';
        max -= (size_t)got;
    }
    return 0;
}

int fd_write(int fd, const void *bytes, size_t n) {
    for (const char *at = bytes; n > 0;) {
        ssize_t put = write(fd, at, n);
        if (put < 0 && errno != EINTR)
            return -1;
        at += put > 0 ? put : 0;
        n -= put > 0 ? (size_t)put : 0;
    }
    return 0;
}

static int sync_dir_of(int dirfd, const char *name) {
    cleanup_free char *copy = xstrdup(name);
    cleanup_close int fd = openat(dirfd, dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* EINVAL: a file system that cannot put a directory on disk by itself (fsync(2)). */
    return fd >= 0 && (fsync(fd) == 0 || errno == EINVAL) ? 0 : -1;
}

int fd_publish(int fd, int dirfd, const char *temporary, const char *name, mode_t mode) {
    if (fchmod(fd, mode) || fsync(fd) || renameat(dirfd, temporary, dirfd, name))
        return -1;
    return sync_dir_of(dirfd, name);
}

/* "cannot ..." about the subject, naming the file, or about the file. */
static int file_error(const char *doing, const char *name, const char *subject, struct error *err) {
    if (subject)
        return error_set_errno(err, errno, subject, "cannot %s %s", doing, name);
    return error_set_errno(err, errno, name, "cannot %s it", doing);
}

bool file_exists(int dirfd, const char *name) { return faccessat(dirfd, name, F_OK, 0) == 0; }

static bool is_program(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* As execvp(3) in glibc: without PATH it looks in a default of its own, and nothing between two colons is the current
 * folder. */
bool program_exists(const char *name) {
    char fallback[64] = "";
    const char *path = getenv("PATH");
    if (strchr(name, '/'))
        return is_program(name);
    if (!path && confstr(_CS_PATH, fallback, sizeof fallback) <= sizeof fallback)
        path = fallback;
    for (bool more = path != NULL; more;) {
        size_t len = strcspn(path, ":");
        cleanup_free char *file = xasprintf("%.*s%s%s", (int)len, path, len ? "/" : "", name);
        if (is_program(file))
            return true;
        more = path[len] == ':';
        path += len + more;
    }
    return false;
}

int file_read(int dirfd, const char *name, size_t max, struct buffer *ret, const char *subject, struct error *err) {
    cleanup_close int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    return fd < 0 || fd_read(fd, max, ret) ? file_error("read", name, subject, err) : 0;
}

int file_write(int dirfd, const char *name, const void *bytes, size_t n, mode_t mode, const char *subject,
               struct error *err) {
    /* Thread ids are unique among what runs: two writers never share a temporary file. */
    cleanup_free char *temporary = xasprintf("%s.%d.tmp", name, (int)gettid());
    cleanup_close int fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return file_error("write", name, subject, err);
    /* fchmod: the leftover of one that was killed may be taken over, and its mode is not to be trusted. */
    if (fchmod(fd, 0600) || fd_write(fd, bytes, n) || fd_publish(fd, dirfd, temporary, name, mode)) {
        file_error("write", name, subject, err);
        unlinkat(dirfd, temporary, 0);
        return -1;
    }
    return 0;
}

int dir_make(const char *path, mode_t mode, const char *subject, struct error *err) {
    if (mkdir(path, mode) == 0 || errno == EEXIST)
        return 0;
    return error_set_errno(err, errno, subject ? subject : path, "cannot make the directory %s", path);
}

void cleanup_closedirp(DIR **dir) {
    if (*dir)
        closedir(*dir);
}

int dir_next(DIR *dir, const char **ret) {
    for (;;) {
        errno = 0; /* readdir(3) gives NULL at the end and when it fails */
        const struct dirent *entry = readdir(dir);
        if (!entry)
            return errno ? -1 : 0;
        *ret = entry->d_name;
        if (strcmp(*ret, ".") != 0 && strcmp(*ret, "..") != 0)
            return 1;
    }
}

/* --- removing a tree --- */

struct removal {
    const char *path, *subject;
    struct error *err;
};

static int removal_error(const struct removal *r, const char *name) {
    int errnum = errno;
    const char *subject = r->subject ? r->subject : r->path;
    if (name == r->path)
        return error_set_errno(r->err, errnum, subject, "cannot remove %s", r->path);
    return error_set_errno(r->err, errnum, subject, "cannot remove %s in %s", name, r->path);
}

static int remove_at(const struct removal *r, int at, const char *name);

static int remove_entries(const struct removal *r, DIR *dir, const char *name) {
    int got;
    for (const char *entry; (got = dir_next(dir, &entry)) > 0;)
        if (remove_at(r, dirfd(dir), entry))
            return -1;
    return got ? removal_error(r, name) : 0;
}

/* Through descriptors: a directory that is replaced by a symbolic link meanwhile does not lead out of the tree. */
static int remove_at(const struct removal *r, int at, const char *name) {
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return removal_error(r, name);
    cleanup_close int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return errno == ENOENT ? 0 : removal_error(r, name);
    fd = -1; /* dir's now */
    if (remove_entries(r, dir, name))
        return -1;
    return unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : removal_error(r, name);
}

int tree_remove(const char *path, const char *subject, struct error *err) {
    const struct removal removal = {path, subject, err};
    return remove_at(&removal, AT_FDCWD, path);
}

int dir_each(const char *dir, const char *subject, int (*fn)(void *, const char *, struct error *), void *data,
             struct error *err) {
    cleanup_dir DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT || errno == ENOTDIR ? 0 : error_set_errno(err, errno, subject, "cannot read %s", dir);
    int got;
    for (const char *name; (got = dir_next(d, &name)) > 0;)
        if (fn(data, name, err))
            return -1;
    return got ? error_set_errno(err, errno, subject, "cannot read %s", dir) : 0;
}
