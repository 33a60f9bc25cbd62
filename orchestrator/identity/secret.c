#include "nestor/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "identity/identity_priv.h"
#include "nestor/file.h"

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

int secret_save(const struct secret *s, const char *path, struct error *err) {
    if (file_write(AT_FDCWD, path, s->bytes, sizeof s->bytes, 0600, NULL, err))
        return error_context(err, "saving the lab's secret");
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
