/* UTF-8, and showing what came with a file. */
#include <string.h>

#include "spec/text.h"
#include "spec_lab.h"

static void good_text(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "plain\ttext\r\nmore\n",
        "\xef\xbb\xbf after a byte order mark",
        "\xc2\x85\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct text_fault fault;
        assert_true(text_check(texts[i], strlen(texts[i]), &fault));
    }
}

#define FAULT(text, row, col, first, is_control)                                                                       \
    do {                                                                                                               \
        struct text_fault fault;                                                                                       \
        assert_false(text_check(text, sizeof(text) - 1, &fault));                                                      \
        assert_int_equal(fault.at.line, row);                                                                          \
        assert_int_equal(fault.at.column, col);                                                                        \
        assert_int_equal(fault.byte, first);                                                                           \
        assert_int_equal(fault.control, is_control);                                                                   \
    } while (0)

static void not_utf8(void **state) {
    (void)state;
    FAULT("\xff\xfel", 1, 1, 0xff, false);        /* UTF-16 */
    FAULT("caf\xe9 au lait", 1, 4, 0xe9, false);  /* Latin-1 */
    FAULT("a\n\xc3\xa9\xc3", 2, 2, 0xc3, false);  /* cut; columns count characters */
    FAULT("a\r\nb\rc\x80", 3, 2, 0x80, false);    /* every kind of line end */
    FAULT("\xc0\xaf", 1, 1, 0xc0, false);         /* overlong '/' */
    FAULT("\xe0\x80\xaf", 1, 1, 0xe0, false);     /* overlong again */
    FAULT("\xed\xa0\x80", 1, 1, 0xed, false);     /* a surrogate */
    FAULT("\xf4\x90\x80\x80", 1, 1, 0xf4, false); /* beyond U+10FFFF */
    FAULT("\xef\xbb\xbfx\xf8", 1, 2, 0xf8, false);
}

static void controls(void **state) {
    (void)state;
    FAULT("a\0b", 1, 2, 0x00, true);
    FAULT("\x1b[2J", 1, 1, 0x1b, true);
    FAULT("ab\x7f", 1, 3, 0x7f, true);
    FAULT("\xc2\x9b", 1, 1, 0xc2, true);     /* CSI as one character */
    FAULT("\xef\xbf\xbf", 1, 1, 0xef, true); /* U+FFFF */
}

static void shown_text(void **state) {
    (void)state;
    char hostile[] = "a\x1b[31m\n\xc2\x9b"
                     "b\xe9\xc3";
    text_make_printable(hostile);
    assert_string_equal(hostile, "a?[31m ??b??");
    char fine[] = "\xe2\x82\xac 5";
    text_make_printable(fine);
    assert_string_equal(fine, "\xe2\x82\xac 5");
}

static void excerpts(void **state) {
    (void)state;
    struct arena arena = {0};
    assert_string_equal(text_excerpt(&arena, "short", 5), "short");
    assert_string_equal(text_excerpt(&arena, "longer", 5), "longe...");
    assert_string_equal(text_excerpt(&arena, "ftp://me:s3cret@h/d", 80), "ftp://...@h/d");
    assert_string_equal(text_excerpt(&arena, "ftp://me:s3cret@h/d", 9), "ftp://......");
    assert_string_equal(text_excerpt(&arena, "a\xe2\x82\xac\xe2\x82\xac", 5), "a\xe2\x82\xac...");
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_text),  cmocka_unit_test(not_utf8), cmocka_unit_test(controls),
        cmocka_unit_test(shown_text), cmocka_unit_test(excerpts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
