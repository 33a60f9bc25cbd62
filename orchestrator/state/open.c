#include "nestor/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nestor/context.h"
#include "state/state_priv.h"

#define BUSY_AGAIN_MS 5

/* SQLite would create it readable for all. Only a new file is touched: closing a descriptor of a database that this
 * process has open elsewhere would drop its POSIX locks. */
static int create_private(const char *path, struct error *err) {
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST) {
        error_set_errno(err, errno, path, "cannot create the database");
        return error_mend(err, "check that the folder exists and can be written, or set NESTOR_HOME");
    }
    return 0;
}

/* SQLite's own handler asks ever more rarely, up to ten times a second: of many nestors on one database, those who have
 * just come pass by the one who has waited longest, until it gives up. Here all ask equally often. */
int database_wait(void *state, int tries) {
    struct state *s = state;
    if (tries == 0)
        s->busy_since = clock_ms();
    int64_t end = s->busy_since + s->patience_ms;
    struct context ctx = {.deadline = end, .cancel = s->recording ? NULL : s->cancel};
    return context_sleep(&ctx, BUSY_AGAIN_MS, s->path, "waiting", NULL) == 0;
}

void database_set_patience(struct state *s, int ms) {
    s->patience_ms = ms;
    sqlite3_busy_handler(s->db, database_wait, s);
}

int database_open(const char *home, const struct cancel *cancel, struct state **ret, struct error *err) {
    char *path = xasprintf("%s/" STATE_FILE, home);
    if (create_private(path, err)) {
        free(path);
        return -1;
    }
    struct state *s = xcalloc(1, sizeof *s);
    s->path = path;
    s->cancel = cancel;
    int result = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (result != SQLITE_OK) {
        sql_error(s, result, "open the database", err);
        state_close(s);
        return -1;
    }
    sqlite3_extended_result_codes(s->db, 1);
    database_set_patience(s, BUSY_MS);
    *ret = s;
    return 0;
}

/* What SQLite does not check by itself, for a file that may be damaged. Settings of the connection, not the file. */
static const char settings[] = "PRAGMA foreign_keys = ON;"
                               "PRAGMA synchronous = FULL;"
                               "PRAGMA cell_size_check = ON;"
                               "PRAGMA cache_size = -512;" /* KiB: a run reads little twice */
                               "PRAGMA trusted_schema = OFF;";

/* Readers and the writer do not wait for each other in WAL mode. The change into it does not wait for others as
 * statements do (SQLite answers SQLITE_BUSY at once), so it is repeated here. */
static int enter_wal(struct state *s, struct error *err) {
    const struct context whole = {.deadline = DEADLINE_NEVER, .cancel = s->cancel};
    struct context ctx = context_timeout(&whole, BUSY_MS);
    for (;;) {
        int result = sqlite3_exec(s->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
        if (result == SQLITE_OK)
            return 0;
        if ((result & 0xff) != SQLITE_BUSY || context_check(&ctx, s->path, "waiting", NULL))
            return sql_error(s, result, "switch the database to WAL", err);
        int over = context_sleep(&ctx, 20, s->path, "waiting", NULL);
        (void)over; /* then the next try is the last */
    }
}

static int64_t size_of(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

/* A file cut short has a good beginning, and what is missing of its last page SQLite reads as zeros: rows that were
 * never written. Pages are rightly missing only while they are in the WAL, and that is not emptied under us: this
 * connection has read, so it holds its lock. */
static int check_length(struct state *s, struct error *err) {
    int64_t size, count;
    cleanup_free char *wal = xasprintf("%s-wal", s->path);
    if (sql_number(s, "read the database's size", "PRAGMA page_size", &size, err) ||
        sql_number(s, "read the database's size", "PRAGMA page_count", &count, err))
        return -1;
    if (size_of(s->path) < size * count && size_of(wal) == 0)
        return sql_error_corrupt(s->path, "the database is damaged: its end is missing", err);
    return 0;
}

static int set_up(struct state *s, struct error *err) {
    if (sql_exec(s, "set the connection up", settings, err) || schema_check(s, err) || check_length(s, err) ||
        enter_wal(s, err))
        return -1;
    return schema_migrate(s, migrations[nmigrations - 1].version, err) || sql_prepare_all(s, err) ? -1 : 0;
}

int state_open(const char *home, const struct cancel *cancel, struct state **ret, struct error *err) {
    struct state *s = NULL;
    if (database_open(home, cancel, &s, err))
        return -1;
    if (set_up(s, err)) {
        state_close(s);
        return -1;
    }
    *ret = s;
    return 0;
}

void state_close(struct state *s) {
    if (!s)
        return;
    for (int i = 0; i < SQL_MAX; i++)
        sqlite3_finalize(s->statements[i]);
    sqlite3_close(s->db); /* rolls back what is open */
    free(s->path);
    free(s);
}
