/* Buffers with a ceiling, and arenas. */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nestor/arena.h"
#include "nestor/buffer.h"

/* --- buffer --- */

static void an_empty_buffer_is_an_empty_string(void **state) {
    (void)state;
    cleanup_buffer struct buffer b = {0};
    assert_string_equal(buffer_str(&b), "");
    buffer_append(&b, NULL, 0);
    assert_int_equal(b.len, 0);
    char *taken = buffer_steal(&b);
    assert_string_equal(taken, "");
    free(taken);
    buffer_clear(&b);
    buffer_free(NULL);
}

static void pieces_are_put_together(void **state) {
    (void)state;
    cleanup_buffer struct buffer b = {0};
    buffer_puts(&b, "one");
    buffer_putc(&b, ' ');
    buffer_printf(&b, "%d %s", 2, "three");
    buffer_append(&b, " fo\0r", 5);
    assert_int_equal(b.len, 16);
    assert_memory_equal(buffer_str(&b), "one 2 three fo\0r", 17); /* with the NUL behind it */
}

static void text_longer_than_the_memory_there_is_grows_it(void **state) {
    (void)state;
    cleanup_buffer struct buffer b = {0};
    for (int i = 0; i < 3; i++)
        buffer_printf(&b, "%0*d", 1000, i);
    assert_int_equal(b.len, 3000);
    assert_int_equal(strlen(buffer_str(&b)), 3000);
    assert_int_equal(b.data[2999], '2');
}

static void up_to_max_bytes_fit_and_no_more(void **state) {
    (void)state;
    cleanup_buffer struct buffer b = {.max = 5};
    buffer_puts(&b, "12345");
    assert_false(buffer_overflowed(&b));
    buffer_putc(&b, '6');
    assert_true(buffer_overflowed(&b));
    assert_string_equal(buffer_str(&b), "12345");
}

static void after_an_overflow_nothing_is_added_until_cleared(void **state) {
    (void)state;
    cleanup_buffer struct buffer b = {.max = 5};
    buffer_puts(&b, "123");
    buffer_printf(&b, "%s", "456");
    assert_true(buffer_overflowed(&b));
    buffer_putc(&b, '4'); /* would fit, but with a hole before it */
    assert_string_equal(buffer_str(&b), "123");
    buffer_clear(&b);
    assert_false(buffer_overflowed(&b));
    buffer_puts(&b, "abcde");
    assert_string_equal(buffer_str(&b), "abcde");
}

static void reserving_the_impossible_is_an_overflow(void **state) {
    (void)state;
    static const size_t sizes[] = {BUFFER_DEFAULT_MAX + 1, SIZE_MAX - 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        cleanup_buffer struct buffer b = {0};
        buffer_puts(&b, "x");
        assert_null(buffer_reserve(&b, sizes[i]));
        assert_true(buffer_overflowed(&b));
        assert_string_equal(buffer_str(&b), "x");
    }
}

static void stolen_bytes_leave_a_buffer_with_the_same_ceiling(void **state) {
    (void)state;
    cleanup_buffer struct buffer b = {.max = 3};
    buffer_puts(&b, "abc");
    cleanup_free char *taken = buffer_steal(&b);
    assert_string_equal(taken, "abc");
    assert_null(b.data);
    buffer_puts(&b, "defg");
    assert_true(buffer_overflowed(&b));
}

static void shell_words_are_quoted(void **state) {
    (void)state;
    static const struct {
        const char *word, *quoted;
    } cases[] = {
        {"", "''"}, {"a b", "'a b'"}, {"$(x)`;\n\"\\", "'$(x)`;\n\"\\'"}, {"it's", "'it'\\''s'"}, {"'", "''\\'''"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup_buffer struct buffer b = {0};
        buffer_put_shell(&b, cases[i].word);
        assert_string_equal(buffer_str(&b), cases[i].quoted);
    }
}

static void the_login_of_a_url_is_found(void **state) {
    (void)state;
    static const struct {
        const char *url, *login;
    } cases[] = {
        {"https://me@host/", "me"},
        {"https://me:a@b:c@host", "me:a@b:c"},
        {"https://@host", ""},
        {"https://host/a@b", NULL},
        {"https://host?a@b", NULL},
        {"https://host#a@b", NULL},
        {"me@host", NULL},
        {"", NULL},
        {"x://", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = 0;
        const char *login = url_login(cases[i].url, &n);
        assert_int_equal(!login, !cases[i].login);
        if (login)
            assert_memory_equal(login, cases[i].login, strlen(cases[i].login));
        assert_int_equal(n, cases[i].login ? strlen(cases[i].login) : 0);
    }
}

static void copies_end_where_they_should(void **state) {
    (void)state;
    cleanup_free char *whole = xstrdup("text"), *part = xstrndup("text", 2), *none = xstrndup("", 0);
    cleanup_free char *made = xasprintf("%s-%d", whole, 7), *taken = steal_ptr(&whole);
    assert_string_equal(taken, "text");
    assert_null(whole);
    assert_string_equal(part, "te");
    assert_string_equal(none, "");
    assert_string_equal(made, "text-7");
    int fd = 5;
    assert_int_equal(steal_fd(&fd), 5);
    assert_int_equal(fd, -1);
}

/* --- arena --- */

static void everything_is_zeroed_aligned_and_apart(void **state) {
    (void)state;
    enum { N = 2000 };
    struct arena a = {0};
    static const unsigned char zero[97];
    unsigned char *all[N];
    for (size_t i = 0; i < N; i++) {
        size_t n = i % 97;
        all[i] = arena_alloc(&a, n);
        assert_int_equal((uintptr_t)all[i] % alignof(max_align_t), 0);
        assert_memory_equal(all[i], zero, n);
        memset(all[i], (int)(i % 255) + 1, n);
    }
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < i % 97; k++)
            assert_int_equal(all[i][k], i % 255 + 1);
    arena_free(&a);
    assert_null(a.head);
}

static void one_big_object_does_not_waste_the_block_in_use(void **state) {
    (void)state;
    struct arena a = {0};
    char *before = arena_alloc(&a, 16), *big = arena_alloc(&a, 1 << 20), *after = arena_alloc(&a, 16);
    memset(big, 'x', 1 << 20);
    assert_ptr_equal(after, before + 16);
    arena_free(&a);
}

static void first_object_may_be_a_big_one(void **state) {
    (void)state;
    struct arena a = {0};
    memset(arena_alloc(&a, 1 << 20), 'x', 1 << 20);
    memset(arena_alloc(&a, 100), 'y', 100);
    arena_free(&a);
}

static void strings_in_an_arena(void **state) {
    (void)state;
    struct arena a = {0};
    assert_null(arena_strdup(&a, NULL));
    assert_string_equal(arena_strdup(&a, "text"), "text");
    assert_string_equal(arena_strndup(&a, "text", 2), "te");
    assert_string_equal(arena_printf(&a, "%s/%d", "lab", 3), "lab/3");
    assert_int_equal(strlen(arena_printf(&a, "%050000d", 1)), 50000);
    arena_free(&a);
    assert_string_equal(arena_strdup(&a, "again"), "again");
    arena_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_is_an_empty_string),
        cmocka_unit_test(pieces_are_put_together),
        cmocka_unit_test(text_longer_than_the_memory_there_is_grows_it),
        cmocka_unit_test(up_to_max_bytes_fit_and_no_more),
        cmocka_unit_test(after_an_overflow_nothing_is_added_until_cleared),
        cmocka_unit_test(reserving_the_impossible_is_an_overflow),
        cmocka_unit_test(stolen_bytes_leave_a_buffer_with_the_same_ceiling),
        cmocka_unit_test(shell_words_are_quoted),
        cmocka_unit_test(the_login_of_a_url_is_found),
        cmocka_unit_test(copies_end_where_they_should),
        cmocka_unit_test(everything_is_zeroed_aligned_and_apart),
        cmocka_unit_test(one_big_object_does_not_waste_the_block_in_use),
        cmocka_unit_test(first_object_may_be_a_big_one),
        cmocka_unit_test(strings_in_an_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
