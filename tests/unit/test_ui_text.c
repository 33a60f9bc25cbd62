#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ui/text.h"
#include "ui/ui.h"
#include "ui_capture.h"

static void expect(const char *text, size_t max, bool utf8, const char *shown, size_t columns) {
    cleanup_buffer struct buffer out = {0};
    size_t n = text_put_safe(&out, text, max, utf8);
    assert_string_equal(buffer_str(&out), shown);
    assert_int_equal(n, columns);
}

static void text_is_shown_as_it_is(void **state) {
    (void)state;
    expect("plain", TEXT_NO_LIMIT, true, "plain", 5);
    expect("Grüße ✔", TEXT_NO_LIMIT, true, "Grüße ✔", 7);
    expect("", TEXT_NO_LIMIT, true, "", 0);
    expect("日本", TEXT_NO_LIMIT, true, "日本", 4);
    expect("e\u0301", TEXT_NO_LIMIT, true, "e\u0301", 1);
}

static void what_a_terminal_obeys_is_replaced(void **state) {
    (void)state;
    expect("a\033[2Jb", TEXT_NO_LIMIT, true, "a?[2Jb", 6);
    expect("a\tb\r\nc", TEXT_NO_LIMIT, true, "a b  c", 6);
    expect("\a\b\x7f", TEXT_NO_LIMIT, true, "???", 3);
    expect("\xc2\x9b"
           "2J",
           TEXT_NO_LIMIT, true, "?2J", 3);                       /* CSI as one character */
    expect("\u202egnp.exe", TEXT_NO_LIMIT, true, "?gnp.exe", 8); /* right-to-left override */
    expect("\ufeff\u2028", TEXT_NO_LIMIT, true, "??", 2);
}

static void what_is_not_utf8_is_replaced(void **state) {
    (void)state;
    expect("\x9b"
           "2J",
           TEXT_NO_LIMIT, true, "?2J", 3);
    expect("\xff\xfe", TEXT_NO_LIMIT, true, "??", 2);
    expect("a\xc3", TEXT_NO_LIMIT, true, "a?", 2);
    expect("\xc0\x9b", TEXT_NO_LIMIT, true, "??", 2); /* over-long ESC-like forms */
    expect("\xe0\x80\x9b", TEXT_NO_LIMIT, true, "???", 3);
    expect("\xed\xa0\x80", TEXT_NO_LIMIT, true, "???", 3);      /* a surrogate */
    expect("\xf4\x90\x80\x80", TEXT_NO_LIMIT, true, "????", 4); /* beyond U+10FFFF */
}

/* In Latin-1 the bytes of "Û" begin with "Ã" and hold 0x9b, which is CSI. */
static void without_utf8_only_ascii_is_shown(void **state) {
    (void)state;
    expect("Grüße", TEXT_NO_LIMIT, false, "Gr??e", 5);
    expect("\u00db", TEXT_NO_LIMIT, false, "?", 1);
}

static void long_text_ends_in_an_ellipsis(void **state) {
    (void)state;
    expect("abcdef", 6, true, "abcdef", 6);
    expect("abcdefg", 6, true, "abcde…", 6);
    expect("abcdefg", 6, false, "abcde~", 6);
    expect("abc", 1, true, "…", 1);
    expect("abc", 0, true, "", 0);
}

static void a_wide_character_is_never_halved(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    assert_true(text_put_safe(&out, "日本語", 4, true) <= 4);
    assert_string_equal(buffer_str(&out), "日…");
}

static void padding_fills_columns_not_bytes(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    text_put_padded(&out, "ü", 3, true);
    buffer_puts(&out, "|");
    text_put_padded(&out, "long text", 4, true);
    assert_string_equal(buffer_str(&out), "ü  |lon…");
}

static void a_block_keeps_its_last_lines(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    text_put_block(&out, "one\ntwo\nth\033ree", "  ", 2, true);
    assert_string_equal(buffer_str(&out), "  (1 earlier line)\n  two\n  th?ree\n");
}

static void lines_are_broken_at_spaces(void **state) {
    (void)state;
    struct buffer out = {0};
    text_put_wrapped(&out, "one two  three\nfour abcdefghijkl x", 0, 2, 9, true);
    assert_string_equal(buffer_str(&out), "one two\n  three\n  four\n  abcdefghijkl\n  x");
    buffer_clear(&out);
    text_put_wrapped(&out, "日本 日本 \033[2J", 5, 0, 10, true);
    assert_string_equal(buffer_str(&out), "日本\n日本 ?[2J");
    buffer_clear(&out);
    text_put_wrapped(&out, "not broken at all", 70, 2, TEXT_NO_LIMIT, true);
    assert_string_equal(buffer_str(&out), "not broken at all");
    buffer_clear(&out);
    text_put_hanging(&out, "0123456789 0123456789 0123456789", 10, 34, true);
    assert_string_equal(buffer_str(&out), "0123456789 0123456789\n          0123456789");
    buffer_clear(&out);
    text_put_hanging(&out, "0123456789 0123456789", 30, 42, true); /* too little room there */
    assert_string_equal(buffer_str(&out), "0123456789\n        0123456789");
    buffer_free(&out);
}

static void bytes_are_rounded_for_eyes(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 bytes"}, {1023, "1023 bytes"}, {1536, "1.5 KiB"}, {3ull << 30, "3.0 GiB"}, {UINT64_MAX, "16384.0 PiB"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[24];
        bytes_format(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void the_locale_decides(void **state) {
    (void)state;
    static const struct {
        const char *all, *type, *lang;
        bool utf8;
    } cases[] = {{NULL, NULL, NULL, false},
                 {NULL, NULL, "de_DE.UTF-8", true},
                 {"C", NULL, "de_DE.UTF-8", false},
                 {"", "C.utf8", "C", true},
                 {NULL, "POSIX", "C.UTF-8", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
        const char *const values[] = {cases[i].all, cases[i].type, cases[i].lang};
        for (int k = 0; k < 3; k++)
            values[k] ? setenv(names[k], values[k], 1) : unsetenv(names[k]);
        assert_int_equal(terminal_is_utf8(), cases[i].utf8);
    }
}

static void print_hostile_json(void *data, FILE *out) { json_print(json_pack("[o]", text_json(data)), out); }

static void json_of_hostile_text_is_json_and_harmless(void **state) {
    (void)state;
    cleanup_free char *text = ui_capture(print_hostile_json, (void *)"a\033[2J\x9b\xc2\x9b\u202e\xff");
    ui_assert_harmless(text);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_array_get(json, 0)), "a\033[2J\ufffd\xc2\x9b\u202e\ufffd");
    json_decref(json);
}

static void nothing_is_null_in_json(void **state) {
    (void)state;
    json_t *json = json_pack("[o, o, o]", text_json_or_null(NULL), text_json_or_null(""), text_json_or_null("x"));
    assert_true(json_is_null(json_array_get(json, 0)));
    assert_true(json_is_null(json_array_get(json, 1)));
    assert_string_equal(json_string_value(json_array_get(json, 2)), "x");
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_shown_as_it_is),
        cmocka_unit_test(what_a_terminal_obeys_is_replaced),
        cmocka_unit_test(what_is_not_utf8_is_replaced),
        cmocka_unit_test(without_utf8_only_ascii_is_shown),
        cmocka_unit_test(long_text_ends_in_an_ellipsis),
        cmocka_unit_test(a_wide_character_is_never_halved),
        cmocka_unit_test(padding_fills_columns_not_bytes),
        cmocka_unit_test(a_block_keeps_its_last_lines),
        cmocka_unit_test(lines_are_broken_at_spaces),
        cmocka_unit_test(bytes_are_rounded_for_eyes),
        cmocka_unit_test(the_locale_decides),
        cmocka_unit_test(json_of_hostile_text_is_json_and_harmless),
        cmocka_unit_test(nothing_is_null_in_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
