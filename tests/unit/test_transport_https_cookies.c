/* Cookies of one server: kept, replaced, taken back, and what is not worth keeping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "transport/https.h"

struct jar {
    struct https_cookies cookies;
    unsigned generation;
    struct buffer line;
};

static void hear(struct jar *j, const char *line) { https_cookies_hear(&j->cookies, line, strlen(line)); }

static const char *said(struct jar *j) {
    https_cookies_say(&j->cookies, &j->generation, &j->line);
    return buffer_str(&j->line);
}

static int set_up(void **state) {
    struct jar *j = xcalloc(1, sizeof *j);
    https_cookies_init(&j->cookies);
    *state = j;
    return 0;
}

static int tear_down(void **state) {
    struct jar *j = *state;
    https_cookies_free(&j->cookies);
    buffer_free(&j->line);
    free(j);
    return 0;
}

static void without_cookies_nothing_is_said(void **state) {
    struct jar *j = *state;
    assert_string_equal(said(j), "");
    hear(j, "Content-Type: text/xml\r\n");
    hear(j, "HTTP/1.1 200 OK\r\n");
    assert_string_equal(said(j), "");
}

static void a_cookie_is_kept_by_name_and_replaced(void **state) {
    struct jar *j = *state;
    hear(j, "Set-Cookie: a=1; Path=/; HttpOnly\r\n");
    assert_string_equal(said(j), "Cookie: a=1");
    hear(j, "SET-COOKIE:ab=2\r\n");
    hear(j, "Set-Cookie:  a = \"3 4\" ;Secure\r\n");
    assert_string_equal(said(j), "Cookie: a=\"3 4\"; ab=2");
    unsigned before = j->generation;
    hear(j, "Set-Cookie: a=\"3 4\"\r\n"); /* what it is already is no change */
    said(j);
    assert_int_equal(j->generation, before);
    hear(j, "Set-Cookie: a=\r\n");
    assert_string_equal(said(j), "Cookie: a=; ab=2");
    hear(j, "Set-Cookie: t=a=b==\r\n");
    assert_string_equal(said(j), "Cookie: a=; ab=2; t=a=b==");
}

static void a_server_takes_a_cookie_back(void **state) {
    struct jar *j = *state;
    const char *const over[] = {
        "Set-Cookie: a=; Max-Age=0\r\n",
        "Set-Cookie: a=x; path=/; max-age=-1\r\n",
        "Set-Cookie: a=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/\r\n",
        "Set-Cookie: a=x; expires=Wed, 21 Oct 2015 07:28:00 GMT\r\n",
    };
    for (size_t i = 0; i < sizeof over / sizeof *over; i++) {
        hear(j, "Set-Cookie: a=1\r\n");
        hear(j, over[i]);
        assert_string_equal(said(j), "");
    }
    const char *const not_over[] = {
        "Set-Cookie: a=x; Max-Age=60\r\n",
        "Set-Cookie: a=x; Expires=Fri, 01 Jan 2500 00:00:00 GMT\r\n",
        "Set-Cookie: a=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60\r\n",
        "Set-Cookie: a=x; Expires=soon\r\n",
        "Set-Cookie: a=x; Expires\r\n",
    };
    for (size_t i = 0; i < sizeof not_over / sizeof *not_over; i++) {
        hear(j, not_over[i]);
        assert_string_equal(said(j), "Cookie: a=x");
    }
    hear(j, "Set-Cookie: never=x; Max-Age=0\r\n");
    assert_string_equal(said(j), "Cookie: a=x");
}

static void what_is_no_cookie_is_left(void **state) {
    struct jar *j = *state;
    const char *const lines[] = {
        "Set-Cookie:",
        "Set-Cookie:\r\n",
        "Set-Cookie: \r\n",
        "Set-Cookie: ;\r\n",
        "Set-Cookie: a\r\n",
        "Set-Cookie:",
        "Set-Cookie: =x\r\n",
        "Set-Cookie:  = x\r\n",
        "Set-Cookie: =\r\n",
        "Set-Cookie2: a=1\r\n",
        "Set-Cookie",
        "Set-Cookie: a;b=c\r\n",
        "Set-Cookie: a=1\x01\x02\r\n",
        "Set-Cookie: a\tb=1\x7f\r\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        hear(j, lines[i]);
    https_cookies_hear(&j->cookies, "Set-Cookie: a=\0x\r\n", 19);
    assert_string_equal(said(j), "");
}

static void many_and_long_cookies_are_bounded(void **state) {
    struct jar *j = *state;
    cleanup_buffer struct buffer line = {0};
    buffer_puts(&line, "Set-Cookie: long=");
    for (int i = 0; i < 5000; i++)
        buffer_putc(&line, 'x');
    hear(j, buffer_str(&line));
    assert_string_equal(said(j), "");
    for (int i = 0; i < 100; i++) {
        buffer_clear(&line);
        buffer_printf(&line, "Set-Cookie: c%d=", i);
        for (int n = 0; n < 1000; n++)
            buffer_putc(&line, 'x');
        hear(j, buffer_str(&line));
    }
    assert_int_equal(j->cookies.n, COOKIES_MAX);
    assert_true(strlen(said(j)) < 8192);
    assert_non_null(strstr(said(j), "Cookie: c0="));
}

static void what_is_forgotten_is_not_said_again(void **state) {
    struct jar *j = *state;
    hear(j, "Set-Cookie: a=1\r\n");
    hear(j, "Set-Cookie: b=2\r\n");
    said(j);
    https_cookies_forget(&j->cookies);
    assert_string_equal(said(j), "");
    hear(j, "Set-Cookie: b=3\r\n");
    assert_string_equal(said(j), "Cookie: b=3");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_cookies_nothing_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cookie_is_kept_by_name_and_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_server_takes_a_cookie_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_cookie_is_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_and_long_cookies_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_forgotten_is_not_said_again, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
