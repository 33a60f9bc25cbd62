/* What the files of this folder share, and what its tests look at. */
#ifndef NESTOR_STATE_PRIV_H
#define NESTOR_STATE_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include <sqlite3.h>

#include "nestor/arena.h"
#include "nestor/context.h"
#include "nestor/error.h"
#include "nestor/state.h"
#include "state/statements.h"

#define STATE_FILE "state.db"

enum sql {
#define X(symbol, purpose, text) symbol,
    STATEMENTS(X)
#undef X
        SQL_MAX
};

/* Belongs to one thread at a time. */
struct state {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statements[SQL_MAX];
    bool open;                       /* between state_begin and state_commit or state_rollback */
    int64_t patience_ms, busy_since; /* for database_wait */
    const struct cancel *cancel;     /* ends its wait, but for ... */
    bool recording;                  /* ... state_begin: what was done before a cancel is recorded after it, too */
};

/* --- sql.c: the only place that binds, steps and reads results --- */

enum value_type { VALUE_NULL, VALUE_INTEGER, VALUE_TEXT };
struct value {
    enum value_type type;
    int64_t integer;
    const char *text;
    size_t len;
};
static inline struct value integer(int64_t n) { return (struct value){.type = VALUE_INTEGER, .integer = n}; }
static inline struct value text_n(const char *s, size_t len) {
    return (struct value){.type = VALUE_TEXT, .text = s, .len = len};
}
/* NULL is stored as "". */
static inline struct value text(const char *s) { return s ? text_n(s, strlen(s)) : text_n("", 0); }
/* NULL is SQL's NULL. */
static inline struct value text_or_null(const char *s) { return s ? text(s) : (struct value){.type = VALUE_NULL}; }

/* The values of a statement, in the order of its ?1, ?2 ...: an array and its length. */
#define VALUES(...)                                                                                                    \
    (const struct value[]){__VA_ARGS__}, sizeof((const struct value[]){__VA_ARGS__}) / sizeof(struct value)
#define NO_VALUES NULL, 0

/* Gets one row; -1 with err ends the statement. */
typedef int (*row_fn)(void *data, sqlite3_stmt *row, struct error *err);

/* Runs a statement to its end and leaves it reset. A wrong number of values is ERR_INTERNAL: SQLite would run the
 * statement with the rest unbound, and change nothing or the wrong row. A row function must not run the same
 * statement again (ERR_INTERNAL). */
int sql_run(struct state *s, enum sql id, const struct value *values, size_t n, row_fn on_row, void *data,
            struct error *err) NESTOR_CHECKED;
/* As sql_run for a statement without rows, which must change exactly one (ERR_INTERNAL about subject). */
int sql_change_one(struct state *s, enum sql id, const struct value *values, size_t n, const char *subject,
                   struct error *err) NESTOR_CHECKED;

/* The same for SQL outside the table: opening and migrating. */
int sql_exec(struct state *s, const char *purpose, const char *sql, struct error *err) NESTOR_CHECKED;
int sql_number(struct state *s, const char *purpose, const char *sql, int64_t *ret, struct error *err) NESTOR_CHECKED;
int sql_prepare_all(struct state *s, struct error *err) NESTOR_CHECKED;

/* The error for SQLite's result code. Says who holds the lock, and never a bound value. */
int sql_error(struct state *s, int result, const char *purpose, struct error *err);
/* As for SQLITE_CORRUPT, with another cause. */
int sql_error_corrupt(const char *path, const char *cause, struct error *err);

/* Columns of a row; text is never NULL. */
char *column_text(struct arena *a, sqlite3_stmt *row, int column);

/* --- rows.c --- */

/* Records read, all of them before the caller sees the first: what it does with them, slowly or to the database, then
 * meets no open statement. */
struct rows {
    struct arena arena; /* for the records and their strings */
    void **items;
    size_t n;
};
void *rows_add(struct rows *rows, size_t size);
void rows_free(struct rows *rows);
#define cleanup_rows __attribute__((cleanup(rows_free)))

/* An array of n items with room for one more. Outgrown copies stay in the arena until its end. */
void *arena_grown(struct arena *a, void *items, size_t n, size_t size);

/* --- transaction.c --- */

/* One function's writes as a unit: a transaction, or a savepoint inside the caller's. Rolled back by the cleanup
 * unless it was committed. */
struct scope {
    struct state *state;
    bool nested;
};
/* how: SQL_BEGIN to write, SQL_BEGIN_READ for several reads of one moment (waits for no writer). */
int scope_begin(struct scope *scope, struct state *s, enum sql how, struct error *err) NESTOR_CHECKED;
int scope_commit(struct scope *scope, struct error *err) NESTOR_CHECKED;
void scope_end(struct scope *scope);
#define cleanup_scope __attribute__((cleanup(scope_end)))

/* --- schema.c --- */

#define STATE_APPLICATION_ID 0x4e535452 /* "NSTR" */

struct migration {
    int version; /* user_version after it */
    const char *sql;
};
extern const struct migration migrations[];
extern const size_t nmigrations;

/* ERR_STATE_CORRUPT when the file is another program's, ERR_STATE_TOO_NEW. */
int schema_check(struct state *s, struct error *err) NESTOR_CHECKED;
/* Applies what is missing up to `version` (tests stop early). */
int schema_migrate(struct state *s, int version, struct error *err) NESTOR_CHECKED;

/* --- open.c --- */

/* Opens home/state.db without looking into it. */
int database_open(const char *home, const struct cancel *cancel, struct state **ret, struct error *err) NESTOR_CHECKED;
/* How long a statement waits for another process; BUSY_MS from the start. */
#define BUSY_MS 10000
void database_set_patience(struct state *s, int ms);
/* SQLite's busy handler for a state: one short pause, and whether to ask again. `tries`: how often it has paused. */
int database_wait(void *state, int tries);

/* --- journal.c --- */

/* Old history goes; to be called inside a transaction. */
int journal_trim(struct state *s, struct error *err) NESTOR_CHECKED;

/* --- holder.c --- */

struct holder {
    pid_t pid; /* 0: not found */
    char command[32];
};
/* Who keeps us from writing to the database at path, which this process has open. */
struct holder holder_find(const char *path);
/* The name the kernel has for a process, "" if there is none. */
void process_command(pid_t pid, char out[32]);

/* --- home.c --- */

/* The folder for nestor_home (cache: false) or nestor_cache, made when it is not there. Caller frees. */
int folder_find(bool cache, char **ret, struct error *err) NESTOR_CHECKED;

#endif
