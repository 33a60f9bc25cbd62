/* What http_open accepts: URLs, thumbprints, CA files. Nothing is connected to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport/https.h"

static struct access elsewhere; /* not the local one; nobody calls it here */

static struct error refused(const struct http_config *config) {
    struct http_config c = *config;
    struct error err = {0};
    struct http *h = NULL;
    c.subject = "host vc";
    assert_int_equal(http_open(&c, &h, &err), -1);
    assert_null(h);
    assert_string_equal(err.subject, "host vc");
    assert_null(strstr(err.cause, "hunter2"));
    assert_null(strstr(err.mend, "hunter2"));
    assert_false(err.retry);
    return err;
}

static struct http *opened(const struct http_config *config) {
    struct http_config c = *config;
    struct error err = {0};
    struct http *h = NULL;
    c.subject = "host vc";
    if (http_open(&c, &h, &err))
        fail_msg("%s: %s", c.url, err.cause);
    return h;
}

static void a_url_becomes_an_origin_and_a_path(void **state) {
    (void)state;
    const struct {
        const char *url, *origin, *path, *host;
        uint16_t port;
    } cases[] = {
        {"https://vc.example/sdk", "https://vc.example", "/sdk", "vc.example", 443},
        {"https://vc.example", "https://vc.example", "/", "vc.example", 443},
        {"HTTPS://VC.example:8443/a/b?c=d#e", "https://VC.example:8443", "/a/b?c=d", "VC.example", 8443},
        {"https://vc.example./sdk", "https://vc.example.", "/sdk", "vc.example", 443},
        {"https://192.0.2.7:444/", "https://192.0.2.7:444", "/", "192.0.2.7", 444},
        {"https://[2001:db8::7]/sdk", "https://[2001:db8::7]", "/sdk", "2001:db8::7", 443},
        {"http://localhost:8989/sdk", "http://localhost:8989", "/sdk", "localhost", 8989},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http *h = opened(&(struct http_config){.url = cases[i].url, .trust.insecure = true});
        assert_string_equal(h->origin, cases[i].origin);
        assert_string_equal(h->path, cases[i].path);
        assert_string_equal(h->host, cases[i].host);
        assert_int_equal(h->port, cases[i].port);
        assert_int_equal(h->pool.max, 64);
        assert_int_equal(http_exchanges(h), 0);
        http_close(h);
    }
}

static void a_malformed_url_is_refused(void **state) {
    (void)state;
    const char *const urls[] = {"",
                                "vc.example",
                                "https://",
                                "https://vc.example:99999/",
                                "ftp://vc.example/sdk",
                                "file:///etc/passwd",
                                "https://vc example/sdk",
                                "https://[2001:db8::7/sdk",
                                "https://vc.example/\nsdk"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct error err = refused(&(struct http_config){.url = urls[i], .trust.insecure = true});
        assert_int_equal(err.code, ERR_USAGE);
        assert_non_null(strstr(err.cause, "the URL is malformed: "));
        assert_non_null(strstr(err.mend, "https://SERVER/PATH"));
    }
}

static void credentials_in_the_url_are_refused_and_not_repeated(void **state) {
    (void)state;
    const char *const urls[] = {"https://root:hunter2@vc.example/sdk", "https://hunter2@vc.example/sdk",
                                "http://root:hunter2@localhost/sdk"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct error err = refused(&(struct http_config){.url = urls[i], .trust.insecure = true});
        assert_int_equal(err.code, ERR_USAGE);
        assert_string_equal(err.cause, "the URL carries a user name or a password");
        assert_non_null(strstr(err.mend, "leave them out"));
    }
    refused(&(struct http_config){.url = "https://root:hunter2@vc example/"});
}

static void plain_http_goes_to_the_loopback_or_through_an_access_only(void **state) {
    (void)state;
    const struct http_config fine[] = {
        {.url = "http://127.0.0.1/sdk"},
        {.url = "http://127.7.7.7:8989/sdk"},
        {.url = "http://[::1]/sdk"},
        {.url = "http://localhost/sdk"},
        {.url = "http://vc.localhost/sdk"},
        {.url = "http://vc.example/sdk", .access = &elsewhere},
        {.url = "http://vc.example/sdk", .dial_host = "127.0.0.1", .dial_port = 8989},
    };
    const struct http_config open_to_all[] = {
        {.url = "http://vc.example/sdk"},
        {.url = "http://vc.example/sdk", .access = access_local()},
        {.url = "http://128.0.0.1/sdk"},
        {.url = "http://127.0.0.1.example/sdk"},
        {.url = "http://notlocalhost/sdk"},
        {.url = "http://[::2]/sdk"},
        {.url = "http://127.0.0.1/sdk", .dial_host = "192.0.2.7", .dial_port = 80},
    };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        http_close(opened(&fine[i]));
    for (size_t i = 0; i < sizeof open_to_all / sizeof *open_to_all; i++) {
        struct error err = refused(&open_to_all[i]);
        assert_int_equal(err.code, ERR_USAGE);
        assert_non_null(strstr(err.cause, "plain HTTP"));
        assert_non_null(strstr(err.mend, "use https"));
    }
}

#define DIGITS "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789"

static void a_thumbprint_must_be_one_of_sha256(void **state) {
    (void)state;
    const char *const malformed[] = {"",
                                     "00",
                                     DIGITS "0",
                                     DIGITS "00",
                                     DIGITS ":",
                                     ":" DIGITS,
                                     " " DIGITS,
                                     "0x" DIGITS,
                                     "g123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789",
                                     "0:123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789",
                                     "01::23456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        struct error err =
            refused(&(struct http_config){.url = "https://vc.example/", .trust.thumbprint = malformed[i]});
        assert_int_equal(err.code, ERR_USAGE);
        assert_non_null(strstr(err.cause, "not 64 hex digits"));
        assert_non_null(strstr(err.mend, "openssl x509"));
    }
    http_close(opened(&(struct http_config){.url = "https://vc.example/", .trust.thumbprint = DIGITS}));
    /* What vSphere's own consoles showed for long. */
    struct error err = refused(
        &(struct http_config){.url = "https://vc.example/",
                              .trust.thumbprint = "9B:9F:3D:95:C4:32:5C:27:FC:5C:44:E7:1B:26:41:F7:41:85:A4:3A"});
    assert_int_equal(err.code, ERR_USAGE);
    assert_non_null(strstr(err.cause, "SHA-1"));
}

static void a_ca_file_must_be_there_and_hold_certificates(void **state) {
    (void)state;
    struct http_config config = {.url = "https://vc.example/", .trust.ca = "/nonexistent/ca.pem"};
    struct error err = refused(&config);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err.cause, "/nonexistent/ca.pem"));
    assert_non_null(strstr(err.mend, "tls: { ca: FILE }"));
    char path[] = "/tmp/nestor-ca-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "no PEM\n", 7), 7);
    close(fd);
    config.trust.ca = path;
    err = refused(&config);
    unlink(path);
    assert_int_equal(err.code, ERR_USAGE);
    assert_non_null(strstr(err.cause, "holds no certificate"));
    config.trust.ca = "/tmp";
    assert_int_equal(refused(&config).code, ERR_USAGE);
}

static void closing_nothing_is_fine(void **state) {
    (void)state;
    http_close(NULL);
    http_reply_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_becomes_an_origin_and_a_path),
        cmocka_unit_test(a_malformed_url_is_refused),
        cmocka_unit_test(credentials_in_the_url_are_refused_and_not_repeated),
        cmocka_unit_test(plain_http_goes_to_the_loopback_or_through_an_access_only),
        cmocka_unit_test(a_thumbprint_must_be_one_of_sha256),
        cmocka_unit_test(a_ca_file_must_be_there_and_hold_certificates),
        cmocka_unit_test(closing_nothing_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
