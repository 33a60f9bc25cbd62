/* Host keys and what a server offers: pure parsing of text that anybody may have sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nestor/buffer.h"
#include "transport/ssh/hostkey.h"

/* A key as ssh-keygen prints it; its blob is the type and 32 bytes. */
static const char ed25519[] =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f comment with blanks\n";

static void a_public_key_line_is_parsed(void **state) {
    (void)state;
    struct hostkey key;
    assert_int_equal(hostkey_parse(ed25519, &key, "lab/vm", NULL), 0);
    assert_string_equal(key.type, "ssh-ed25519");
    assert_int_equal(key.blob_len, 4 + 11 + 4 + 32);
    for (size_t i = 0; i < 32; i++)
        assert_int_equal(key.blob[19 + i], i);
    assert_true(hostkey_equal(&key, (const char *)key.blob, key.blob_len));
    assert_false(hostkey_equal(&key, (const char *)key.blob, key.blob_len - 1));
    assert_false(hostkey_equal(&key, NULL, 0));
    unsigned char other[sizeof key.blob];
    memcpy(other, key.blob, sizeof other);
    other[50] ^= 1;
    assert_false(hostkey_equal(&key, (const char *)other, key.blob_len));
}

static void what_is_no_public_key_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *line, *cause;
    } cases[] = {
        {NULL, "no host key is known"},
        {"", "not a public key"},
        {"ssh-ed25519", "not a public key"},
        {"ssh-ed25519 ", "not a public key"},
        {"ssh-ed25519 AAA", "not a public key"},
        {"ssh-ed25519 ****", "not a public key"},
        {"ssh-ed25519 AAAA", "damaged"},
        {"ssh-ed25519 /////w==", "damaged"},                 /* a length beyond the end */
        {"ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAAB", "damaged"}, /* another type inside */
        {"a-type-name-that-is-longer-than-any-that-exists AAAA", "not a public key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = {0};
        struct hostkey key;
        memset(&key, 0x5a, sizeof key);
        assert_int_equal(hostkey_parse(cases[i].line, &key, "lab/vm", &err), -1);
        assert_int_equal(err.code, ERR_HOST_KEY_UNKNOWN);
        assert_string_equal(err.subject, "lab/vm");
        assert_non_null(strstr(err.cause, cases[i].cause));
        assert_int_equal(key.blob_len, (size_t)0x5a5a5a5a5a5a5a5a);
    }
}

static void a_key_that_is_too_long_is_refused(void **state) {
    (void)state;
    cleanup_buffer struct buffer line = {0};
    buffer_puts(&line, "ssh-ed25519 ");
    for (int i = 0; i < 2000; i++)
        buffer_puts(&line, "AAAA");
    struct hostkey key;
    struct error err = {0};
    assert_int_equal(hostkey_parse(buffer_str(&line), &key, "lab/vm", &err), -1);
    assert_int_equal(err.code, ERR_HOST_KEY_UNKNOWN);
}

/* --- what a server offers --- */

static void put_u32(struct buffer *b, uint32_t n) {
    for (int shift = 24; shift >= 0; shift -= 8)
        buffer_putc(b, (char)(n >> shift));
}

static void put_string(struct buffer *b, const char *s) {
    put_u32(b, (uint32_t)strlen(s));
    buffer_puts(b, s);
}

static void kexinit(struct buffer *b, const char *host_keys) {
    buffer_puts(b, "SSH-2.0-OpenSSH_9.2\r\n");
    put_u32(b, 1000);
    buffer_putc(b, 4);
    buffer_putc(b, 20);
    buffer_append(b, "0123456789abcdef", 16);
    put_string(b, "curve25519-sha256,ext-info-s");
    put_string(b, host_keys);
    put_string(b, "aes256-ctr");
}

static bool offered(const char *host_keys, const char *type) {
    cleanup_buffer struct buffer b = {0};
    kexinit(&b, host_keys);
    return hostkey_may_be_offered(b.data, b.len, type);
}

static void the_list_of_host_keys_is_searched(void **state) {
    (void)state;
    assert_true(offered("rsa-sha2-512,ssh-ed25519", "ssh-ed25519"));
    assert_true(offered("ssh-ed25519,ecdsa-sha2-nistp256", "ssh-ed25519"));
    assert_true(offered("ssh-ed25519", "ssh-ed25519"));
    assert_false(offered("rsa-sha2-512,rsa-sha2-256", "ssh-ed25519"));
    assert_false(offered("sk-ssh-ed25519,ssh-ed25519-cert-v01", "ssh-ed25519"));
    assert_false(offered("", "ssh-ed25519"));
    assert_false(offered(",,", "ssh-ed25519"));
    assert_false(offered("curve25519-sha256", "aes256-ctr")); /* the other lists do not count */
}

/* What was cut or is no key exchange says nothing about keys: only a list that is there can lack one. Each length is
 * tried in memory of just that size, so that reading on would be seen. */
static void what_is_not_there_says_nothing(void **state) {
    (void)state;
    cleanup_buffer struct buffer b = {0};
    kexinit(&b, "rsa-sha2-512");
    size_t whole = b.len - strlen("aes256-ctr") - 4;
    for (size_t n = 0; n < b.len; n++) {
        char *exact = xmalloc(n);
        memcpy(exact, b.data, n);
        assert_int_equal(hostkey_may_be_offered(exact, n, "ssh-ed25519"), n < whole);
        free(exact);
    }
    b.data[strlen("SSH-2.0-OpenSSH_9.2\r\n") + 5] = 21; /* not SSH_MSG_KEXINIT */
    assert_true(hostkey_may_be_offered(b.data, b.len, "ssh-ed25519"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_public_key_line_is_parsed),       cmocka_unit_test(what_is_no_public_key_is_refused),
        cmocka_unit_test(a_key_that_is_too_long_is_refused), cmocka_unit_test(the_list_of_host_keys_is_searched),
        cmocka_unit_test(what_is_not_there_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
