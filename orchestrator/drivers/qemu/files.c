#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu_priv.h"

static int read_from(int fd, size_t max, struct buffer *ret) {
    while (max) {
        size_t want = max < 65536 ? max : 65536;
        char *to = buffer_reserve(ret, want);
        ssize_t n = to ? read(fd, to, want) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        ret->len += (size_t)n;
        ret->data[ret->len] = '\0';
        max -= (size_t)n;
    }
    return 0;
}

int vm_file_read(int dirfd, const char *name, size_t max, struct buffer *ret, const char *subject, struct error *err) {
    cleanup_close int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read_from(fd, max, ret))
        return error_set_errno(err, errno, subject, "cannot read %s", name);
    return 0;
}

int vm_file_read_tail(int dirfd, const char *name, size_t max, struct buffer *ret, const char *subject,
                      struct error *err) {
    cleanup_close int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return error_set_errno(err, errno, subject, "cannot read %s", name);
    off_t from = st.st_size > (off_t)max ? st.st_size - (off_t)max : 0;
    if (lseek(fd, from, SEEK_SET) < 0 || read_from(fd, max, ret))
        return error_set_errno(err, errno, subject, "cannot read %s", name);
    return 0;
}

static int write_all(int fd, const char *bytes, size_t n) {
    while (n) {
        ssize_t written = write(fd, bytes, n);
        if (written < 0 && errno != EINTR)
            return -1;
        if (written > 0) {
            bytes += written;
            n -= (size_t)written;
        }
    }
    return 0;
}

int vm_file_write(int dirfd, const char *name, const void *bytes, size_t n, const char *subject, struct error *err) {
    cleanup_free char *temporary = xasprintf("%s.tmp", name);
    cleanup_close int fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write_all(fd, bytes, n) || fsync(fd) || renameat(dirfd, temporary, dirfd, name)) {
        error_set_errno(err, errno, subject, "cannot write %s", name);
        if (fd >= 0)
            unlinkat(dirfd, temporary, 0);
        return -1;
    }
    return 0;
}

bool vm_file_exists(int dirfd, const char *name) { return faccessat(dirfd, name, F_OK, 0) == 0; }

int dir_each(const char *dir, const char *subject, int (*fn)(void *, const char *, struct error *), void *data,
             struct error *err) {
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT || errno == ENOTDIR ? 0 : error_set_errno(err, errno, subject, "cannot read %s", dir);
    int rc = 0;
    for (struct dirent *e; !rc && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = fn(data, e->d_name, err);
    closedir(d);
    return rc;
}
