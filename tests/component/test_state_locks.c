/* Several processes at one database and one lab: who waits, who is told, and what a kill releases. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/session.h"
#include "state/state_priv.h"
#include "state_fixture.h"

/* A child that takes something, says so, and holds it until it is killed or told to go on. */
struct child {
    pid_t pid;
    int go; /* writing or closing lets it go on */
};

typedef void (*take_fn)(const struct state_fixture *f);

/* Returns when the child has taken what it is to hold. The fixture's own state must be closed: SQLite handles do not
 * cross a fork. */
static struct child start_holder(const struct state_fixture *f, take_fn take) {
    int ready[2], go[2];
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ready[0]);
        close(go[1]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, "holder");
        take(f);
        char c = 'r';
        if (write(ready[1], &c, 1) == 1 && read(go[0], &c, 1) >= 0)
            _exit(0);
        _exit(1);
    }
    close(ready[1]);
    close(go[0]);
    char c;
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    return (struct child){.pid = pid, .go = go[1]};
}

static void end_holder(struct child child, int signal) {
    if (signal)
        assert_int_equal(kill(child.pid, signal), 0);
    close(child.go);
    int status;
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    assert_int_equal(signal ? WTERMSIG(status) : WEXITSTATUS(status), signal);
}

/* A process that lets the holder go while the caller waits for it; to be waited for. */
static pid_t let_go_soon(struct child holder) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        usleep(200000);
        _exit(write(holder.go, "g", 1) == 1 ? 0 : 1);
    }
    return pid;
}

static void close_fixture(struct state_fixture *f) {
    state_close(f->state);
    f->state = NULL;
}

/* --- the database --- */

static void take_write_lock(const struct state_fixture *f) {
    struct state *s = NULL;
    if (state_open(f->home, NULL, &s, NULL) || state_begin(s, NULL))
        _exit(2);
}

static void second_writer_is_told_who_holds_the_database(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    char id[LAB_ID_LEN + 1], want[64];
    state_fixture_lab(f->state, "lab", id);
    close_fixture(f);
    struct child holder = start_holder(f, take_write_lock);
    assert_int_equal(state_open(f->home, NULL, &f->state, &err), 0); /* opening and reading wait for no writer */
    struct lab_record *r = NULL;
    assert_int_equal(state_lab_find(f->state, "lab", &r, &err), 0);
    lab_record_free(r);

    database_set_patience(f->state, 300);
    int64_t start = clock_ms();
    assert_int_equal(state_begin(f->state, &err), -1);
    assert_true(clock_ms() - start >= 250);
    assert_int_equal(err.code, ERR_LOCKED);
    assert_string_equal(err.subject, f->database);
    snprintf(want, sizeof want, "process %d (holder) is writing to it", (int)holder.pid);
    assert_non_null(strstr(err.cause, want));
    assert_true(err.retry);
    assert_non_null(strstr(err.mend, "wait until it has ended"));

    error_clear(&err); /* a write of its own transaction, likewise */
    database_set_patience(f->state, 0);
    assert_int_equal(state_lab_set_removing(f->state, id, &err), -1);
    assert_int_equal(err.code, ERR_LOCKED);
    assert_non_null(strstr(err.cause, "cannot mark the lab as being removed"));
    assert_non_null(strstr(err.cause, want));

    error_clear(&err);
    end_holder(holder, SIGKILL); /* and a killed one holds nothing */
    assert_int_equal(state_begin(f->state, &err), 0);
    assert_int_equal(state_commit(f->state, &err), 0);
}

static void a_cancel_ends_the_wait_but_not_for_what_was_done(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    struct cancel cancel;
    char id[LAB_ID_LEN + 1], want[64];
    state_fixture_lab(f->state, "lab", id);
    close_fixture(f);
    assert_int_equal(cancel_init(&cancel, &err), 0);
    struct child holder = start_holder(f, take_write_lock);
    snprintf(want, sizeof want, "process %d (holder) is writing to it", (int)holder.pid);
    assert_int_equal(state_open(f->home, &cancel, &f->state, &err), 0);
    database_set_patience(f->state, 60000);
    cancel_fire(&cancel);
    assert_int_equal(state_lab_set_removing(f->state, id, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_string_equal(err.subject, f->database);
    assert_non_null(strstr(err.cause, "interrupted before it could mark the lab as being removed"));
    assert_non_null(strstr(err.cause, want));
    assert_false(err.retry);

    error_clear(&err); /* outcomes are still to be recorded: that takes the time it takes */
    database_set_patience(f->state, 300);
    int64_t start = clock_ms();
    assert_int_equal(state_begin(f->state, &err), -1);
    assert_true(clock_ms() - start >= 250);
    assert_int_equal(err.code, ERR_LOCKED);
    end_holder(holder, SIGKILL);
    assert_int_equal(state_begin(f->state, &err), 0);
    assert_int_equal(state_commit(f->state, &err), 0);
    state_close(f->state);
    f->state = NULL;
    cancel_destroy(&cancel);
}

/* SQLite's own handler comes to pauses of 100 ms, and who has just come, with one, goes first. */
static void who_has_waited_long_asks_as_often_as_who_has_just_come(void **state) {
    struct state_fixture *f = *state;
    database_set_patience(f->state, 60000);
    assert_int_equal(database_wait(f->state, 0), 1);
    int64_t start = clock_ms();
    for (int tries = 1000; tries < 1020; tries++)
        assert_int_equal(database_wait(f->state, tries), 1);
    assert_true(clock_ms() - start < 20 * 100);
    database_set_patience(f->state, 0);
    assert_int_equal(database_wait(f->state, 1), 0);
}

/* Asking for the holder must not loosen our own hold: POSIX locks fall with any close of their file. */
static void asking_who_holds_it_keeps_our_own_locks(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    assert_int_equal(state_begin(f->state, &err), 0);
    struct holder nobody = holder_find(f->database);
    assert_int_equal(nobody.pid, 0); /* our own lock is no other's */
    pid_t pid = fork();
    if (pid == 0) {
        struct state *second = NULL;
        struct error why = {0};
        if (database_open(f->home, NULL, &second, NULL) || sql_prepare_all(second, NULL))
            _exit(2);
        database_set_patience(second, 0);
        bool told = state_begin(second, &why) && why.code == ERR_LOCKED && strstr(why.cause, "is writing to it");
        struct holder parent = holder_find(f->database);
        _exit(told && parent.pid == getppid() ? 0 : 3);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(state_commit(f->state, &err), 0);
}

/* Within one process F_GETLK tells nothing. */
static void holder_that_cannot_be_found_is_another_process(void **state) {
    struct state_fixture *f = *state;
    struct state *second = NULL;
    struct error err = {0};
    assert_int_equal(state_open(f->home, NULL, &second, &err), 0);
    assert_int_equal(state_begin(second, &err), 0);
    database_set_patience(f->state, 0);
    assert_int_equal(state_begin(f->state, &err), -1);
    assert_int_equal(err.code, ERR_LOCKED);
    assert_string_equal(err.cause, "cannot begin a transaction: another process is writing to it");
    state_close(second);
}

static void writer_waits_for_a_short_transaction(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    close_fixture(f);
    struct child holder = start_holder(f, take_write_lock);
    assert_int_equal(state_open(f->home, NULL, &f->state, &err), 0);
    pid_t helper = let_go_soon(holder);
    assert_int_equal(state_begin(f->state, &err), 0);
    assert_int_equal(state_commit(f->state, &err), 0);
    assert_int_equal(waitpid(helper, NULL, 0), helper);
    end_holder(holder, 0);
}

/* A database that is just being made: not in WAL mode yet, and somebody reads it. */
static void take_read_lock(const struct state_fixture *f) {
    sqlite3 *db = NULL;
    if (sqlite3_open(f->database, &db) || sqlite3_exec(db, "BEGIN; SELECT * FROM sqlite_schema", NULL, NULL, NULL))
        _exit(2);
}

static void first_nestor_waits_for_those_who_read_the_file(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    close_fixture(f);
    state_file_write(f->database, "", 0);
    state_fixture_exec(f->database, "CREATE TABLE t (x); DROP TABLE t");
    struct child holder = start_holder(f, take_read_lock);
    pid_t helper = let_go_soon(holder);
    assert_int_equal(state_open(f->home, NULL, &f->state, &err), 0);
    assert_int_equal(waitpid(helper, NULL, 0), helper);
    end_holder(holder, 0);
}

static pid_t start_first_nestor(const struct state_fixture *f, int number) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    struct state *s = NULL;
    struct error err = {0};
    char name[8], id[LAB_ID_LEN + 1];
    snprintf(name, sizeof name, "lab%d", number);
    int failed = state_open(f->home, NULL, &s, &err) || state_lab_put(s, name, "", "", 0, NULL, id, &err);
    if (failed)
        fprintf(stderr, "%s: %s\n", err.subject, err.cause);
    state_close(s);
    _exit(failed);
}

/* Each opens the fresh home, whoever makes the database, and adds a lab. Repeated, because what can go wrong between
 * them takes luck to meet. */
static void many_first_nestors_at_once_all_get_in(void **state) {
    struct state_fixture *f = *state;
    enum { ROUNDS = 12, N = 8 };
    for (int round = 0; round < ROUNDS; round++) {
        pid_t pids[N];
        close_fixture(f);
        assert_int_equal(unlink(f->database), 0);
        for (int i = 0; i < N; i++)
            pids[i] = start_first_nestor(f, i);
        for (int i = 0; i < N; i++) {
            int status;
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_int_equal(status, 0);
        }
        assert_int_equal(state_fixture_count(f, "SELECT count(*) FROM labs"), N);
    }
}

/* --- a lab --- */

static struct context patience(int ms) { return context_timeout(NULL, ms); }

static void take_lab_lock(const struct state_fixture *f) {
    struct lab_lock lock = {.fd = -1};
    struct context ctx = patience(5000);
    if (lab_lock_take(f->home, "lab", "nestor up", &lock, &ctx, NULL))
        _exit(2);
}

static int try_lock(const struct state_fixture *f, const char *lab, int ms, struct lab_lock *lock, struct error *err) {
    struct context ctx = patience(ms);
    return lab_lock_take(f->home, lab, "nestor down", lock, &ctx, err);
}

static void second_on_the_lab_is_told_who_and_what(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    struct lab_lock lock = {.fd = -1}, other = {.fd = -1};
    char want[64];
    close_fixture(f);
    struct child holder = start_holder(f, take_lab_lock);
    for (int ms = 0; ms <= 250; ms += 250) {
        int64_t start = clock_ms();
        assert_int_equal(try_lock(f, "lab", ms, &lock, &err), -1);
        assert_true(clock_ms() - start >= ms);
        assert_int_equal(err.code, ERR_LOCKED);
        assert_string_equal(err.subject, "lab");
        snprintf(want, sizeof want, "process %d (nestor up) is working on it", (int)holder.pid);
        assert_string_equal(err.cause, want);
        assert_true(err.retry);
        assert_int_equal(lock.fd, -1);
        error_clear(&err);
    }
    assert_int_equal(try_lock(f, "other", 0, &other, &err), 0); /* another lab is another matter */
    lab_lock_release(&other);
    end_holder(holder, 0);
}

/* What test_run_locked.sh does not wait for. */
static void command_that_waits_ends_with_the_holder_as_its_error(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    struct lab_lock lock = {.fd = -1};
    close_fixture(f);
    struct child holder = start_holder(f, take_lab_lock);
    struct cli cli = {.ctx = patience(1300), .quiet = true};
    assert_int_equal(lab_lock_await(&cli, f->home, "lab", "nestor down", &lock, &err), -1);
    cleanup_free char *want = xasprintf("process %d (nestor up) is working on it", (int)holder.pid);
    assert_int_equal(err.code, ERR_LOCKED);
    assert_string_equal(err.subject, "lab");
    assert_string_equal(err.cause, want);
    assert_string_equal(err.mend, "wait until it has ended, then run the same command again");
    assert_int_equal(exit_code_of(&err), NESTOR_FAILED);
    end_holder(holder, 0);
}

static void killed_holder_holds_nothing(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    struct lab_lock lock = {.fd = -1};
    close_fixture(f);
    end_holder(start_holder(f, take_lab_lock), SIGKILL);
    assert_int_equal(try_lock(f, "lab", 0, &lock, &err), 0);
    char *path = state_folder_path(f->home, "locks/lab.lock"), *want = xasprintf("%d nestor down\n", (int)getpid());
    char *text = state_file_read(path, NULL);
    assert_string_equal(text, want);
    free(text);
    free(want);
    free(path);
    lab_lock_release(&lock);
    assert_int_equal(lock.fd, -1);
    lab_lock_release(&lock);
    lab_lock_release(NULL);
    assert_int_equal(try_lock(f, "lab", 0, &lock, &err), 0);
    lab_lock_release(&lock);
}

static void waiting_ends_with_the_lock_or_with_a_cancel(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    struct lab_lock lock = {.fd = -1};
    close_fixture(f);
    struct child holder = start_holder(f, take_lab_lock);

    struct cancel cancel;
    assert_int_equal(cancel_init(&cancel, &err), 0);
    struct context ctx = {.deadline = DEADLINE_NEVER, .cancel = &cancel};
    cancel_fire(&cancel);
    assert_int_equal(lab_lock_take(f->home, "lab", "nestor down", &lock, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_string_equal(err.subject, "lab");
    cancel_destroy(&cancel);

    error_clear(&err);
    pid_t helper = let_go_soon(holder);
    assert_int_equal(try_lock(f, "lab", 10000, &lock, &err), 0);
    lab_lock_release(&lock);
    assert_int_equal(waitpid(helper, NULL, 0), helper);
    end_holder(holder, 0);
}

/* The line of a process that is gone names nobody. Held here by a holder that did not (yet) sign. */
static void stale_signature_is_not_believed(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    struct lab_lock lock = {.fd = -1}, second = {.fd = -1};
    char *path = state_folder_path(f->home, "locks/lab.lock");
    pid_t gone = fork();
    if (gone == 0)
        _exit(0);
    assert_int_equal(waitpid(gone, NULL, 0), gone);
    char dead[32];
    snprintf(dead, sizeof dead, "%d nestor up\n", (int)gone);
    const char *const lines[] = {dead, "", "rubbish", "-1 x", "0 x", "99999999999999999999 x"};
    assert_int_equal(try_lock(f, "lab", 0, &lock, &err), 0);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        state_file_write(path, lines[i], strlen(lines[i]));
        assert_int_equal(try_lock(f, "lab", 0, &second, &err), -1);
        assert_int_equal(err.code, ERR_LOCKED);
        assert_string_equal(err.cause, "another process is working on it");
        error_clear(&err);
    }
    lab_lock_release(&lock);
    free(path);
}

static void lock_folder_that_cannot_be_made_is_told(void **state) {
    struct state_fixture *f = *state;
    struct error err = {0};
    struct lab_lock lock = {.fd = -1};
    struct context ctx = patience(0);
    char *nowhere = state_folder_path(f->home, "nowhere"), *folder = state_folder_path(nowhere, "locks");
    assert_int_equal(lab_lock_take(nowhere, "lab", "nestor up", &lock, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.subject, folder);
    assert_non_null(strstr(err.cause, "cannot make the directory"));
    free(folder);
    free(nowhere);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STATE_TEST(second_writer_is_told_who_holds_the_database),
        STATE_TEST(a_cancel_ends_the_wait_but_not_for_what_was_done),
        STATE_TEST(who_has_waited_long_asks_as_often_as_who_has_just_come),
        STATE_TEST(asking_who_holds_it_keeps_our_own_locks),
        STATE_TEST(holder_that_cannot_be_found_is_another_process),
        STATE_TEST(writer_waits_for_a_short_transaction),
        STATE_TEST(first_nestor_waits_for_those_who_read_the_file),
        STATE_TEST(many_first_nestors_at_once_all_get_in),
        STATE_TEST(second_on_the_lab_is_told_who_and_what),
        STATE_TEST(command_that_waits_ends_with_the_holder_as_its_error),
        STATE_TEST(killed_holder_holds_nothing),
        STATE_TEST(waiting_ends_with_the_lock_or_with_a_cancel),
        STATE_TEST(stale_signature_is_not_believed),
        STATE_TEST(lock_folder_that_cannot_be_made_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
