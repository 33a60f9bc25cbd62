#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "nestor/buffer.h"
#include "ui_capture.h"

static void print(void *data, FILE *out) { error_print(data, false, out); }

static void expect(const struct error *err, const char *text) {
    ui_speak_utf8();
    cleanup_free char *got = ui_capture(print, (void *)err);
    assert_string_equal(got, text);
    ui_assert_harmless(got);
}

static void an_error_says_what_why_and_what_to_do(void **state) {
    (void)state;
    struct error err = {0};
    error_set(&err, ERR_DIED, "lab/kvm1", "QEMU ended at once");
    expect(&err, "error: lab/kvm1: QEMU ended at once\n");
    error_context(&err, "starting it");
    error_mend(&err, "apt-get install qemu-system-x86");
    error_note(&err, "its directory could not be removed");
    expect(&err, "error: lab/kvm1: starting it: QEMU ended at once\n"
                 "  mend: apt-get install qemu-system-x86\n"
                 "  note: its directory could not be removed\n");
}

static void an_error_about_nothing_has_no_subject(void **state) {
    (void)state;
    struct error err = {0};
    error_set(&err, ERR_USAGE, NULL, "too many words");
    expect(&err, "error: too many words\n");
    error_context(&err, "reading");
    expect(&err, "error: reading: too many words\n");
}

static void no_text_of_a_guest_reaches_the_terminal_as_it_is(void **state) {
    (void)state;
    struct error err = {.code = ERR_PROCESS,
                        .subject = "lab/\xc2\x9b"
                                   "2J",
                        .cause = "\x9b"
                                 "2J\u202e",
                        .mend = "\xff"};
    expect(&err, "error: lab/?2J: ?2J?\n  mend: ?\n");
}

static void exit_codes_follow_the_error(void **state) {
    (void)state;
    static const struct {
        enum error_code code;
        int exit;
    } cases[] = {{ERR_USAGE, 2}, {ERR_SPEC, 2}, {ERR_CANCELLED, 130}, {ERR_NOT_FOUND, 1}, {ERR_TIMEOUT, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = {.code = cases[i].code};
        assert_int_equal(exit_code_of(&err), cases[i].exit);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_says_what_why_and_what_to_do),
        cmocka_unit_test(an_error_about_nothing_has_no_subject),
        cmocka_unit_test(no_text_of_a_guest_reaches_the_terminal_as_it_is),
        cmocka_unit_test(exit_codes_follow_the_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
