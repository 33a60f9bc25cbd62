/* qcow2 headers, good and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "image/disk.h"

#define FILE_SIZE 262144

static void put(uint8_t *h, int at, int size, uint64_t value) {
    for (int i = 0; i < size; i++)
        h[at + i] = (uint8_t)(value >> (8 * (size - 1 - i)));
}

/* What qemu-img create writes for a disk of 1 GiB. */
static void good_header(uint8_t h[QCOW2_HEADER_MAX]) {
    memset(h, 0, QCOW2_HEADER_MAX);
    memcpy(h, "QFI\xfb", 4);
    put(h, 4, 4, 3);           /* version */
    put(h, 20, 4, 16);         /* cluster bits */
    put(h, 24, 8, 1ULL << 30); /* size */
    put(h, 36, 4, 2);          /* L1 entries */
    put(h, 40, 8, 196608);     /* L1 table */
    put(h, 48, 8, 65536);      /* refcount table */
    put(h, 56, 4, 1);          /* its clusters */
    put(h, 96, 4, 4);          /* refcount order */
    put(h, 100, 4, 104);       /* header length */
}

static void good_headers_tell_the_size(void **state) {
    (void)state;
    uint8_t h[QCOW2_HEADER_MAX];
    good_header(h);
    for (uint64_t version = 2; version <= 3; version++) {
        struct error err = {0};
        uint64_t size = 0;
        put(h, 4, 4, version);
        assert_int_equal(qcow2_check("a.qcow2", h, sizeof h, FILE_SIZE, &size, &err), 0);
        assert_int_equal(size, 1ULL << 30);
    }
}

static void version_2_has_no_feature_bits(void **state) {
    (void)state;
    uint8_t h[QCOW2_HEADER_MAX];
    struct error err = {0};
    uint64_t size = 0;
    good_header(h);
    put(h, 4, 4, 2);
    put(h, 72, 8, UINT64_MAX); /* whatever follows a version 2 header */
    assert_int_equal(qcow2_check("a.qcow2", h, 72, FILE_SIZE, &size, &err), 0);
    assert_int_equal(size, 1ULL << 30);
}

static void every_hostile_header_is_refused_with_its_cause(void **state) {
    (void)state;
    static const struct {
        int at, size;
        uint64_t value;
        uint64_t file_size;
        size_t len;
        const char *cause;
    } cases[] = {
        {0, 4, 0x12345678, FILE_SIZE, 104, "not a qcow2 image"},
        {4, 4, 1, FILE_SIZE, 104, "version 1 is not supported"},
        {4, 4, 4, FILE_SIZE, 104, "version 4 is not supported"},
        {4, 4, 3, FILE_SIZE, 103, "ends within its header"},
        {4, 4, 2, FILE_SIZE, 71, "ends within its header"},
        {4, 4, 3, FILE_SIZE, 4, "ends within its header"},
        {4, 4, 3, FILE_SIZE, 3, "not a qcow2 image"},
        {8, 8, 1, FILE_SIZE, 104, "has a backing file"},
        {8, 8, UINT64_MAX, FILE_SIZE, 104, "has a backing file"},
        {72, 8, 1 << 1, FILE_SIZE, 104, "marked as corrupt"},
        {72, 8, 1 << 2, FILE_SIZE, 104, "keeps its data in another file"},
        {72, 8, 1 << 5, FILE_SIZE, 104, "features nestor does not know"},
        {72, 8, 1ULL << 63, FILE_SIZE, 104, "features nestor does not know"},
        {32, 4, 2, FILE_SIZE, 104, "is encrypted"},
        {20, 4, 8, FILE_SIZE, 104, "cluster size of 2^8"},
        {20, 4, 22, FILE_SIZE, 104, "cluster size of 2^22"},
        {20, 4, UINT32_MAX, FILE_SIZE, 104, "cluster size of 2^4294967295"},
        {24, 8, 0, FILE_SIZE, 104, "disk size of 0 bytes"},
        {24, 8, 1ULL << 63, FILE_SIZE, 104, "disk size of 9223372036854775808 bytes"},
        {36, 4, UINT32_MAX, FILE_SIZE, 104, "L1 table lies behind the end"},
        {40, 8, FILE_SIZE, FILE_SIZE, 104, "L1 table lies behind the end"},
        {40, 8, UINT64_MAX - 7, FILE_SIZE, 104, "L1 table lies behind the end"},
        {4, 4, 3, 65536, 104, "L1 table lies behind the end"}, /* the download was cut */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t h[QCOW2_HEADER_MAX];
        struct error err = {0};
        uint64_t size = 42;
        good_header(h);
        put(h, cases[i].at, cases[i].size, cases[i].value);
        assert_int_equal(qcow2_check("a.qcow2", h, cases[i].len, cases[i].file_size, &size, &err), -1);
        assert_int_equal(err.code, ERR_IMAGE);
        assert_string_equal(err.subject, "a.qcow2");
        if (!strstr(err.cause, cases[i].cause))
            assert_string_equal(err.cause, cases[i].cause);
        assert_int_equal(size, 42);
    }
}

static void features_that_stay_in_the_file_are_fine(void **state) {
    (void)state;
    uint8_t h[QCOW2_HEADER_MAX];
    struct error err = {0};
    uint64_t size = 0;
    good_header(h);
    put(h, 72, 8, 1 << 0 | 1 << 3 | 1 << 4); /* dirty, compression type, extended L2 entries */
    assert_int_equal(qcow2_check("a.qcow2", h, sizeof h, FILE_SIZE, &size, &err), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_headers_tell_the_size),
        cmocka_unit_test(version_2_has_no_feature_bits),
        cmocka_unit_test(every_hostile_header_is_refused_with_its_cause),
        cmocka_unit_test(features_that_stay_in_the_file_are_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
