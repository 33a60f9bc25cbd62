/* The schema as a history: a database of any earlier version becomes one of today's by the rows it is missing.
 * A row that was released is never edited; docs/state.md describes the result. */
#include "state/state_priv.h"

/* STRICT: a value of the wrong type is refused rather than stored. References to labs and machines cascade, so that
 * forgetting is one DELETE. Runs keep the lab's name, not a reference: history outlives the lab.
 * CHECK with OR: for IN, SQLite (3.40) builds a table of the words for each row it checks, which takes longer than all
 * else it does for the row. */
static const char version_1[] =
    "PRAGMA application_id = 0x4e535452;"
    "CREATE TABLE labs ("
    " id TEXT PRIMARY KEY CHECK (length(id) = 16),"
    " name TEXT NOT NULL UNIQUE,"
    " file TEXT NOT NULL,"
    " spec TEXT NOT NULL,"
    " created_at INTEGER NOT NULL,"
    " updated_at INTEGER NOT NULL"
    ") STRICT;"
    "CREATE TABLE hosts ("
    " lab_id TEXT NOT NULL REFERENCES labs ON DELETE CASCADE,"
    " name TEXT NOT NULL,"
    " driver TEXT NOT NULL,"
    " params TEXT NOT NULL," /* JSON object */
    " parallel INTEGER NOT NULL,"
    " PRIMARY KEY (lab_id, name)"
    ") STRICT;"
    "CREATE TABLE machines ("
    " lab_id TEXT NOT NULL REFERENCES labs ON DELETE CASCADE,"
    " path TEXT NOT NULL,"
    " name TEXT NOT NULL,"
    " parent TEXT NOT NULL,"
    " host TEXT NOT NULL,"
    " level INTEGER NOT NULL CHECK (level >= 1),"
    " hypervisor TEXT NOT NULL,"
    " template TEXT NOT NULL,"
    " native_name TEXT NOT NULL,"
    " uuid TEXT NOT NULL,"
    " mac TEXT NOT NULL,"
    " digest TEXT NOT NULL,"
    " ssh_user TEXT NOT NULL,"
    " ssh_port INTEGER NOT NULL CHECK (ssh_port BETWEEN 0 AND 65535),"
    " nesting TEXT NOT NULL,"
    " ready TEXT NOT NULL,"
    " status TEXT NOT NULL"
    "  CHECK (status = 'creating' OR status = 'created' OR status = 'running' OR status = 'stopped'"
    "   OR status = 'failed' OR status = 'removing'),"
    " address TEXT NOT NULL,"
    " is_ready INTEGER NOT NULL CHECK (is_ready IN (0, 1)),"
    " failure TEXT NOT NULL,"
    " ordinal INTEGER NOT NULL,"
    " PRIMARY KEY (lab_id, path)"
    ") STRICT;"
    "CREATE TABLE evidence ("
    " id INTEGER PRIMARY KEY,"
    " lab_id TEXT NOT NULL,"
    " path TEXT NOT NULL,"
    " checked_at INTEGER NOT NULL,"
    " verified INTEGER NOT NULL CHECK (verified IN (0, 1)),"
    " flag TEXT NOT NULL,"
    " reason TEXT NOT NULL,"
    " probes TEXT NOT NULL," /* JSON array */
    " FOREIGN KEY (lab_id, path) REFERENCES machines ON DELETE CASCADE"
    ") STRICT;"
    "CREATE INDEX evidence_of_machine ON evidence (lab_id, path);"
    /* AUTOINCREMENT: an id that was trimmed away is never given again, so `nestor events` can go on after one. */
    "CREATE TABLE runs ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " lab_id TEXT NOT NULL,"
    " lab TEXT NOT NULL,"
    " verb TEXT NOT NULL,"
    " started_at INTEGER NOT NULL,"
    " ended_at INTEGER NOT NULL DEFAULT 0,"
    " outcome TEXT NOT NULL DEFAULT ''"
    ") STRICT;"
    "CREATE TABLE journal ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " run INTEGER NOT NULL REFERENCES runs,"
    " path TEXT NOT NULL,"
    " step TEXT NOT NULL,"
    " reason TEXT NOT NULL,"
    " started_at INTEGER NOT NULL,"
    " ended_at INTEGER NOT NULL DEFAULT 0,"
    " outcome TEXT NOT NULL DEFAULT 'intent'"
    "  CHECK (outcome = 'intent' OR outcome = 'done' OR outcome = 'failed' OR outcome = 'cancelled'),"
    " error TEXT NOT NULL DEFAULT ''"
    ") STRICT;";

/* A `down` that was begun is remembered. Foreign keys are looked up from the other side when a run is trimmed and
 * when a lab's runs are closed. */
static const char version_2[] =
    "ALTER TABLE labs ADD COLUMN removing INTEGER NOT NULL DEFAULT 0 CHECK (removing IN (0, 1));"
    "CREATE INDEX journal_of_run ON journal (run);"
    "CREATE INDEX runs_of_lab ON runs (lab_id);";

const struct migration migrations[] = {{1, version_1}, {2, version_2}};
const size_t nmigrations = sizeof migrations / sizeof *migrations;

static int newest(void) { return migrations[nmigrations - 1].version; }

static int read_version(struct state *s, int64_t *ret, struct error *err) {
    return sql_number(s, "read the database's version", "PRAGMA user_version", ret, err);
}

/* Without our mark it must be one that a first `nestor` is making just now, or was killed while making. */
static int check_fresh(struct state *s, struct error *err) {
    int64_t version, objects;
    if (read_version(s, &version, err) ||
        sql_number(s, "read the database's schema", "SELECT count(*) FROM sqlite_schema", &objects, err))
        return -1;
    return version || objects ? sql_error_corrupt(s->path, "a database, but not one of nestor's", err) : 0;
}

static int check_mark(struct state *s, struct error *err) {
    int64_t application, version;
    if (sql_number(s, "read the database's mark", "PRAGMA application_id", &application, err))
        return -1;
    if (application != STATE_APPLICATION_ID)
        return check_fresh(s, err);
    if (read_version(s, &version, err))
        return -1;
    if (version < migrations[0].version)
        return sql_error_corrupt(s->path, "the database says it is nestor's, but of no version", err);
    if (version > newest()) {
        error_set(err, ERR_STATE_TOO_NEW, s->path,
                  "the database has version %lld, written by a newer nestor; this one knows versions up to %d",
                  (long long)version, newest());
        return error_mend(err, "use the newer nestor, or set NESTOR_HOME to another folder");
    }
    return 0;
}

/* All of one moment: between two looks, another nestor may make the database. */
int schema_check(struct state *s, struct error *err) {
    if (sql_exec(s, "begin reading", "BEGIN", err))
        return -1;
    int r = check_mark(s, err);
    sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL); /* nothing was written */
    return r;
}

static int apply(struct state *s, const struct migration *m, struct error *err) {
    char mark[48];
    sqlite3_snprintf(sizeof mark, mark, "PRAGMA user_version = %d", m->version);
    if (sql_exec(s, "migrate the database", m->sql, err) || sql_exec(s, "migrate the database", mark, err))
        return error_context(err, "to version %d", m->version);
    return 0;
}

/* One step in one transaction. Looks at the version inside it: another nestor may have been faster. */
static int migrate_one(struct state *s, const struct migration *m, struct error *err) {
    int64_t version;
    if (sql_exec(s, "begin a migration", "BEGIN IMMEDIATE", err))
        return -1;
    int r = read_version(s, &version, err);
    if (r == 0 && version < m->version)
        r = apply(s, m, err);
    if (r == 0)
        r = sql_exec(s, "commit a migration", "COMMIT", err);
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL); /* the cause is told already */
    return r;
}

int schema_migrate(struct state *s, int version, struct error *err) {
    int64_t present;
    if (read_version(s, &present, err))
        return -1;
    for (size_t i = 0; i < nmigrations; i++)
        if (migrations[i].version > present && migrations[i].version <= version && migrate_one(s, &migrations[i], err))
            return -1;
    return 0;
}
