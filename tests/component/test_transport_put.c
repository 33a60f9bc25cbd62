/* Files over SSH and locally. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
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

/* Names in dir that begin with "." are part files; waits until there are none: the other end removes its own. */
static void await_no_parts(const char *dir) {
    cleanup_free char *script = xasprintf("ls -A %s | grep -c '^[.].*part' || true", dir);
    struct context ctx = test_within(10000);
    for (;;) {
        struct context moment = test_within(5000);
        cleanup_command_result struct command_result r = {0};
        assert_int_equal(access_run_ok(local, script, &r, &moment, NULL), 0);
        if (strcmp(buffer_str(&r.out), "0\n") == 0)
            return;
        assert_int_equal(context_sleep(&ctx, 10, NULL, "waiting for the part file to go", NULL), 0);
    }
}

static void cancel_after(void *data, uint64_t done, uint64_t total) {
    if (done > total / 4)
        cancel_fire(data);
}

static void a_cancelled_put_leaves_nothing(void **state) {
    (void)state;
    struct access *accesses[] = {vm, local};
    cleanup_free char *to = xasprintf("%s/cancelled", server.dir);
    for (int i = 0; i < 2; i++) {
        struct cancel cancel;
        assert_int_equal(cancel_init(&cancel, NULL), 0);
        struct context ctx = {.deadline = DEADLINE_NEVER, .cancel = &cancel};
        struct error err = {0};
        int64_t start = clock_ms();
        assert_int_equal(access_put(accesses[i], source, to, 0600, cancel_after, &cancel, &ctx, &err), -1);
        assert_true(clock_ms() - start < 5000);
        assert_int_equal(err.code, ERR_CANCELLED);
        await_no_parts(server.dir);
        assert_int_equal(access(to, F_OK), -1);
        cancel_destroy(&cancel);
    }
}

static void kill_after(void *data, uint64_t done, uint64_t total) {
    int *killed = data;
    if (done > total / 4 && !*killed) {
        test_server_signal_connections(&server, SIGKILL);
        *killed = 1;
    }
}

/* The old file stays, whole, and the half new one goes, although nobody came back for it. */
static void a_cut_put_leaves_the_old_file(void **state) {
    (void)state;
    struct access *a = test_server_connect(&server, local);
    cleanup_free char *to = xasprintf("%s/old", server.dir);
    FILE *f = fopen(to, "we");
    fputs("old", f);
    fclose(f);
    struct context ctx = test_within(20000);
    struct error err = {0};
    int killed = 0;
    assert_int_equal(access_put(a, source, to, 0600, kill_after, &killed, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_UNREACHABLE);
    assert_true(err.retry);
    await_no_parts(server.dir);
    cleanup_free char *content = test_file_read(server.dir, "old");
    assert_string_equal(content, "old");
    access_close(a);
    access_close(vm); /* it was cut as well */
    vm = test_server_connect(&server, local);
}

static struct error put_fails(struct access *a, const char *from, const char *to) {
    struct context ctx = test_within(20000);
    struct error err = {0};
    assert_int_equal(access_put(a, from, to, 0600, NULL, NULL, &ctx, &err), -1);
    return err;
}

static void a_missing_directory_is_told(void **state) {
    (void)state;
    struct error err = put_fails(vm, source, "/nonexistent/dir/file");
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.subject, "lab/vm");
    assert_non_null(strstr(err.cause, "/nonexistent/dir/file"));
    err = put_fails(local, source, "/nonexistent/dir/file");
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void a_missing_source_is_told(void **state) {
    (void)state;
    cleanup_free char *to = xasprintf("%s/x", server.dir);
    struct access *accesses[] = {vm, local};
    for (int i = 0; i < 2; i++) {
        struct error err = put_fails(accesses[i], "/nonexistent/source", to);
        assert_int_equal(err.code, ERR_NOT_FOUND);
        assert_string_equal(err.subject, "/nonexistent/source");
    }
}

static void a_directory_is_not_replaced(void **state) {
    (void)state;
    cleanup_free char *to = xasprintf("%s/directory", server.dir);
    assert_int_equal(mkdir(to, 0755), 0);
    struct error err = put_fails(vm, source, to);
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.cause, "Is a directory"));
    err = put_fails(local, source, to);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(err.native, EISDIR);
    await_no_parts(server.dir);
}

static void a_full_disk_is_told(void **state) {
    (void)state;
    cleanup_free char *disk = xasprintf("%s/disk", server.dir);
    cleanup_free char *to = xasprintf("%s/file", disk);
    mkdir(disk, 0755);
    if (mount("none", disk, "tmpfs", 0, "size=1m")) {
        print_message("cannot mount a small disk here\n");
        skip();
    }
    struct access *accesses[] = {vm, local};
    enum error_code codes[2];
    for (int i = 0; i < 2; i++) {
        codes[i] = put_fails(accesses[i], source, to).code;
        await_no_parts(disk);
    }
    umount(disk);
    assert_int_equal(codes[0], ERR_DISK_FULL);
    assert_int_equal(codes[1], ERR_DISK_FULL);
}

static void an_empty_file_is_put(void **state) {
    (void)state;
    cleanup_free char *to = xasprintf("%s/empty", server.dir);
    struct context ctx = test_within(10000);
    struct error err = {0};
    struct stat st;
    if (access_put(vm, "/dev/null", to, 0600, NULL, NULL, &ctx, &err))
        fail_msg("%s", err.cause);
    assert_int_equal(stat(to, &st), 0);
    assert_int_equal(st.st_size, 0);
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
        cmocka_unit_test(an_empty_file_is_put),
        cmocka_unit_test(a_cancelled_put_leaves_nothing),
        cmocka_unit_test(a_cut_put_leaves_the_old_file),
        cmocka_unit_test(a_missing_directory_is_told),
        cmocka_unit_test(a_missing_source_is_told),
        cmocka_unit_test(a_directory_is_not_replaced),
        cmocka_unit_test(a_full_disk_is_told),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
