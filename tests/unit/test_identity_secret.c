/* The lab's secret on disk: whole or not at all, and nobody else's to read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "nestor/identity.h"
#include "state_folder.h"

struct fixture {
    char *folder, *path;
    struct secret secret;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->folder = state_folder_new();
    f->path = state_folder_path(f->folder, "lab.secret");
    for (int i = 0; i < SECRET_LEN; i++)
        f->secret.bytes[i] = (unsigned char)i;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    state_folder_remove(f->folder);
    free(f->path);
    free(f);
    return 0;
}

static void what_was_saved_is_loaded(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    struct secret loaded = {{0}};
    assert_int_equal(secret_save(&f->secret, f->path, &err), 0);
    assert_int_equal(secret_load(&loaded, f->path, &err), 0);
    assert_memory_equal(loaded.bytes, f->secret.bytes, SECRET_LEN);
}

static void saved_file_is_ours_alone_whatever_the_umask_and_leaves_no_other(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    char name[64];
    snprintf(name, sizeof name, "lab.secret.%d.tmp", (int)gettid()); /* of a killed one that had our thread id */
    char *leftover = state_folder_path(f->folder, name);
    state_file_write(leftover, "half", 4);
    assert_int_equal(chmod(leftover, 0666), 0);
    mode_t old = umask(0);
    int r = secret_save(&f->secret, f->path, &err);
    umask(old);
    assert_int_equal(r, 0);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(access(leftover, F_OK), -1);
    free(leftover);
}

static void secret_that_others_may_read_is_refused_with_the_mend(void **state) {
    struct fixture *f = *state;
    static const mode_t open_modes[] = {0640, 0604, 0620, 0601};
    struct error err = {0};
    assert_int_equal(secret_save(&f->secret, f->path, &err), 0);
    for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
        struct secret loaded = {{42}};
        assert_int_equal(chmod(f->path, open_modes[i]), 0);
        assert_int_equal(secret_load(&loaded, f->path, &err), -1);
        assert_int_equal(err.code, ERR_IO);
        assert_string_equal(err.subject, f->path);
        assert_non_null(strstr(err.cause, "others may read the lab's secret (mode 06"));
        assert_non_null(strstr(err.mend, "chmod 600"));
        assert_int_equal(loaded.bytes[0], 42);
        error_clear(&err);
    }
}

static void cut_secret_is_refused_at_every_length(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    assert_int_equal(secret_save(&f->secret, f->path, &err), 0);
    for (int len = SECRET_LEN - 1; len >= 0; len--) {
        struct secret loaded;
        assert_int_equal(truncate(f->path, len), 0);
        assert_int_equal(secret_load(&loaded, f->path, &err), -1);
        assert_int_equal(err.code, ERR_IO);
        assert_non_null(strstr(err.cause, "damaged"));
        error_clear(&err);
    }
}

static void missing_secret_is_not_found_and_a_fifo_is_not_waited_for(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    struct secret loaded;
    assert_int_equal(secret_load(&loaded, f->path, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.subject, f->path);

    error_clear(&err);
    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_int_equal(secret_load(&loaded, f->path, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.cause, "not a regular file"));
}

static void save_into_a_missing_folder_says_so(void **state) {
    struct fixture *f = *state;
    struct error err = {0};
    char *path = state_folder_path(f->folder, "nowhere/lab.secret");
    assert_int_equal(secret_save(&f->secret, path, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.subject, path);
    assert_string_equal(err.context, "saving the lab's secret");
    assert_string_equal(err.cause, "cannot write it: No such file or directory");
    free(path);
}

static void new_secrets_differ_and_a_wiped_one_is_zero(void **state) {
    (void)state;
    static const struct secret zero;
    struct error err = {0};
    struct secret a = {{0}}, b = {{0}};
    assert_int_equal(secret_new(&a, &err), 0);
    assert_int_equal(secret_new(&b, &err), 0);
    assert_memory_not_equal(&a, &b, sizeof a);
    assert_memory_not_equal(&a, &zero, sizeof a);
    secret_wipe(&a);
    assert_memory_equal(&a, &zero, sizeof a);
    secret_wipe(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_was_saved_is_loaded),
        TEST(saved_file_is_ours_alone_whatever_the_umask_and_leaves_no_other),
        TEST(secret_that_others_may_read_is_refused_with_the_mend),
        TEST(cut_secret_is_refused_at_every_length),
        TEST(missing_secret_is_not_found_and_a_fifo_is_not_waited_for),
        TEST(save_into_a_missing_folder_says_so),
        TEST(new_secrets_differ_and_a_wiped_one_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
