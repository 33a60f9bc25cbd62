#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "drivers/vsphere/vsphere_priv.h"

static int digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static void from_base64(const char *text, struct buffer *ret) {
    assert_int_equal(strlen(text) % 4, 0);
    for (; *text; text += 4) {
        int n = text[2] == '=' ? 1 : text[3] == '=' ? 2 : 3;
        unsigned v = 0;
        for (int i = 0; i < 4; i++) {
            assert_true(i > n || digit(text[i]) >= 0);
            v = v << 6 | (unsigned)(i > n ? 0 : digit(text[i]));
        }
        for (int i = 0; i < n; i++)
            buffer_putc(ret, (char)(v >> (16 - 8 * i)));
    }
}

static void unpacked(const struct buffer *packed, struct buffer *ret) {
    z_stream z = {.next_in = (Bytef *)packed->data, .avail_in = (uInt)packed->len};
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    z.next_out = (Bytef *)buffer_reserve(ret, 1 << 20);
    z.avail_out = 1 << 20;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    ret->len = z.total_out;
    inflateEnd(&z);
}

/* What a guest makes of it. */
static void round_trip(const char *text, const char *expected_encoding) {
    cleanup_buffer struct buffer value = {0}, packed = {0}, plain = {0};
    struct error err = {0};
    const char *encoding = NULL;
    assert_int_equal(vsphere_guestinfo("userdata", text, &value, &encoding, "box/vm", &err), 0);
    assert_string_equal(encoding, expected_encoding);
    from_base64(buffer_str(&value), &packed);
    if (strcmp(encoding, "base64") == 0) {
        assert_int_equal(packed.len, strlen(text));
        assert_memory_equal(packed.data, text, packed.len);
        return;
    }
    unpacked(&packed, &plain);
    assert_int_equal(plain.len, strlen(text));
    assert_memory_equal(plain.data, text, plain.len);
}

static char *repeated(const char *piece, size_t len) {
    char *text = xcalloc(len + 1, 1);
    for (size_t i = 0; i < len; i++)
        text[i] = piece[i % strlen(piece)];
    return text;
}

static void short_texts_are_plain_base64(void **state) {
    (void)state;
    static const char *const texts[] = {"a", "ab", "abc", "abcd", "instance-id: x\n", "\xc3\xa4\xff\x01"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        round_trip(texts[i], "base64");
    cleanup_free char *most = repeated("cloud", 3 << 10);
    round_trip(most, "base64");
}

static void long_texts_are_compressed(void **state) {
    (void)state;
    cleanup_free char *longer = repeated("cloud", (3 << 10) + 1), *large = repeated("#cloud-config\n", 500000);
    round_trip(longer, "gzip+base64");
    round_trip(large, "gzip+base64");
}

static void the_same_text_gives_the_same_value(void **state) {
    (void)state;
    cleanup_free char *text = repeated("#cloud-config\n", 20000);
    cleanup_buffer struct buffer one = {0}, two = {0};
    const char *encoding;
    assert_int_equal(vsphere_guestinfo("userdata", text, &one, &encoding, "box/vm", NULL), 0);
    assert_int_equal(vsphere_guestinfo("userdata", text, &two, &encoding, "box/vm", NULL), 0);
    assert_string_equal(buffer_str(&one), buffer_str(&two));
}

static void what_no_guest_could_read_is_refused(void **state) {
    (void)state;
    char *text = xmalloc(100001);
    unsigned seed = 1;
    for (int i = 0; i < 100000; i++) { /* bytes that do not compress */
        seed = seed * 1103515245 + 12345;
        text[i] = (char)(seed >> 16 & 0xff ? seed >> 16 & 0xff : 1);
    }
    text[100000] = '\0';
    struct error err = {0};
    cleanup_buffer struct buffer value = {0};
    const char *encoding;
    assert_int_equal(vsphere_guestinfo("userdata", text, &value, &encoding, "box/vm", &err), -1);
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_string_equal(err.subject, "box/vm");
    assert_non_null(strstr(err.cause, "its userdata is too large for guestinfo"));
    assert_non_null(strstr(err.mend, "user-data"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_texts_are_plain_base64),
        cmocka_unit_test(long_texts_are_compressed),
        cmocka_unit_test(the_same_text_gives_the_same_value),
        cmocka_unit_test(what_no_guest_could_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
