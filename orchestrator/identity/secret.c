#include "nestor/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "identity/identity_priv.h"

int secret_new(struct secret *s, struct error *err) {
    struct secret fresh;
    int r = random_fill(fresh.bytes, sizeof fresh.bytes, err);
    if (r == 0)
        *s = fresh;
    secret_wipe(&fresh);
    return r;
}

void secret_wipe(struct secret *s) {
    if (s)
        OPENSSL_cleanse(s, sizeof *s);
}

static int write_all(int fd, const unsigned char *at, size_t n) {
    while (n > 0) {
        ssize_t put = write(fd, at, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        at += put;
        n -= (size_t)put;
    }
    return 0;
}

/* The rename itself must survive a power cut: a lab whose secret is lost cannot be logged in to any more. */
static int sync_folder_of(const char *path) {
    cleanup_free char *copy = xstrdup(path);
    cleanup_close int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

static int write_file(const char *path, const struct secret *s) {
    /* A leftover of a killed save is taken over; fchmod because its mode, not ours, would count. */
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || fchmod(fd, 0600) < 0 || write_all(fd, s->bytes, sizeof s->bytes) < 0)
        return -1;
    return fsync(fd);
}

int secret_save(const struct secret *s, const char *path, struct error *err) {
    cleanup_free char *temporary = xasprintf("%s.tmp", path);
    if (write_file(temporary, s) < 0 || rename(temporary, path) < 0 || sync_folder_of(path) < 0) {
        int errnum = errno;
        unlink(temporary);
        return error_set_errno(err, errnum, path, "cannot save the lab's secret");
    }
    return 0;
}

static int check_file(int fd, const char *path, struct error *err) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set_errno(err, errno, path, "cannot look at the lab's secret");
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_IO, path, "the lab's secret is not a regular file");
    if (st.st_mode & 077) {
        error_set(err, ERR_IO, path, "others may read the lab's secret (mode %04o)", (unsigned)(st.st_mode & 07777));
        return error_mend(err, "chmod 600 %s", path);
    }
    if (st.st_size != SECRET_LEN) {
        error_set(err, ERR_IO, path, "the lab's secret is damaged: %lld bytes where %d belong", (long long)st.st_size,
                  SECRET_LEN);
        return error_mend(err, "restore the file from a backup, or remove the lab with 'nestor down'");
    }
    return 0;
}

int secret_load(struct secret *s, const char *path, struct error *err) {
    /* O_NONBLOCK: a FIFO of that name must be refused below, not waited for. */
    cleanup_close int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, path, "cannot open the lab's secret");
    if (check_file(fd, path, err))
        return -1;
    struct secret loaded;
    ssize_t got = pread(fd, loaded.bytes, sizeof loaded.bytes, 0);
    if (got == (ssize_t)sizeof loaded.bytes)
        *s = loaded;
    secret_wipe(&loaded);
    if (got < 0)
        return error_set_errno(err, errno, path, "cannot read the lab's secret");
    return got == SECRET_LEN ? 0 : error_set(err, ERR_IO, path, "the lab's secret was cut while it was read");
}
