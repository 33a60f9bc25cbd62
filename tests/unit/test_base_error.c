/* An error is told once, whole, printable, and within its bounds. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "nestor/error.h"

#define LETTERS_1000 "%01000d"

static void every_code_has_a_name_of_its_own(void **state) {
    (void)state;
    for (int a = 0; a < ERR_MAX; a++) {
        assert_true(error_code_name((enum error_code)a)[0]);
        for (int b = 0; b < a; b++)
            assert_string_not_equal(error_code_name((enum error_code)a), error_code_name((enum error_code)b));
    }
    assert_string_equal(error_code_name(ERR_MAX), "unknown");
    assert_string_equal(error_code_name((enum error_code) - 1), "unknown");
}

static void set_fills_subject_and_cause(void **state) {
    (void)state;
    struct error err = {0};
    assert_false(error_is_set(&err));
    assert_int_equal(error_set(&err, ERR_CAPACITY, "lab/kvm1", "%d of %s", 3, "four"), -1);
    assert_true(error_is_set(&err));
    assert_int_equal(err.code, ERR_CAPACITY);
    assert_string_equal(err.subject, "lab/kvm1");
    assert_string_equal(err.cause, "3 of four");
    assert_string_equal(err.mend, "");
    assert_false(err.retry);
}

static void without_a_place_to_tell_it_nothing_happens(void **state) {
    (void)state;
    assert_int_equal(error_set(NULL, ERR_IO, "x", "y"), -1);
    assert_int_equal(error_set_errno(NULL, EIO, "x", "y"), -1);
    assert_int_equal(error_mend(NULL, "x"), -1);
    assert_int_equal(error_context(NULL, "x"), -1);
    assert_int_equal(error_note(NULL, "x"), -1);
    assert_int_equal(error_subject(NULL, "x"), -1);
    assert_int_equal(error_reason(NULL, "x"), -1);
    assert_int_equal(error_retry(NULL), -1);
    assert_false(error_is_set(NULL));
    error_clear(NULL);
}

static void terminal_escapes_do_not_get_through(void **state) {
    (void)state;
    struct error err = {0};
    error_set(&err, ERR_IO, "a\nb", "%s", "c\033[31md\x7f");
    error_mend(&err, "e\tf");
    error_context(&err, "g\rh");
    error_note(&err, "i\001j");
    assert_string_equal(err.subject, "a b");
    assert_string_equal(err.cause, "c [31md ");
    assert_string_equal(err.mend, "e f");
    assert_string_equal(err.context, "g h");
    assert_string_equal(err.note, "i j");
}

static void long_text_is_cut_and_says_so(void **state) {
    (void)state;
    struct error err = {0};
    char subject[1000];
    memset(subject, 's', sizeof subject - 1);
    subject[sizeof subject - 1] = '\0';
    error_set(&err, ERR_IO, subject, LETTERS_1000, 0);
    error_mend(&err, LETTERS_1000, 0);
    error_note(&err, LETTERS_1000, 0);
    error_context(&err, "inner");
    error_context(&err, LETTERS_1000, 0);
    assert_int_equal(strlen(err.subject), sizeof err.subject - 1);
    assert_int_equal(strlen(err.cause), sizeof err.cause - 1);
    assert_string_equal(err.cause + strlen(err.cause) - 4, "0...");
    assert_string_equal(err.mend + strlen(err.mend) - 4, "0...");
    assert_string_equal(err.note + strlen(err.note) - 4, "0...");
    assert_string_equal(err.context + strlen(err.context) - 4, "0...");
}

static void system_errors_become_codes(void **state) {
    (void)state;
    static const struct {
        int errnum;
        enum error_code code;
        bool retry;
    } cases[] = {{ENOENT, ERR_NOT_FOUND, false},
                 {EEXIST, ERR_EXISTS, false},
                 {ENOSPC, ERR_DISK_FULL, false},
                 {EDQUOT, ERR_DISK_FULL, false},
                 {ECONNREFUSED, ERR_CONNECT_REFUSED, true},
                 {EHOSTUNREACH, ERR_UNREACHABLE, true},
                 {ETIMEDOUT, ERR_TIMEOUT, true},
                 {EACCES, ERR_IO, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = {0};
        assert_int_equal(error_set_errno(&err, cases[i].errnum, "file", "cannot %s it", "read"), -1);
        assert_int_equal(err.code, cases[i].code);
        assert_int_equal(err.native, cases[i].errnum);
        assert_int_equal(err.retry, cases[i].retry);
        assert_int_equal(strncmp(err.cause, "cannot read it: ", 16), 0);
        assert_string_equal(err.cause + 16, strerror(cases[i].errnum));
        assert_int_equal(err.mend[0] != '\0', cases[i].code == ERR_DISK_FULL);
    }
}

static void contexts_go_in_front_and_notes_behind(void **state) {
    (void)state;
    struct error err = {0};
    error_set(&err, ERR_IO, NULL, "cause");
    error_context(&err, "reading %s", "it");
    error_context(&err, "starting");
    error_note(&err, "first");
    error_note(&err, "second");
    assert_string_equal(err.subject, "");
    assert_string_equal(err.cause, "cause");
    assert_string_equal(err.context, "starting: reading it");
    assert_string_equal(err.note, "first; second");
}

static void any_number_of_notes_fits(void **state) {
    (void)state;
    struct error err = {0};
    error_set(&err, ERR_IO, "subject", "cause");
    for (int i = 0; i < 400; i++) {
        error_note(&err, "%d", i);
        assert_true(strlen(err.note) < sizeof err.note);
    }
    assert_memory_equal(err.note, "0; 1; 2; ", 9);
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.subject, "subject");
}

static void what_is_set_later_replaces_only_itself(void **state) {
    (void)state;
    struct error err = {0};
    error_set(&err, ERR_NESTING, "host", "cause");
    assert_int_equal(error_subject(&err, "lab/kvm1"), -1);
    assert_int_equal(error_reason(&err, "guest-flag-missing"), -1);
    assert_int_equal(error_retry(&err), -1);
    assert_string_equal(err.subject, "lab/kvm1");
    assert_string_equal(err.reason, "guest-flag-missing");
    assert_true(err.retry);
    assert_string_equal(err.cause, "cause");
    error_clear(&err);
    assert_false(error_is_set(&err));
    assert_string_equal(err.cause, "");
    assert_string_equal(err.reason, "");
}

#ifdef NDEBUG
static void second_cause_does_not_replace_the_first(void **state) {
    (void)state;
    struct error err = {0};
    error_set(&err, ERR_IO, "first", "cause");
    error_set(&err, ERR_TIMEOUT, "second", "another");
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.subject, "first");
    assert_string_equal(err.note, "also: timeout");
}
#else
static void second_cause_does_not_replace_the_first(void **state) {
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct error err = {0};
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO); /* what assert says */
        signal(SIGABRT, SIG_DFL);
        error_set(&err, ERR_IO, "first", "cause");
        error_set(&err, ERR_TIMEOUT, "second", "another");
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_of_its_own),
        cmocka_unit_test(set_fills_subject_and_cause),
        cmocka_unit_test(without_a_place_to_tell_it_nothing_happens),
        cmocka_unit_test(terminal_escapes_do_not_get_through),
        cmocka_unit_test(long_text_is_cut_and_says_so),
        cmocka_unit_test(system_errors_become_codes),
        cmocka_unit_test(contexts_go_in_front_and_notes_behind),
        cmocka_unit_test(any_number_of_notes_fits),
        cmocka_unit_test(what_is_set_later_replaces_only_itself),
        cmocka_unit_test(second_cause_does_not_replace_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
