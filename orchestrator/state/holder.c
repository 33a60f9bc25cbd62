/* Who holds the database. SQLite's locks are POSIX record locks on fixed bytes of its files, and the kernel tells
 * their owner to whoever asks for the same lock: fcntl(2), F_GETLK. */
#include "state/state_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nestor/buffer.h"

/* Which file, and which bytes of it, in the order of asking. "SQLite File Format" section 4 (WAL-index) has the
 * lock bytes of the -shm file: write, checkpoint and recovery lock at 120 to 122. os.h has those of the database
 * itself, used while it is not (yet) in WAL mode: PENDING_BYTE and RESERVED_BYTE. */
static const struct {
    const char *suffix;
    off_t start, len;
} locks[] = {
    {"-shm", 120, 3},
    {"", 0x40000000, 2},
};

static bool same_file(int fd, const struct stat *want) {
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_dev == want->st_dev && st.st_ino == want->st_ino;
}

/* The descriptor SQLite has on that file. Opening it once more is no way: closing that would drop all POSIX locks
 * this process has on the file, SQLite's own among them. -1 if there is none. */
static int find_descriptor(const struct stat *want) {
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return -1;
    int found = -1;
    for (struct dirent *e; found < 0 && (e = readdir(dir));) {
        int fd = atoi(e->d_name);
        if (e->d_name[0] != '.' && fd != dirfd(dir) && same_file(fd, want))
            found = fd;
    }
    closedir(dir);
    return found;
}

static pid_t owner_of(const char *file, off_t start, off_t len) {
    struct stat st;
    if (stat(file, &st) < 0)
        return 0;
    int fd = find_descriptor(&st);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    /* l_pid is -1 for open file description locks and 0 for a process outside our PID namespace. */
    if (fd < 0 || fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK || lock.l_pid <= 0)
        return 0;
    return lock.l_pid;
}

void process_command(pid_t pid, char out[32]) {
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    out[0] = '\0';
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    if (fgets(out, 32, f))
        out[strcspn(out, "\n")] = '\0';
    fclose(f);
}

struct holder holder_find(const char *path) {
    struct holder who = {0};
    for (size_t i = 0; i < sizeof locks / sizeof *locks && !who.pid; i++) {
        cleanup_free char *file = xasprintf("%s%s", path, locks[i].suffix);
        who.pid = owner_of(file, locks[i].start, locks[i].len);
    }
    if (who.pid)
        process_command(who.pid, who.command);
    return who;
}
