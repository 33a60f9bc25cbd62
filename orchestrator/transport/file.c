#include "transport/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nestor/buffer.h"

const char *file_name_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A rename is only safe from a power cut once the directory is on disk too. */
static void sync_directory(const char *path) {
    cleanup_free char *copy = xstrdup(path);
    cleanup_close int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        fsync(fd);
}

int file_finish(int fd, const char *temp, const char *path, mode_t mode, struct error *err) {
    if (fchmod(fd, mode) || fsync(fd))
        return error_set_errno(err, errno, path, "cannot put the file on disk");
    if (rename(temp, path))
        return error_set_errno(err, errno, path, "cannot give the file its name");
    sync_directory(path);
    return 0;
}
