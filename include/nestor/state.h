/* What nestor remembers: one SQLite database, $NESTOR_HOME/state.db (docs/state.md has the schema).
 *
 * Rules
 *  - The state says what nestor did and believed; what exists is asked from the hypervisors (driver.h observe).
 *  - No transaction is open across network I/O. One thread writes.
 *  - A second nestor on the database waits up to 10 s for a write lock, then gets ERR_LOCKED naming the holder's
 *    process id. One lab is worked on by one nestor at a time: lab_lock_take.
 *  - A database that is not ours or is damaged: ERR_STATE_CORRUPT with what to do; written by a newer nestor:
 *    ERR_STATE_TOO_NEW with both versions; disk full: ERR_DISK_FULL, and nothing half-written.
 *  - Older databases are migrated in place, each version in one transaction with user_version.
 *  - A struct state belongs to one thread at a time; another thread opens its own.
 *  - After a failed write inside a transaction: state_rollback. Until then every further write is refused.
 * Strings in returned records are owned by the record's arena.
 */
#ifndef NESTOR_STATE_H
#define NESTOR_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "nestor/arena.h"
#include "nestor/buffer.h"
#include "nestor/context.h"
#include "nestor/error.h"
#include "nestor/identity.h"
#include "nestor/lab.h"
#include "nestor/verify.h"

struct state;

/* Where nestor keeps things: $NESTOR_HOME, else $XDG_STATE_HOME/nestor, else ~/.local/state/nestor; the cache is
 * $NESTOR_HOME/cache, else $XDG_CACHE_HOME/nestor, else ~/.cache/nestor. Created 0700 on first use. Absolute;
 * static storage, set on first call (call once before threads start). NULL only with err. */
const char *nestor_home(struct error *err);
const char *nestor_cache(struct error *err);
/* Whether there is a database in nestor_home. Makes nothing. */
bool nestor_has_state(void);

/* Opens home/state.db, made if it is not there (home must be), and migrates it. `cancel`, borrowed as long as the state
 * is open, ends a wait for another writer early (ERR_CANCELLED), but in state_begin; NULL: nothing does. */
int state_open(const char *home, const struct cancel *cancel, struct state **ret, struct error *err) NESTOR_CHECKED;
void state_close(struct state *s); /* NULL-safe */

/* --- labs --- */

struct lab_record {
    struct arena arena;
    const char *id; /* 16 hex digits */
    const char *name;
    const char *file; /* absolute path the spec came from, "" if unknown */
    const char *spec; /* the text last applied (or being applied) */
    size_t spec_len;
    int64_t created_at, updated_at; /* unix seconds */
    bool removing;                  /* a down was begun and not finished */
};
void lab_record_free(struct lab_record *r); /* NULL-safe; frees the struct too */

/* ERR_NOT_FOUND ("no lab 'x'; labs: a, b") with the name that was most likely meant. By name. */
int state_lab_find(struct state *s, const char *name, struct lab_record **ret, struct error *err) NESTOR_CHECKED;
/* Whether a lab of that id is recorded, or was and the history tells of it. */
int state_lab_was_known(struct state *s, const char *lab_id, bool *ret, struct error *err) NESTOR_CHECKED;
/* Calls fn for each lab by name; record borrowed for the call. */
int state_lab_each(struct state *s, void (*fn)(void *data, const struct lab_record *record), void *data,
                   struct error *err) NESTOR_CHECKED;
/* Writes the lab's row: inserts with a new id, or updates spec and file of the one with that name and takes back its
 * `removing`. id[17] out: new_id for a new row, a random one if that is NULL. */
int state_lab_put(struct state *s, const char *name, const char *file, const char *spec, size_t spec_len,
                  const char *new_id, char id[LAB_ID_LEN + 1], struct error *err) NESTOR_CHECKED;
/* Inserts a lab that was made by a nestor whose state is lost, with the id its machines carry. ERR_EXISTS if a lab of
 * that name, with another id, is there. */
int state_lab_adopt(struct state *s, const char *lab_id, const char *name, const char *file, const char *spec,
                    size_t spec_len, struct error *err) NESTOR_CHECKED;
int state_lab_set_removing(struct state *s, const char *lab_id, struct error *err) NESTOR_CHECKED;
/* Forgets the lab, its hosts, machines and evidence, in one transaction. Its runs and journal stay as history (the
 * newest 10,000 entries of all labs). */
int state_lab_delete(struct state *s, const char *lab_id, struct error *err) NESTOR_CHECKED;

/* An exclusive hold on a lab, by a lock file home/locks/NAME.lock that the kernel releases when the process ends
 * in any way. Waits until ctx ends, then ERR_LOCKED about the lab: "process 4242 (nestor up) is working on it"; `verb`
 * is the "nestor up". ERR_CANCELLED. Release with lab_lock_release; the file stays. */
struct lab_lock {
    int fd;
};
int lab_lock_take(const char *home, const char *lab, const char *verb, struct lab_lock *ret, const struct context *ctx,
                  struct error *err) NESTOR_CHECKED;
void lab_lock_release(struct lab_lock *lock); /* NULL-safe, repeatable */

/* --- hosts and machines of a lab, as last worked on: enough to find and remove them without the spec --- */

struct host_record {
    const char *name, *driver;
    const struct param *params; /* no secrets: password parameters are references (env, file) */
    size_t nparams;
    uint32_t parallel;
};
struct machine_record {
    const char *path, *name;
    const char *parent; /* path of the guest hypervisor it is in, "" at level 1 */
    const char *host;   /* name of its branch's host */
    uint32_t level;
    const char *hypervisor; /* driver it is opened with, "" if none */
    const char *template;
    const char *native_name, *uuid, *mac;
    const char *digest; /* of the configuration it was created with */
    const char *ssh_user;
    uint16_t ssh_port;
    const char *nesting, *ready; /* as wanted (nesting_name, ready_name) */
    /* what was last seen */
    const char *status;  /* "creating" "created" "running" "stopped" "failed" "removing" */
    const char *address; /* "127.0.0.1:40001", "" if unknown */
    bool is_ready;
    const char *failure; /* last error's one-line text, then, if it has one, '\n' and its mend; "" */
    uint32_t ordinal;    /* order in the lab */
};
struct lab_contents {
    struct arena arena;
    struct host_record *hosts;
    size_t nhosts;
    struct machine_record *machines; /* by ordinal: parents before children */
    size_t nmachines;
};
int state_lab_load(struct state *s, const char *lab_id, struct lab_contents **ret, struct error *err) NESTOR_CHECKED;
void lab_contents_free(struct lab_contents *c); /* NULL-safe; frees the struct too */

/* The writes below belong between state_begin and state_commit, or stand alone (then each is its own
 * transaction). begin is BEGIN IMMEDIATE, and no cancel ends its wait: what was done is recorded. state_rollback is a
 * no-op when nothing is open. */
int state_begin(struct state *s, struct error *err) NESTOR_CHECKED;
int state_commit(struct state *s, struct error *err) NESTOR_CHECKED;
void state_rollback(struct state *s);

int state_host_put(struct state *s, const char *lab_id, const struct host_record *host,
                   struct error *err) NESTOR_CHECKED;
/* Does nothing while a machine is recorded on it: what is recorded can always be found. */
int state_host_forget(struct state *s, const char *lab_id, const char *name, struct error *err) NESTOR_CHECKED;
/* Inserts or replaces the row of that path. */
int state_machine_put(struct state *s, const char *lab_id, const struct machine_record *m,
                      struct error *err) NESTOR_CHECKED;
/* Updates what was seen; the row must exist (ERR_INTERNAL if not). NULL fields are left as they are; ready: -1 too. */
int state_machine_seen(struct state *s, const char *lab_id, const char *path, const char *status, const char *address,
                       int ready, const char *failure, struct error *err) NESTOR_CHECKED;
int state_machine_delete(struct state *s, const char *lab_id, const char *path, struct error *err) NESTOR_CHECKED;

/* --- evidence --- */

/* Keeps the newest ten per machine; probes are stored as JSON. ERR_NOT_FOUND about a machine that is not recorded, or
 * not any more: who verifies holds no lock that would keep another nestor from taking it down meanwhile. */
int state_evidence_put(struct state *s, const char *lab_id, const char *path, const struct evidence *e,
                       struct error *err) NESTOR_CHECKED;
struct evidence_record {
    const char *path, *flag, *reason; /* reason "" when verified */
    const char *probes_json;          /* [{"name","command","output","ran","ok","reason"}] */
    bool verified;
    int64_t checked_at;
};
/* The newest of every machine of the lab. Borrowed for the call. */
int state_evidence_each(struct state *s, const char *lab_id, void (*fn)(void *data, const struct evidence_record *r),
                        void *data, struct error *err) NESTOR_CHECKED;

/* --- the journal: intent before, outcome after; also what `nestor events` shows --- */

/* A run is one up, down or repair. Closes the lab's runs that were killed (outcome "interrupted"). */
int state_run_start(struct state *s, const char *lab_id, const char *verb, int64_t *ret_run,
                    struct error *err) NESTOR_CHECKED;
int state_run_end(struct state *s, int64_t run, const char *outcome, struct error *err) NESTOR_CHECKED;
/* Intent of one step; *ret_entry identifies it for the outcome. */
int state_journal_intent(struct state *s, int64_t run, const char *lab_id, const char *path, const char *step,
                         const char *reason, int64_t *ret_entry, struct error *err) NESTOR_CHECKED;
/* outcome: "done", "failed", "cancelled". error may be NULL. */
int state_journal_outcome(struct state *s, int64_t entry, const char *outcome, const struct error *error,
                          struct error *err) NESTOR_CHECKED;
struct journal_record {
    int64_t id, run, started_at, ended_at;                   /* unix milliseconds; ended_at 0: unfinished */
    const char *lab, *verb, *path, *step, *reason, *outcome; /* outcome "intent" while unfinished */
    const char *error;                                       /* one line, "" */
};
/* Oldest first, those with id > after, at most limit (0: all). lab_id NULL: every lab. Borrowed for the call. */
int state_journal_each(struct state *s, const char *lab_id, int64_t after, size_t limit,
                       void (*fn)(void *data, const struct journal_record *r), void *data,
                       struct error *err) NESTOR_CHECKED;

/* The text of an error as kept in the database and shown in one line: "subject: cause". */
void error_one_line(const struct error *e, struct buffer *out);

#endif
