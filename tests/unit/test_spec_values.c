/* Sizes and durations, both ways. */
#include <string.h>

#include "spec/duration.h"
#include "spec_lab.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

static void sizes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"1", 1},
        {"17B", 17},
        {"1k", KIB},
        {"1KiB", KIB},
        {"1KB", 1000},
        {"128MiB", 128 * MIB},
        {"128 MiB", 128 * MIB},
        {"128mib", 128 * MIB},
        {"512M", 512 * MIB},
        {"512Mi", 512 * MIB},
        {"1.5GiB", 1536 * MIB},
        {"0.5G", 512 * MIB},
        {"20GB", UINT64_C(20000000000)},
        {"1.25TB", UINT64_C(1250000000000)},
        {"2TiB", 2 * TIB},
        {"0.000000001GB", 1},
        {"18446744073709551615", UINT64_MAX},
        {"16777215TiB", 16777215 * TIB},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t bytes = 42;
        struct error err = {0};
        if (size_parse(good[i].text, &bytes, &err) < 0)
            fail_msg("%s: %s", good[i].text, err.cause);
        if (bytes != good[i].bytes)
            fail_msg("%s became %llu", good[i].text, (unsigned long long)bytes);
    }
}

static void no_sizes(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "MiB",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1  MiB",
        "1.MiB",
        ".5GiB",
        "1.5",
        "1.5B",
        "1,5GiB",
        "1e3",
        "0x10",
        "1PiB",
        "1MiBs",
        "12 apples",
        "1.5.5M",
        "1..5M",
        "1.1234567891G",
        "1 . 5M",
        "18446744073709551616",
        "16777216TiB",
        "99999999999999999999TiB",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t bytes = 42;
        struct error err = {0};
        if (size_parse(bad[i], &bytes, &err) == 0)
            fail_msg("'%s' was accepted", bad[i]);
        cleanup_free char *cause = xasprintf("'%s' is not a size", bad[i]);
        assert_string_equal(err.cause, cause);
        assert_int_equal(err.code, ERR_USAGE);
        assert_string_equal(err.mend, "write it as 128MiB, 1.5GiB, 20GB or a number of bytes");
        assert_int_equal(bytes, 42);
    }
}

static void size_texts(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0B"},
        {1, "1B"},
        {1023, "1023B"},
        {KIB, "1KiB"},
        {128 * MIB, "128MiB"},
        {GIB, "1GiB"},
        {1536 * MIB, "1.5GiB"},
        {1280 * MIB, "1.25GiB"},
        {1025 * MIB, "1025MiB"},
        {2 * TIB, "2TiB"},
        {500 * 1000 * 1000, "476.8MiB"},
        {UINT64_C(20000000000), "18.6GiB"},
        {99999 * TIB, "99999TiB"},
        {UINT64_MAX, "16777216.0TiB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[24];
        size_format(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void durations(void **state) {
    (void)state;
    uint64_t s = 0;
    assert_true(duration_read("90s", &s) && s == 90);
    assert_true(duration_read("5m", &s) && s == 300);
    assert_true(duration_read("1h", &s) && s == 3600);
    assert_true(duration_read("45", &s) && s == 45);
    assert_true(duration_read("99999999h", &s) && s == UINT64_C(99999999) * 3600);
    static const char *const bad[] = {"", "s", "-1s", "1.5h", "1 h", "1d", "5M", "1h30m", "100000000", "5ms"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (duration_read(bad[i], &s))
            fail_msg("'%s' was accepted", bad[i]);
}

static void duration_texts(void **state) {
    (void)state;
    char text[24];
    duration_format(90, text);
    assert_string_equal(text, "90s");
    duration_format(300, text);
    assert_string_equal(text, "5m");
    duration_format(86400, text);
    assert_string_equal(text, "24h");
    duration_format(0, text);
    assert_string_equal(text, "0s");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),     cmocka_unit_test(no_sizes),       cmocka_unit_test(size_texts),
        cmocka_unit_test(durations), cmocka_unit_test(duration_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
