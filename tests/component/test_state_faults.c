/* Killed at every commit and every write, starved of disk at every write: what was confirmed is there, what was not is
 * there whole or not at all, and the next nestor goes on. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "killpoint.h"
#include "state/state_priv.h"
#include "state_fixture.h"

enum { MACHINES = 3 };

/* What the calls confirmed so far; shared with the child that is going to be killed. */
struct confirmed {
    int open, lab, setup, intents, outcomes, ended;
    char id[LAB_ID_LEN + 1];
};

/* --- the life of a lab, as run/ writes it --- */

static int set_up(struct state *s, const char *id, int64_t *run, struct error *err) {
    struct host_record host = {.name = "here", .driver = "qemu"};
    if (state_begin(s, err) || state_host_put(s, id, &host, err) || state_run_start(s, id, "up", run, err))
        return -1;
    for (uint32_t i = 0; i < MACHINES; i++) {
        char path[16];
        snprintf(path, sizeof path, "lab/m%u", i);
        struct machine_record m = state_fixture_machine(path, i);
        m.status = "creating";
        if (state_machine_put(s, id, &m, err))
            return -1;
    }
    return state_commit(s, err);
}

static int finish_step(struct state *s, const char *id, const char *path, int64_t entry, struct error *err) {
    struct evidence e = {.verified = true, .flag = "svm"};
    if (state_begin(s, err) || state_evidence_put(s, id, path, &e, err) ||
        state_journal_outcome(s, entry, "done", NULL, err) ||
        state_machine_seen(s, id, path, "running", "127.0.0.1:1", 1, "", err))
        return -1;
    return state_commit(s, err);
}

static int work(struct state *s, struct confirmed *c, struct error *err) {
    int64_t run, entry;
    if (state_lab_put(s, "lab", "", "name: lab", 9, NULL, c->id, err))
        return -1;
    c->lab++;
    if (set_up(s, c->id, &run, err))
        return -1;
    c->setup++;
    for (int i = 0; i < MACHINES; i++) {
        char path[16];
        snprintf(path, sizeof path, "lab/m%d", i);
        if (state_journal_intent(s, run, c->id, path, "start", "", &entry, err))
            return -1;
        c->intents++;
        if (finish_step(s, c->id, path, entry, err))
            return -1;
        c->outcomes++;
    }
    if (state_run_end(s, run, "done", err))
        return -1;
    c->ended++;
    return 0;
}

static int live(const char *home, struct confirmed *c, struct error *err) {
    struct state *s = NULL;
    if (state_open(home, NULL, &s, err))
        return -1;
    c->open++;
    int r = work(s, c, err);
    state_close(s);
    return r;
}

/* --- what must hold whatever happened --- */

static void assert_one_of(int64_t actual, int confirmed) {
    assert_true(actual == confirmed || actual == confirmed + 1);
}

static void assert_consistent(const struct state_fixture *f, const struct confirmed *c) {
    sqlite3 *held = NULL; /* else each look would be a recovery of its own */
    assert_int_equal(sqlite3_open(f->database, &held), SQLITE_OK);
    assert_int_equal(sqlite3_exec(held, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL), SQLITE_OK);
    cleanup_free char *check = state_fixture_text(f->database, "PRAGMA integrity_check");
    assert_string_equal(check, "ok");
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM pragma_foreign_key_check"), 0);

    int64_t labs = state_fixture_count(f, "SELECT count(*) FROM labs");
    int64_t runs = state_fixture_count(f, "SELECT count(*) FROM runs");
    int64_t intents = state_fixture_count(f, "SELECT count(*) FROM journal");
    int64_t done = state_fixture_count(f, "SELECT count(*) FROM journal WHERE outcome = 'done'");
    assert_one_of(labs, c->lab);
    assert_one_of(runs, c->setup);
    assert_one_of(intents, c->intents);
    assert_one_of(done, c->outcomes);
    assert_one_of(state_fixture_count(f, "SELECT count(*) FROM runs WHERE outcome = 'done'"), c->ended);
    /* Each transaction is there whole or not at all. */
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM hosts"), runs);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM machines"), runs * MACHINES);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM machines WHERE status = 'running' AND is_ready"),
                     done);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM evidence"), done);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM journal WHERE outcome = 'intent' AND ended_at = 0"),
                     intents - done);
    sqlite3_close(held);
}

/* The next nestor does it all, in the same lab. */
static void assert_goes_on(const struct state_fixture *f, const struct confirmed *before) {
    struct confirmed c = {0};
    struct error err = {0};
    if (live(f->home, &c, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    if (before->lab)
        assert_string_equal(c.id, before->id);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM machines WHERE status = 'running'"), MACHINES);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM runs WHERE ended_at = 0"), 0);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM labs"), 1);
}

static void begin_anew(struct state_fixture *f) {
    state_close(f->state);
    f->state = NULL;
    state_folder_remove(f->home);
    free(f->database);
    f->home = state_folder_new();
    f->database = state_folder_path(f->home, "state.db");
}

/* --- killed --- */

/* Whether the child was killed; false when there was no at-th point any more. */
static bool live_and_be_killed(const struct state_fixture *f, int at, enum killpoint_when when, struct confirmed *c) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        killpoint_kill(at, when);
        _exit(live(f->home, c, NULL) ? 1 : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        assert_int_equal(WTERMSIG(status), SIGKILL);
    else
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

/* Returns how many points there were. */
static int kill_at_each(struct state_fixture *f, enum killpoint_when when) {
    struct confirmed *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(c, MAP_FAILED);
    int at = 1;
    for (;; at++) {
        begin_anew(f);
        memset(c, 0, sizeof *c);
        if (!live_and_be_killed(f, at, when, c))
            break;
        if (c->open) /* before, there may be no tables to look at */
            assert_consistent(f, c);
        assert_goes_on(f, c);
    }
    assert_int_equal(c->ended, 1);
    munmap(c, sizeof *c);
    return at - 1;
}

/* WAL mode, two migrations, the lab, the setup, an intent and an outcome per machine, the end. */
enum { COMMITS = 1 + 2 + 1 + 1 + 2 * MACHINES + 1 };

static void killed_before_each_commit(void **state) {
    assert_int_equal(kill_at_each(*state, KILL_BEFORE_COMMIT), COMMITS);
}

static void killed_after_each_commit(void **state) {
    assert_int_equal(kill_at_each(*state, KILL_AFTER_COMMIT), COMMITS);
}

static void killed_at_each_write(void **state) { assert_true(kill_at_each(*state, KILL_AT_WRITE) > 2 * COMMITS); }

/* --- starved --- */

/* Each, or every so many. */
static void fail_writes(struct state_fixture *f, int stride, int errnum, enum error_code code, const char *mend) {
    int at = 1;
    for (;; at += stride) {
        struct confirmed c = {0};
        struct error err = {0};
        begin_anew(f);
        killpoint_fail_writes(at, errnum);
        int r = live(f->home, &c, &err);
        killpoint_fail_writes(0, 0);
        if (r == 0)
            break;
        assert_int_equal(err.code, code);
        assert_string_equal(err.subject, f->database);
        assert_non_null(strstr(err.mend, mend));
        if (c.open)
            assert_consistent(f, &c);
        assert_goes_on(f, &c);
    }
    assert_true(at > 2 * COMMITS);
}

static void disk_full_at_each_write_is_told_and_leaves_nothing_half(void **state) {
    fail_writes(*state, 1, ENOSPC, ERR_DISK_FULL, "free some space");
}

/* The same but for the word for it. */
static void io_error_at_a_write_is_told_and_leaves_nothing_half(void **state) {
    fail_writes(*state, 5, EIO, ERR_IO, "check the disk");
}

/* The process lives on: after the disk has space again the same handle works. */
static void handle_recovers_when_there_is_space_again(void **state) {
    struct state_fixture *f = *state;
    struct confirmed c = {0};
    struct error err = {0};
    killpoint_fail_writes(1, ENOSPC);
    assert_int_equal(state_begin(f->state, &err), 0);
    state_fixture_lab(f->state, "lab", c.id);
    assert_int_equal(state_commit(f->state, &err), -1);
    assert_int_equal(err.code, ERR_DISK_FULL);
    killpoint_fail_writes(0, 0);
    error_clear(&err);
    assert_int_equal(work(f->state, &c, &err), 0);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM labs"), 1);
    assert_int_equal(c.ended, 1);
}

/* --- a cut log --- */

static int entries_after_cut(const char *home, const char *database) {
    struct state_fixture cut = {.home = (char *)home, .database = (char *)database};
    struct state *s = NULL;
    struct error err = {0};
    if (state_open(home, NULL, &s, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    state_close(s);
    cleanup_free char *check = state_fixture_text(database, "PRAGMA integrity_check");
    assert_string_equal(check, "ok");
    return (int)(state_fixture_count(&cut, "SELECT count(*) FROM journal") +
                 state_fixture_count(&cut, "SELECT count(*) FROM journal WHERE ended_at > 0") +
                 state_fixture_count(&cut, "SELECT count(*) FROM labs"));
}

/* A log that lost its end, as after a power cut on a disk that lies: an earlier moment, whole. */
static void log_cut_at_any_length_is_an_earlier_moment(void **state) {
    struct state_fixture *f = *state;
    struct confirmed *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    begin_anew(f);
    assert_true(live_and_be_killed(f, COMMITS, KILL_AFTER_COMMIT, c));
    munmap(c, sizeof *c);
    cleanup_free char *log = state_folder_path(f->home, "state.db-wal");
    cleanup_free char *index = state_folder_path(f->home, "state.db-shm");
    size_t db_len, log_len;
    cleanup_free char *db_bytes = state_file_read(f->database, &db_len);
    cleanup_free char *log_bytes = state_file_read(log, &log_len);
    int last = INT32_MAX, different = 0;
    for (size_t len = log_len;; len -= len < 1543 ? len : 1543) {
        unlink(index);
        state_file_write(f->database, db_bytes, db_len);
        state_file_write(log, log_bytes, len);
        int n = entries_after_cut(f->home, f->database);
        assert_true(n <= last);
        different += n != last;
        last = n;
        if (len == 0)
            break;
    }
    assert_int_equal(last, 0);
    assert_int_equal(different, 2 + 2 * MACHINES); /* nothing, the lab, each intent, each outcome */
}

/* --- killpoint itself, by its environment --- */

/* How this program ends when it lives a lab's life under these settings: its exit status, or minus a signal. */
static int end_of_life(const char *home, const char *const settings[]) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (size_t i = 0; settings[i]; i++)
            putenv((char *)settings[i]);
        execl("/proc/self/exe", "test_state_faults", "live", home, NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
#define END_OF_LIFE(home, ...) end_of_life(home, (const char *const[]){__VA_ARGS__, NULL})

static void environment_counts_the_commits(void **state) {
    struct state_fixture *f = *state;
    begin_anew(f);
    cleanup_free char *path = state_folder_path(f->home, "count");
    cleanup_free char *setting = xasprintf("NESTOR_TEST_COUNT_FILE=%s", path);
    assert_int_equal(END_OF_LIFE(f->home, setting), 0);
    cleanup_free char *text = state_file_read(path, NULL);
    assert_int_equal(atoi(text), COMMITS);
}

static void environment_kills_before_and_after_a_commit(void **state) {
    struct state_fixture *f = *state;
    begin_anew(f);
    assert_int_equal(END_OF_LIFE(f->home, "NESTOR_TEST_KILL_AT=3"), -SIGKILL);
    assert_int_equal(state_fixture_count(f, "PRAGMA user_version"), 1);
    begin_anew(f);
    assert_int_equal(END_OF_LIFE(f->home, "NESTOR_TEST_KILL_AT=3", "NESTOR_TEST_KILL_WHEN=after"), -SIGKILL);
    assert_int_equal(state_fixture_count(f, "PRAGMA user_version"), 2);
    begin_anew(f);
    assert_int_equal(END_OF_LIFE(f->home, "NESTOR_TEST_KILL_AT=1", "NESTOR_TEST_KILL_WHEN=write"), -SIGKILL);
    assert_int_equal(END_OF_LIFE(f->home, "NESTOR_TEST_KILL_AT=never"), 99);
    assert_int_equal(END_OF_LIFE(f->home, "NESTOR_TEST_KILL_WHEN=later"), 99);
}

static void environment_fills_the_disk_at_a_commit(void **state) {
    struct state_fixture *f = *state;
    begin_anew(f);
    assert_int_equal(END_OF_LIFE(f->home, "NESTOR_TEST_DISK_FULL_AT=5"), ERR_DISK_FULL);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM labs"), 1);
    assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM runs"), 0);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "live") == 0) {
        struct confirmed c = {0};
        struct error err = {0};
        return live(argv[2], &c, &err) == 0 ? 0 : (int)err.code;
    }
    /* Hundreds of databases: what a kill leaves behind does not depend on the disk, but the time does. */
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {
        STATE_TEST(killed_before_each_commit),
        STATE_TEST(killed_after_each_commit),
        STATE_TEST(killed_at_each_write),
        STATE_TEST(disk_full_at_each_write_is_told_and_leaves_nothing_half),
        STATE_TEST(io_error_at_a_write_is_told_and_leaves_nothing_half),
        STATE_TEST(handle_recovers_when_there_is_space_again),
        STATE_TEST(log_cut_at_any_length_is_an_earlier_moment),
        STATE_TEST(environment_counts_the_commits),
        STATE_TEST(environment_kills_before_and_after_a_commit),
        STATE_TEST(environment_fills_the_disk_at_a_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
