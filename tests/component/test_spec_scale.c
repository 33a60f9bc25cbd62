/* Time grows with the spec, not with its square; and no file of 4 MiB takes long, whatever is in it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "spec_lab.h"

/* Sanitizers cost a factor; a square would cost minutes. */
#define LONGEST_MS 20000

/* What this thread used, not what went by: what else the machine does is no matter. */
static int64_t used_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t parse_ms(const struct buffer *text, size_t machines) {
    struct lab *lab = NULL;
    struct diagnostics diags = {0};
    struct error err = {0};
    int64_t start = used_ms();
    int failed = spec_parse("x.yaml", text->data, text->len, &spec_test_drivers, NULL, &lab, &diags, &err);
    int64_t took = used_ms() - start;
    assert_int_equal(failed, machines ? 0 : -1);
    if (machines)
        assert_int_equal(lab->nmachines, machines);
    lab_free(lab);
    diagnostics_free(&diags);
    return took;
}

static void spell_out(struct buffer *text, size_t n) {
    buffer_clear(text);
    buffer_puts(text, "lab: x\nmachines:\n");
    for (size_t i = 0; i < n; i++)
        buffer_printf(text, "  web-%zu: { template: tiny, memory: 128MiB }\n", i);
}

static void count_up(struct buffer *text, size_t n) {
    buffer_clear(text);
    buffer_printf(
        text,
        "lab: x\ndefaults: { template: tiny }\nmachines:\n  kvm: { count: %zu, hypervisor: libvirt, memory: 64TiB, "
        "machines: { web: { count: 99 } } }\n",
        n / 100);
}

/* The quickest of three: caches that others filled can only slow a run down. */
static int64_t best_ms(void (*make)(struct buffer *text, size_t n), size_t n) {
    cleanup_buffer struct buffer text = {0};
    int64_t best = INT64_MAX;
    make(&text, n);
    for (int i = 0; i < 3; i++) {
        int64_t took = parse_ms(&text, n);
        best = took < best ? took : best;
    }
    return best;
}

static void assert_linear(void (*make)(struct buffer *text, size_t n), size_t small) {
    int64_t one = best_ms(make, small), ten = best_ms(make, 10 * small);
    print_message("%zu machines: %lld ms, %zu machines: %lld ms\n", small, (long long)one, 10 * small, (long long)ten);
    /* Ten times the machines: a square would be 100 times the time. */
    assert_true(ten <= 30 * (one + 1));
}

static void spelled_out(void **state) {
    (void)state;
    assert_linear(spell_out, 1000);
}

static void counted(void **state) {
    (void)state;
    assert_linear(count_up, 10000);
}

static void repeat(struct buffer *text, const char *start, const char *unit) {
    size_t len = strlen(unit);
    buffer_clear(text);
    buffer_puts(text, start);
    while (text->len + len < ((size_t)4 << 20))
        buffer_append(text, unit, len);
}

static void number(struct buffer *text, const char *start, const char *before, const char *after) {
    buffer_clear(text);
    buffer_puts(text, start);
    for (size_t i = 0; text->len < ((size_t)4 << 20) - 200; i++)
        buffer_printf(text, "%s%zu%s", before, i, after);
}

static void assert_bounded(const struct buffer *text) {
    int64_t took = parse_ms(text, 0);
    if (took > LONGEST_MS)
        fail_msg("%lld ms for '%.40s...'", (long long)took, text->data);
}

static void one_thing_over_and_over(void **state) {
    (void)state;
    static const struct {
        const char *start, *unit;
    } files[] = {
        {"", "["},
        {"", "{a: "},
        {"", "- "},
        {"", "? "},
        {"", ": "},
        {"", "#\n"},
        {"", "---\n"},
        {"", "!"},
        {"[", "a,"},
        {"lab: ", "a"},
        {"", "a: 1\n"},
        {"lab: \"", "\\"},
        {"", "%TAG ! x\n"},
        {"", "&a "},
        {"lab: x\nmachines: ", "\t"},
        {"lab: |\n", " \n"},
        {"", "a\n"},
        {"x-a: &a [", "[],"},
        {"lab: x\nhosts: {", "a: {},"},
    };
    cleanup_buffer struct buffer text = {0};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        repeat(&text, files[i].start, files[i].unit);
        assert_bounded(&text);
    }
}

static void everything_different(void **state) {
    (void)state;
    static const struct {
        const char *start, *before, *after;
    } files[] = {
        {"", "key", ": 1\n"},
        {"lab: x\n", "x-a", ": &b 1\n"},
        {"lab: x\nmachines:\n", "  m", ":\n"},
        {"lab: x\nmachines:\n", "  m", ": { template: t, host: here }\n"},
        {"lab: x\nhosts:\n", "  h", ": { driver: metal }\n"},
        {"lab: x\nhosts:\n  h:\n    driver: kvm\n", "    p", ": 1\n"},
        {"lab: x\ntemplates:\n", "  t", ": { source: \"https://example.org/\" }\n"},
        {"lab: x\nmachines: { a: { template: t } }\nx-list:\n", "- &a", " 1\n- *missing\n"},
    };
    cleanup_buffer struct buffer text = {0};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        number(&text, files[i].start, files[i].before, files[i].after);
        assert_bounded(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spelled_out),
        cmocka_unit_test(counted),
        cmocka_unit_test(one_thing_over_and_over),
        cmocka_unit_test(everything_different),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
