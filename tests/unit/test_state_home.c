/* Where nestor keeps things, by the environment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "state/state_priv.h"
#include "state_folder.h"

/* The variables that count, all pointing away; the test's folder is the HOME. */
static int setup(void **state) {
    char *folder = state_folder_new();
    unsetenv("NESTOR_HOME");
    unsetenv("XDG_STATE_HOME");
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", folder, 1);
    *state = folder;
    return 0;
}

static int teardown(void **state) {
    state_folder_remove(*state);
    return 0;
}

static void assert_found(bool cache, const char *base, const char *rest) {
    char *found = NULL;
    struct error err = {0};
    if (folder_find(cache, &found, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    char *want = xasprintf("%s%s", base, rest);
    assert_string_equal(found, want);
    struct stat st;
    assert_int_equal(stat(found, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0700);
    free(want);
    free(found);
}

static void without_variables_it_is_below_the_home_folder(void **state) {
    assert_found(false, *state, "/.local/state/nestor");
    assert_found(true, *state, "/.cache/nestor");
    assert_found(false, *state, "/.local/state/nestor"); /* now that it is there */
}

static void xdg_variables_come_before_the_home_folder(void **state) {
    char *xdg = state_folder_path(*state, "x");
    setenv("XDG_STATE_HOME", xdg, 1);
    setenv("XDG_CACHE_HOME", xdg, 1);
    assert_found(false, xdg, "/nestor");
    assert_found(true, xdg, "/nestor");
    free(xdg);
}

static void relative_and_empty_xdg_variables_are_ignored(void **state) {
    setenv("XDG_STATE_HOME", "relative", 1);
    setenv("XDG_CACHE_HOME", "", 1);
    assert_found(false, *state, "/.local/state/nestor");
    assert_found(true, *state, "/.cache/nestor");
}

static void nestor_home_comes_first_and_has_the_cache_in_it(void **state) {
    char *own = state_folder_path(*state, "a/b c");
    setenv("XDG_STATE_HOME", "/nowhere", 1);
    setenv("XDG_CACHE_HOME", "/nowhere", 1);
    setenv("NESTOR_HOME", own, 1);
    assert_found(true, own, "/cache");
    assert_found(false, own, "");
    setenv("NESTOR_HOME", "", 1);
    unsetenv("XDG_STATE_HOME");
    assert_found(false, *state, "/.local/state/nestor");
    free(own);
}

static void relative_nestor_home_is_made_absolute(void **state) {
    char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(*state), 0);
    setenv("NESTOR_HOME", "labs/home", 1);
    assert_found(false, *state, "/labs/home");
    assert_found(true, *state, "/labs/home/cache");
    assert_int_equal(chdir(before), 0);
    free(before);
}

static void file_in_the_way_is_told_by_its_path(void **state) {
    char *file = state_folder_path(*state, "file"), *below = state_folder_path(file, "home");
    const char *const homes[] = {file, below};
    state_file_write(file, "", 0);
    for (size_t i = 0; i < 2; i++) {
        struct error err = {0};
        char *found = NULL;
        setenv("NESTOR_HOME", homes[i], 1);
        assert_int_equal(folder_find(false, &found, &err), -1);
        assert_int_equal(err.code, ERR_IO);
        assert_string_equal(err.subject, homes[i]);
        assert_non_null(strstr(err.cause, i == 0 ? "is not a folder" : "cannot make the folder: Not a directory"));
        assert_string_equal(err.mend, "set NESTOR_HOME to a folder you can write to");
        assert_null(found);
    }
    free(below);
    free(file);
}

static void relative_home_is_no_home(void **state) {
    (void)state;
    struct error err = {0};
    char *found = NULL;
    setenv("HOME", "relative", 1);
    assert_int_equal(folder_find(false, &found, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.subject, "HOME");
    assert_non_null(strstr(err.mend, "NESTOR_HOME"));
}

/* Last: what it finds stays for the process. */
static void public_functions_answer_the_same_for_ever(void **state) {
    struct error err = {0};
    setenv("HOME", "relative", 1);
    assert_null(nestor_home(&err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    error_clear(&err);
    setenv("HOME", *state, 1);
    const char *home = nestor_home(&err), *cache = nestor_cache(&err);
    assert_non_null(home);
    assert_non_null(cache);
    setenv("HOME", "/elsewhere", 1);
    assert_ptr_equal(nestor_home(&err), home);
    assert_ptr_equal(nestor_cache(&err), cache);
    assert_string_not_equal(home, cache);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(without_variables_it_is_below_the_home_folder),
        TEST(xdg_variables_come_before_the_home_folder),
        TEST(relative_and_empty_xdg_variables_are_ignored),
        TEST(nestor_home_comes_first_and_has_the_cache_in_it),
        TEST(relative_nestor_home_is_made_absolute),
        TEST(file_in_the_way_is_told_by_its_path),
        TEST(relative_home_is_no_home),
        TEST(public_functions_answer_the_same_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
