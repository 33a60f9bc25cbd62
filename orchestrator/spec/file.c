#include "spec/file.h"

#include <errno.h>
#include <unistd.h>

#define CHUNK ((size_t)64 << 10)

int file_read(int fd, const char *subject, size_t max, struct buffer *ret, struct error *err) {
    while (ret->len <= max) {
        size_t left = max + 1 - ret->len, n = left < CHUNK ? left : CHUNK;
        char *to = buffer_reserve(ret, n);
        if (!to)
            return error_set(err, ERR_IO, subject, "it is too large to read");
        ssize_t got = read(fd, to, n);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return error_set_errno(err, errno, subject, "it cannot be read");
        ret->len += got > 0 ? (size_t)got : 0;
    }
    if (ret->data)
        ret->data[ret->len] = '\0';
    return 0;
}
