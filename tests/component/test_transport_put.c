/* Files over SSH and locally. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport_server.h"

#define SIZE ((size_t)20 << 20)

static struct test_server server;
static struct access *local, *vm;
static char *source;

struct seen {
    uint64_t done, total;
};
static void note(void *data, uint64_t done, uint64_t total) {
    struct seen *s = data;
    assert_true(done > s->done);
    *s = (struct seen){done, total};
}

static void same_content(const char *a, const char *b) {
    struct context ctx = test_within(10000);
    struct command_result r = {0};
    const char *argv[] = {"cmp", a, b, NULL};
    assert_int_equal(process_run(argv, &COMMAND(NULL), &r, &ctx, NULL), 0);
    assert_int_equal(r.status, 0);
    command_result_free(&r);
}

static void put(struct access *a, const char *to) {
    struct context ctx = test_within(20000);
    struct error err = {0};
    struct seen seen = {0};
    if (access_put(a, source, to, 0640, note, &seen, &ctx, &err))
        fail_msg("%s: %s", error_code_name(err.code), err.cause);
    assert_int_equal(seen.done, SIZE);
    assert_int_equal(seen.total, SIZE);
    struct stat st;
    assert_int_equal(stat(to, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    same_content(source, to);
}

static void put_copies_and_replaces(struct access *a, const char *name) {
    cleanup_free char *to = xasprintf("%s/a 'quoted' %s", server.dir, name);
    put(a, to);
    FILE *f = fopen(to, "we");
    fputs("something else", f);
    fclose(f);
    put(a, to);
}

static void put_over_ssh(void **state) {
    (void)state;
    put_copies_and_replaces(vm, "ssh");
}

static void put_locally(void **state) {
    (void)state;
    put_copies_and_replaces(local, "local");
}

static int group_setup(void **state) {
    (void)state;
    test_sshd_start(&server, "");
    source = xasprintf("%s/source", server.dir);
    FILE *f = fopen(source, "we");
    for (uint32_t i = 0; i < SIZE / sizeof i; i++) {
        uint32_t word = i * 2654435761u;
        fwrite(&word, sizeof word, 1, f);
    }
    assert_int_equal(fclose(f), 0);
    local = access_local();
    vm = test_server_connect(&server, local);
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    free(source);
    access_close(vm);
    access_close(local);
    test_server_stop(&server);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_over_ssh),
        cmocka_unit_test(put_locally),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
