#include "killpoint.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

static struct {
    atomic_int commits, writes; /* counted */
    int kill_at;                /* 0: never */
    enum killpoint_when kill_when;
    int full_at_commit; /* 0: never */
    int fail_at_write;  /* 0: never */
    int fail_errno;
    const char *count_file;
} point;

static void kill_if(enum killpoint_when when, int count) {
    if (point.kill_at && point.kill_when == when && count >= point.kill_at)
        raise(SIGKILL);
}

/* --- commits --- */

static int before_commit(void *data) {
    (void)data;
    kill_if(KILL_BEFORE_COMMIT, atomic_fetch_add(&point.commits, 1) + 1);
    return 0;
}

/* The statement that committed has ended, and its caller does not know yet. (Not a WAL hook: sqlite3_open_v2 puts its
 * own, the automatic checkpoint's, into that place after the automatic extensions have run.) */
static int after_statement(unsigned type, void *db, void *stmt, void *duration) {
    (void)type, (void)stmt, (void)duration;
    if (sqlite3_get_autocommit(db))
        kill_if(KILL_AFTER_COMMIT, atomic_load(&point.commits));
    return 0;
}

static int watch(sqlite3 *db, char **message, const struct sqlite3_api_routines *api) {
    (void)message, (void)api;
    sqlite3_commit_hook(db, before_commit, NULL);
    return sqlite3_trace_v2(db, SQLITE_TRACE_PROFILE, after_statement, db);
}

/* --- writes --- */

typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);
static write_fn real_write;
static pwrite_fn real_pwrite, real_pwrite64;

/* 0, or the errno to fail with. */
static int fault_of_write(void) {
    int n = atomic_fetch_add(&point.writes, 1) + 1;
    kill_if(KILL_AT_WRITE, n);
    if (point.full_at_commit && atomic_load(&point.commits) >= point.full_at_commit)
        return ENOSPC;
    return point.fail_at_write && n >= point.fail_at_write ? point.fail_errno : 0;
}

static bool write_fails(void) {
    int fault = fault_of_write();
    if (fault)
        errno = fault;
    return fault != 0;
}

static ssize_t faulty_write(int fd, const void *bytes, size_t n) {
    return write_fails() ? -1 : real_write(fd, bytes, n);
}
static ssize_t faulty_pwrite(int fd, const void *bytes, size_t n, off_t at) {
    return write_fails() ? -1 : real_pwrite(fd, bytes, n, at);
}
static ssize_t faulty_pwrite64(int fd, const void *bytes, size_t n, off_t at) {
    return write_fails() ? -1 : real_pwrite64(fd, bytes, n, at);
}

/* Which of them SQLite calls depends on how it was built. */
static void replace_writes(void) {
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    real_write = (write_fn)vfs->xGetSystemCall(vfs, "write");
    real_pwrite = (pwrite_fn)vfs->xGetSystemCall(vfs, "pwrite");
    real_pwrite64 = (pwrite_fn)vfs->xGetSystemCall(vfs, "pwrite64");
    vfs->xSetSystemCall(vfs, "write", (sqlite3_syscall_ptr)faulty_write);
    vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)faulty_pwrite);
    vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)faulty_pwrite64);
}

/* --- steering --- */

static void reset_counts(void) {
    atomic_store(&point.commits, 0);
    atomic_store(&point.writes, 0);
}

void killpoint_kill(int at, enum killpoint_when when) {
    reset_counts();
    point.kill_at = at;
    point.kill_when = when;
}

void killpoint_fail_writes(int at, int errnum) {
    reset_counts();
    point.fail_at_write = at;
    point.fail_errno = errnum;
}

int killpoint_commits(void) { return atomic_load(&point.commits); }
int killpoint_writes(void) { return atomic_load(&point.writes); }

/* A misspelt test must not pass as one without a fault. */
static int number_of(const char *variable) {
    const char *value = getenv(variable);
    if (!value)
        return 0;
    char *end;
    long n = strtol(value, &end, 10);
    if (*end || n < 1 || n > 1000000) {
        fprintf(stderr, "%s=%s: not a number from 1 to 1000000\n", variable, value);
        exit(99);
    }
    return (int)n;
}

static enum killpoint_when when_of(const char *variable) {
    static const char *const names[] = {
        [KILL_BEFORE_COMMIT] = "before", [KILL_AFTER_COMMIT] = "after", [KILL_AT_WRITE] = "write"};
    const char *value = getenv(variable);
    if (!value)
        return KILL_BEFORE_COMMIT;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(value, names[i]) == 0)
            return i;
    fprintf(stderr, "%s=%s: not before, after or write\n", variable, value);
    exit(99);
}

static void write_count(void) {
    FILE *f = fopen(point.count_file, "w");
    if (!f || fprintf(f, "%d\n", killpoint_commits()) < 0 || fclose(f) != 0)
        fprintf(stderr, "%s: cannot write the number of commits\n", point.count_file);
}

__attribute__((constructor)) static void install(void) {
    point.kill_at = number_of("NESTOR_TEST_KILL_AT");
    point.kill_when = when_of("NESTOR_TEST_KILL_WHEN");
    point.full_at_commit = number_of("NESTOR_TEST_DISK_FULL_AT");
    point.count_file = getenv("NESTOR_TEST_COUNT_FILE");
    sqlite3_auto_extension((void (*)(void))watch);
    replace_writes();
    if (point.count_file)
        atexit(write_count);
}
