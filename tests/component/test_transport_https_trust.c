/* Who is at the other end of HTTPS: each way to trust, right and wrong, and that nothing is said to a stranger. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "https_check.h"
#include "transport_server.h"

static char dir[] = "/tmp/nestor-https-XXXXXX";
static char ca_file[64], other_ca_file[64], self_file[64];

/* What servers show. */
static struct test_cert ca, other_ca;
static struct test_cert good, expired, misnamed, self, self_misnamed, by_name, rsa;

static const struct http_config by_ca = {.trust.ca = ca_file};

/* One POST to a server that shows this certificate. */
static struct test_try post_to(const struct test_cert *cert, const struct http_config *config) {
    struct test_tls server = {.cert = cert};
    test_tls_start(&server);
    struct context ctx = test_within(10000);
    struct http *h = test_http_open(&server, config);
    struct test_try t = test_http_post(h, &ctx);
    http_close(h);
    test_tls_stop(&server);
    /* Whoever was refused has heard nothing at all. */
    assert_int_equal(atomic_load(&server.bytes) > 0, t.rc == 0);
    assert_int_equal(atomic_load(&server.requests), t.rc == 0);
    if (t.rc) {
        assert_false(t.sent);
        assert_false(t.err.retry);
        assert_int_equal(t.err.code, ERR_AUTH);
        assert_non_null(strstr(t.err.cause, cert->thumbprint));
        assert_non_null(strstr(t.err.mend, cert->thumbprint));
    }
    http_reply_free(&t.reply);
    return t;
}

static struct test_try refused(const struct test_cert *cert, const struct http_config *config) {
    struct test_try t = post_to(cert, config);
    assert_int_equal(t.rc, -1);
    return t;
}

static void accepted(const struct test_cert *cert, const struct http_config *config) {
    struct test_try t = post_to(cert, config);
    if (t.rc)
        fail_msg("%s: %s", error_code_name(t.err.code), t.err.cause);
}

/* --- by thumbprint --- */

static void only_the_pinned_certificate_counts_not_its_name_age_or_issuer(void **state) {
    (void)state;
    const struct test_cert *all[] = {&good, &expired, &misnamed, &self, &self_misnamed, &rsa};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct http_config config = {.trust.thumbprint = all[i]->thumbprint};
        accepted(all[i], &config);
    }
}

static void a_thumbprint_may_be_written_in_small_letters_and_without_colons(void **state) {
    (void)state;
    char small[96], bare[65];
    size_t n = 0;
    for (size_t i = 0; i < sizeof small; i++) {
        small[i] = (char)tolower((unsigned char)self.thumbprint[i]);
        if (small[i] != ':')
            bare[n++] = small[i];
    }
    assert_int_equal(n, sizeof bare);
    struct http_config config = {.trust.thumbprint = small};
    accepted(&self, &config);
    config.trust.thumbprint = bare;
    accepted(&self, &config);
}

static void another_certificate_than_the_pinned_one_is_refused_with_both_thumbprints(void **state) {
    (void)state;
    struct http_config config = {.trust.thumbprint = self.thumbprint, .trust.ca = ca_file};
    struct test_try t = refused(&good, &config); /* although the CA file would do */
    assert_non_null(strstr(t.err.cause, "another certificate than the pinned one"));
    assert_non_null(strstr(t.err.cause, self.thumbprint));
    assert_non_null(strstr(t.err.cause, "CN \"good\""));
    assert_non_null(strstr(t.err.mend, "console"));
    assert_null(strstr(t.err.mend, self.thumbprint));
}

/* --- by CA --- */

static void a_certificate_of_the_ca_for_this_name_is_accepted(void **state) {
    (void)state;
    accepted(&good, &by_ca);
}

static void each_defect_is_named(void **state) {
    (void)state;
    const struct {
        const struct test_cert *shown;
        const char *why;
    } defects[] = {
        {&expired, "certificate has expired"},
        {&misnamed, "IP address mismatch"},
        {&by_name, "IP address mismatch"},
        {&self, "self-signed certificate"},
    };
    for (size_t i = 0; i < sizeof defects / sizeof *defects; i++) {
        struct test_try t = refused(defects[i].shown, &by_ca);
        assert_non_null(strstr(t.err.cause, "does not prove that it is 127.0.0.1"));
        assert_non_null(strstr(t.err.cause, defects[i].why));
        assert_non_null(strstr(t.err.mend, "tls: { thumbprint: \""));
        assert_non_null(strstr(t.err.mend, "console"));
        assert_non_null(strstr(t.err.mend, "tls: { ca: FILE }"));
    }
}

static void a_certificate_of_another_ca_is_refused(void **state) {
    (void)state;
    struct http_config config = {.trust.ca = other_ca_file};
    struct test_try t = refused(&good, &config);
    assert_non_null(strstr(t.err.cause, "unable to get local issuer certificate"));
}

static void the_servers_own_certificate_may_be_the_ca_file_but_its_name_counts(void **state) {
    (void)state;
    struct http_config config = {.trust.ca = self_file};
    accepted(&self, &config);
    test_cert_write(&self_misnamed, self_file);
    struct test_try t = refused(&self_misnamed, &config);
    test_cert_write(&self, self_file);
    assert_non_null(strstr(t.err.cause, "IP address mismatch"));
}

static void without_anything_given_the_systems_cas_count(void **state) {
    (void)state;
    struct test_tls server = {.cert = &good};
    test_tls_start(&server);
    cleanup_free char *url = xasprintf("https://127.0.0.1:%u/sdk", server.port);
    struct http_config config = {.subject = "host vc", .url = url};
    struct http *h = NULL;
    struct error err = {0};
    struct context ctx = test_within(10000);
    assert_int_equal(http_open(&config, &h, &err), 0);
    struct test_try t = test_http_post(h, &ctx);
    http_close(h);
    assert_int_equal(t.err.code, ERR_AUTH);
    assert_non_null(strstr(t.err.cause, "unable to get local issuer certificate"));
    /* What OpenSSL calls the system's store can be put elsewhere. */
    assert_int_equal(setenv("SSL_CERT_FILE", ca_file, 1), 0);
    assert_int_equal(http_open(&config, &h, &err), 0);
    unsetenv("SSL_CERT_FILE");
    test_http_fine(h, "fine");
    http_close(h);
    test_tls_stop(&server);
    assert_int_equal(atomic_load(&server.requests), 1);
}

/* --- by nothing --- */

static void insecure_accepts_whatever_is_shown(void **state) {
    (void)state;
    const struct test_cert *all[] = {&good, &expired, &misnamed, &self, &self_misnamed};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        accepted(all[i], NULL);
}

/* --- what is shown is hostile --- */

static void a_hostile_name_is_made_printable(void **state) {
    (void)state;
    struct test_cert evil;
    struct test_cert_spec spec = {.name = "ev\x1b[31mil\"\n\xc3\xa9 x", .san = NULL};
    test_cert_make(&evil, &spec);
    struct test_try t = refused(&evil, &by_ca);
    assert_non_null(strstr(t.err.cause, "CN \"ev?[31mil?????x\""));
    test_cert_free(&evil);
}

/* --- sessions --- */

static void say_goodbye(void *data, const struct test_request *r, struct test_answer *a) {
    (void)data;
    (void)r;
    a->headers = "Connection: close\r\n";
    a->then = THEN_CLOSE;
}

static void check_resumed(const struct http_config *config, int max_version) {
    struct test_tls server = {.cert = &good, .max_version = max_version, .answer = say_goodbye};
    test_tls_start(&server);
    struct http *h = test_http_open(&server, config);
    for (int i = 0; i < 3; i++)
        test_http_fine(h, "fine");
    http_close(h);
    test_tls_stop(&server);
    assert_int_equal(atomic_load(&server.handshakes), 3);
    assert_int_equal(atomic_load(&server.resumed), 2);
}

static void later_connections_resume_the_session_of_the_first(void **state) {
    (void)state;
    struct http_config pinned = {.trust.thumbprint = good.thumbprint};
    check_resumed(&pinned, 0);
    check_resumed(&pinned, TLS1_2_VERSION);
    check_resumed(&by_ca, 0);
    check_resumed(&by_ca, TLS1_2_VERSION);
}

/* --- no TLS at all --- */

static struct test_try post_to_greeting(enum test_greeting greeting, int max_version) {
    struct test_tls server = {.cert = &good, .greeting = greeting, .max_version = max_version};
    test_tls_start(&server);
    struct context ctx = test_within(10000);
    struct http *h = test_http_open(&server, &by_ca);
    struct test_try t = test_http_post(h, &ctx);
    http_close(h);
    test_tls_stop(&server);
    assert_int_equal(t.rc, -1);
    assert_false(t.sent);
    assert_int_equal(atomic_load(&server.bytes), 0);
    return t;
}

static void what_is_not_tls_is_told_so(void **state) {
    (void)state;
    struct test_try t = post_to_greeting(GREETS_IN_PLAIN, 0);
    assert_int_equal(t.err.code, ERR_PROTOCOL);
    assert_non_null(strstr(t.err.cause, "no TLS with it"));
    assert_non_null(strstr(t.err.mend, "port"));
    assert_false(t.err.retry);
}

static void an_old_tls_is_refused(void **state) {
    (void)state;
    struct test_try t = post_to_greeting(GREETS, TLS1_1_VERSION);
    assert_int_equal(t.err.code, ERR_PROTOCOL);
    assert_non_null(strstr(t.err.mend, "TLS 1.2"));
}

static void an_end_within_the_handshake_may_be_tried_again(void **state) {
    (void)state;
    const enum test_greeting ends[] = {GREETS_AND_GOES, GREETS_WITH_RST};
    for (size_t i = 0; i < 2; i++) {
        struct test_try t = post_to_greeting(ends[i], 0);
        assert_int_equal(t.err.code, ERR_UNREACHABLE);
        assert_non_null(strstr(t.err.cause, "before TLS was set up"));
        assert_true(t.err.retry);
    }
}

/* A refusal is not remembered longer than its connection. */
static void after_a_refusal_the_next_error_is_told_as_what_it_is(void **state) {
    (void)state;
    struct test_tls server = {.cert = &self};
    test_tls_start(&server);
    struct context ctx = test_within(10000);
    struct http *h = test_http_open(&server, &by_ca);
    assert_int_equal(test_http_post(h, &ctx).err.code, ERR_AUTH);
    test_tls_stop(&server);
    struct test_try t = test_http_post(h, &ctx);
    assert_int_equal(t.err.code, ERR_CONNECT_REFUSED);
    assert_false(t.sent);
    assert_true(t.err.retry);
    http_close(h);
}

static void make(struct test_cert *c, const struct test_cert_spec *spec) { test_cert_make(c, spec); }

static int set_up(void **state) {
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", dir);
    snprintf(other_ca_file, sizeof other_ca_file, "%s/other.pem", dir);
    snprintf(self_file, sizeof self_file, "%s/self.pem", dir);
    const char *here = "IP:127.0.0.1,DNS:localhost", *there = "IP:127.0.0.2,DNS:elsewhere.example";
    make(&ca, &(struct test_cert_spec){.name = "CA", .ca = true});
    make(&other_ca, &(struct test_cert_spec){.name = "other CA", .ca = true});
    make(&good, &(struct test_cert_spec){.name = "good", .san = here, .issuer = &ca});
    make(&rsa, &(struct test_cert_spec){.name = "rsa", .san = here, .issuer = &ca, .rsa = true});
    make(&expired, &(struct test_cert_spec){.name = "expired", .san = here, .issuer = &ca, .expired = true});
    make(&misnamed, &(struct test_cert_spec){.name = "127.0.0.1", .san = there, .issuer = &ca});
    make(&by_name, &(struct test_cert_spec){.name = "127.0.0.1", .issuer = &ca});
    make(&self, &(struct test_cert_spec){.name = "self", .san = here});
    make(&self_misnamed, &(struct test_cert_spec){.name = "misnamed", .san = there});
    test_cert_write(&ca, ca_file);
    test_cert_write(&other_ca, other_ca_file);
    test_cert_write(&self, self_file);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    struct test_cert *all[] = {&ca, &other_ca, &good, &rsa, &expired, &misnamed, &by_name, &self, &self_misnamed};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        test_cert_free(all[i]);
    unlink(ca_file);
    unlink(other_ca_file);
    unlink(self_file);
    return rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_pinned_certificate_counts_not_its_name_age_or_issuer),
        cmocka_unit_test(a_thumbprint_may_be_written_in_small_letters_and_without_colons),
        cmocka_unit_test(another_certificate_than_the_pinned_one_is_refused_with_both_thumbprints),
        cmocka_unit_test(a_certificate_of_the_ca_for_this_name_is_accepted),
        cmocka_unit_test(each_defect_is_named),
        cmocka_unit_test(a_certificate_of_another_ca_is_refused),
        cmocka_unit_test(the_servers_own_certificate_may_be_the_ca_file_but_its_name_counts),
        cmocka_unit_test(without_anything_given_the_systems_cas_count),
        cmocka_unit_test(insecure_accepts_whatever_is_shown),
        cmocka_unit_test(a_hostile_name_is_made_printable),
        cmocka_unit_test(later_connections_resume_the_session_of_the_first),
        cmocka_unit_test(what_is_not_tls_is_told_so),
        cmocka_unit_test(an_old_tls_is_refused),
        cmocka_unit_test(an_end_within_the_handshake_may_be_tried_again),
        cmocka_unit_test(after_a_refusal_the_next_error_is_told_as_what_it_is),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
