#include "spec/plain_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nestor/file.h"

static const struct {
    mode_t kind;
    const char *name;
} others[] = {
    {S_IFDIR, "a directory"}, {S_IFIFO, "a FIFO"}, {S_IFSOCK, "a socket"}, {S_IFCHR, "a device"}, {S_IFBLK, "a device"},
};

static const char *name_of_kind(mode_t mode) {
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if ((mode & S_IFMT) == others[i].kind)
            return others[i].name;
    return "something else";
}

int plain_file_read(const char *path, size_t max, struct buffer *ret, struct error *err) {
    struct stat st;
    /* Asked before it is opened, because opening a device can mean something to it. */
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return error_set(err, ERR_IO, path, "it is %s, not a plain file", name_of_kind(st.st_mode));
    /* O_NONBLOCK: a FIFO that has taken its place since must not hold nestor up either. */
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fd_read(fd, max, ret) < 0)
        return error_set_errno(err, errno, path, "it cannot be read");
    return 0;
}
