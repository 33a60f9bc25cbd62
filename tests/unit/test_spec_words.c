/* Names, suggestions, and the words of enums. */
#include <string.h>

#include "spec/limits.h"
#include "spec_lab.h"

static void good_names(void **state) {
    (void)state;
    static const char *const names[] = {
        "a", "7", "kvm1", "debian-kvm", "a--b", "0-0", "abcdefghijklmnopqrstuvwxyz0123456789abcdef" /* 42 */};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!name_is_valid(names[i]))
            fail_msg("'%s' was refused", names[i]);
    assert_int_equal(strlen(names[6]), SPEC_NAME_MAX);
}

static void bad_names(void **state) {
    (void)state;
    static const char *const names[] = {
        "",         "-",    "-a",    "a-",  "A",
        "a_b",      "a.b",  "a/b",   "..",  "a b",
        "a\n",      "a;b",  "$(id)", "a<b", "a&b",
        "\xc3\xa9", "a\"b", "a'b",   "*",   "~",
        "a\\b",     "a:b",  "a@b",   "%s",  "abcdefghijklmnopqrstuvwxyz0123456789abcdefg" /* 43 */};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (name_is_valid(names[i]))
            fail_msg("'%s' was accepted", names[i]);
}

static const char *const words[] = {"memory", "machines", "hypervisor", "user-data", "cpus", "host"};
#define NEAREST(word) nearest_word(word, words, sizeof words / sizeof *words)

static void suggests_the_nearest(void **state) {
    (void)state;
    assert_string_equal(NEAREST("memroy"), "memory"); /* two neighbours swapped count once */
    assert_string_equal(NEAREST("memmory"), "memory");
    assert_string_equal(NEAREST("mashines"), "machines");
    assert_string_equal(NEAREST("machine"), "machines");
    assert_string_equal(NEAREST("hypervizer"), "hypervisor");
    assert_string_equal(NEAREST("user_data"), "user-data");
    assert_string_equal(NEAREST("cpu"), "cpus");
    assert_string_equal(NEAREST("hosts"), "host");
    assert_string_equal(NEAREST("host"), "host");
}

static void suggests_nothing_far_off(void **state) {
    (void)state;
    assert_null(NEAREST("disk"));
    assert_null(NEAREST("x"));
    assert_null(NEAREST(""));
    assert_null(NEAREST("memxxx"));
    assert_null(nearest_word("memory", NULL, 0));
    char longest[200];
    memset(longest, 'm', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_null(NEAREST(longest));
}

static void enums_have_names(void **state) {
    (void)state;
    assert_string_equal(nesting_name(NESTING_REQUIRED), "required");
    assert_string_equal(nesting_name(NESTING_PREFERRED), "preferred");
    assert_string_equal(nesting_name(NESTING_EXPOSED), "exposed");
    assert_string_equal(nesting_name(NESTING_OFF), "off");
    assert_string_equal(ready_name(READY_SSH), "ssh");
    assert_string_equal(ready_name(READY_ADDRESS), "address");
    assert_string_equal(ready_name(READY_RUNNING), "running");
    assert_string_equal(nesting_name((enum nesting)99), "unknown");
}

static void enums_are_read_back(void **state) {
    (void)state;
    for (int i = NESTING_OFF; i <= NESTING_REQUIRED; i++) {
        enum nesting nesting;
        assert_true(nesting_parse(nesting_name((enum nesting)i), &nesting));
        assert_int_equal(nesting, i);
    }
    for (int i = READY_RUNNING; i <= READY_SSH; i++) {
        enum ready ready;
        assert_true(ready_parse(ready_name((enum ready)i), &ready));
        assert_int_equal(ready, i);
    }
    enum nesting nesting = NESTING_EXPOSED;
    enum ready ready = READY_ADDRESS;
    assert_false(nesting_parse("on", &nesting));
    assert_false(ready_parse("", &ready));
    assert_int_equal(nesting, NESTING_EXPOSED);
    assert_int_equal(ready, READY_ADDRESS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_names),           cmocka_unit_test(bad_names),
        cmocka_unit_test(suggests_the_nearest), cmocka_unit_test(suggests_nothing_far_off),
        cmocka_unit_test(enums_have_names),     cmocka_unit_test(enums_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
