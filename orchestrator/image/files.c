#include "image/files.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTE_MAX 4096

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

int file_read_line(const char *path, char **ret, struct error *err) {
    *ret = NULL;
    if (!file_exists(AT_FDCWD, path))
        return 0;
    cleanup_buffer struct buffer b = {0};
    if (file_read(AT_FDCWD, path, NOTE_MAX, &b, NULL, err))
        return -1;
    *ret = buffer_steal(&b);
    (*ret)[strcspn(*ret, "\r\n")] = '\0';
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

/* Files, and folders after their contents. NOCHDIR: the working directory belongs to the whole process. */
int folder_sync(const char *path, struct error *err) {
    char *const roots[] = {(char *)path, NULL};
    __attribute__((cleanup(close_walk))) FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (!walk)
        return error_set_errno(err, errno, path, "cannot list the folder");
    for (FTSENT *e; (e = fts_read(walk));) {
        bool unreadable = e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS;
        if (unreadable && e->fts_errno != ENOENT)
            return error_set_errno(err, e->fts_errno, e->fts_path, "cannot list the folder");
        if ((e->fts_info == FTS_F || e->fts_info == FTS_DP) && sync_one(e->fts_path, err))
            return -1;
    }
    return 0;
}
