/* The FAT writer's own rules; what other programs think of its volumes is in component/test_image_seed.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/fat.h"

#define FULL ((size_t)4084 * 512)

static int write_one(size_t len, struct buffer *out, struct error *err) {
    char *data = xcalloc(1, len);
    const struct fat_file file = {"user-data", data, len};
    int result = fat_write("CIDATA", &file, 1, out, err);
    free(data);
    return result;
}

static void a_full_volume_is_the_largest(void **state) {
    (void)state;
    struct error err = {0};
    cleanup_buffer struct buffer out = {0};
    assert_int_equal(write_one(FULL, &out, &err), 0);
    assert_int_equal(out.len, (1 + 2 * 12 + 4 + 4084) * 512);
}

static void a_file_too_many_bytes_long_is_refused_by_name(void **state) {
    (void)state;
    struct error err = {0};
    cleanup_buffer struct buffer out = {0};
    assert_int_equal(write_one(FULL + 1, &out, &err), -1);
    assert_int_equal(err.code, ERR_CAPACITY);
    assert_string_equal(err.subject, "user-data");
    assert_string_equal(err.cause, "is too large for a FAT12 volume: 2091009 bytes");
    assert_int_equal(out.len, 0);
}

static void files_that_only_fit_alone_are_refused(void **state) {
    (void)state;
    struct error err = {0};
    cleanup_buffer struct buffer out = {0};
    char *data = xcalloc(1, FULL);
    const struct fat_file files[] = {{"meta-data", data, 1}, {"user-data", data, FULL}};
    assert_int_equal(fat_write("CIDATA", files, 2, &out, &err), -1);
    assert_int_equal(err.code, ERR_CAPACITY);
    assert_string_equal(err.subject, "CIDATA");
    assert_string_equal(err.cause, "the files need 4085 clusters, a FAT12 volume has 4084");
    free(data);
}

static void an_empty_file_has_no_cluster(void **state) {
    (void)state;
    struct error err = {0};
    cleanup_buffer struct buffer out = {0};
    assert_int_equal(write_one(0, &out, &err), 0);
    const uint8_t *root = (const uint8_t *)out.data + (1 + 2 * 1) * 512, *file = root + 2 * 32;
    assert_memory_equal(file, "USER-D~1   ", 11);
    assert_int_equal(file[26] | file[27] << 8, 0);
    static const uint8_t no_chain[3] = {0xf8, 0xff, 0xff};
    assert_memory_equal(out.data + 512, no_chain, 3);
    assert_int_equal(out.data[512 + 3], 0);
}

static void both_fats_are_the_same(void **state) {
    (void)state;
    struct error err = {0};
    cleanup_buffer struct buffer out = {0};
    assert_int_equal(write_one(1537, &out, &err), 0);
    static const uint8_t chain[9] = {0xf8, 0xff, 0xff, 0x03, 0x40, 0x00, 0x05, 0xf0, 0xff}; /* 2 -> 3 -> 4 -> 5 */
    assert_memory_equal(out.data + 512, chain, sizeof chain);
    assert_memory_equal(out.data + 512, out.data + 512 + 512, 512);
}

static void a_name_of_26_characters_takes_two_long_entries(void **state) {
    (void)state;
    struct error err = {0};
    cleanup_buffer struct buffer out = {0};
    const struct fat_file file = {"abcdefghijklmnopqrstuvwxyz", "x", 1};
    assert_int_equal(fat_write("CIDATA", &file, 1, &out, &err), 0);
    const uint8_t *root = (const uint8_t *)out.data + (1 + 2 * 1) * 512;
    assert_int_equal(root[32], 0x42); /* the last comes first */
    assert_int_equal(root[32 + 1], 'n');
    assert_int_equal(root[64], 0x01);
    assert_int_equal(root[64 + 1], 'a');
    assert_memory_equal(root + 96, "ABCDEF~1   ", 11);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_volume_is_the_largest),
        cmocka_unit_test(a_file_too_many_bytes_long_is_refused_by_name),
        cmocka_unit_test(files_that_only_fit_alone_are_refused),
        cmocka_unit_test(an_empty_file_has_no_cluster),
        cmocka_unit_test(both_fats_are_the_same),
        cmocka_unit_test(a_name_of_26_characters_takes_two_long_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
