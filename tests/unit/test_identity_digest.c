/* SHA-256 of bytes and of files, against the examples of FIPS 180-2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "nestor/identity.h"
#include "state_folder.h"

#define OF_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OF_MILLION_A "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

struct progress {
    uint64_t done, total;
    int calls;
};

static void on_progress(void *data, uint64_t done, uint64_t total) {
    struct progress *p = data;
    assert_true(done > p->done);
    *p = (struct progress){.done = done, .total = total, .calls = p->calls + 1};
}

static void bytes(void **state) {
    (void)state;
    char hex[65];
    sha256_hex("abc", 3, hex);
    assert_string_equal(hex, OF_ABC);
    sha256_hex("", 0, hex);
    assert_string_equal(hex, OF_EMPTY);
}

static void file_longer_than_one_read_tells_its_progress(void **state) {
    (void)state;
    enum { N = 1000000 };
    char *folder = state_folder_new();
    char *path = state_folder_path(folder, "million"), *a = malloc(N);
    memset(a, 'a', N);
    state_file_write(path, a, N);

    char hex[65];
    struct progress seen = {0};
    struct error err = {0};
    assert_int_equal(sha256_file(path, hex, on_progress, &seen, NULL, &err), 0);
    assert_string_equal(hex, OF_MILLION_A);
    assert_int_equal(seen.done, N);
    assert_int_equal(seen.total, N);
    assert_true(seen.calls > 1);
    free(a);
    free(path);
    state_folder_remove(folder);
}

static void empty_file_and_no_progress(void **state) {
    (void)state;
    char *folder = state_folder_new();
    char *path = state_folder_path(folder, "empty");
    state_file_write(path, "", 0);
    char hex[65];
    struct error err = {0};
    assert_int_equal(sha256_file(path, hex, NULL, NULL, NULL, &err), 0);
    assert_string_equal(hex, OF_EMPTY);
    free(path);
    state_folder_remove(folder);
}

static void unreadable_files_leave_the_output_alone(void **state) {
    (void)state;
    char *folder = state_folder_new();
    char *missing = state_folder_path(folder, "missing");
    const struct {
        const char *path;
        enum error_code code;
    } cases[] = {{missing, ERR_NOT_FOUND}, {folder, ERR_IO}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char hex[65] = "untouched";
        struct error err = {0};
        assert_int_equal(sha256_file(cases[i].path, hex, NULL, NULL, NULL, &err), -1);
        assert_int_equal(err.code, cases[i].code);
        assert_string_equal(err.subject, cases[i].path);
        assert_string_equal(hex, "untouched");
    }
    free(missing);
    state_folder_remove(folder);
}

struct stopping {
    struct cancel cancel;
    uint64_t done;
};

static void stop_at_once(void *data, uint64_t done, uint64_t total) {
    struct stopping *s = data;
    (void)total;
    s->done = done;
    cancel_fire(&s->cancel);
}

static void reading_ends_with_its_context(void **state) {
    (void)state;
    char *folder = state_folder_new();
    char *path = state_folder_path(folder, "endless");
    state_file_write(path, "", 0);
    assert_int_equal(truncate(path, (off_t)1 << 40), 0);
    char hex[65] = "untouched";
    struct stopping s = {0};
    struct error err = {0};
    assert_int_equal(cancel_init(&s.cancel, &err), 0);
    struct context ctx = {.deadline = DEADLINE_NEVER, .cancel = &s.cancel};
    assert_int_equal(sha256_file(path, hex, stop_at_once, &s, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_string_equal(err.subject, path);
    assert_string_equal(err.cause, "interrupted while computing its SHA-256");
    assert_true(s.done > 0 && s.done < 4 << 20);
    cancel_destroy(&s.cancel);
    error_clear(&err);
    ctx = context_timeout(NULL, 20);
    assert_int_equal(sha256_file(path, hex, NULL, NULL, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_string_equal(hex, "untouched");
    free(path);
    state_folder_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes),
        cmocka_unit_test(file_longer_than_one_read_tells_its_progress),
        cmocka_unit_test(empty_file_and_no_progress),
        cmocka_unit_test(reading_ends_with_its_context),
        cmocka_unit_test(unreadable_files_leave_the_output_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
