/* Files over SSH, by each of the ways there are, and locally. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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

/* A server for each way. FORCED runs no command but its SFTP server, whatever is asked for: what arrives there came
 * over SFTP. BARE has no SFTP server: what arrives there came through the shell. */
enum { FULL, FORCED, BARE, WAYS };
static const char *const configs[WAYS] = {
    [FULL] = "Subsystem sftp internal-sftp",
    [FORCED] = "Subsystem sftp internal-sftp\nForceCommand internal-sftp",
    [BARE] = "",
};
static struct test_server servers[WAYS];
static struct access *vms[WAYS], *local;
static char dir[] = "/tmp/nestor-put-XXXXXX";
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

static void put_copies_and_replaces(struct access *a) {
    cleanup_free char *to = xasprintf("%s/a 'quoted' name", dir);
    put(a, to);
    FILE *f = fopen(to, "we");
    fputs("something else", f);
    fclose(f);
    put(a, to);
    unlink(to);
}

static void put_over_sftp(void **state) {
    (void)state;
    put_copies_and_replaces(vms[FULL]);
    put_copies_and_replaces(vms[FORCED]);
}

static void put_through_the_shell(void **state) {
    (void)state;
    put_copies_and_replaces(vms[BARE]);
}

static void put_locally(void **state) {
    (void)state;
    put_copies_and_replaces(local);
}

/* Names there that begin with "." are part files; waits until there are none: the other end removes its own. */
static void await_no_parts(const char *where) {
    cleanup_free char *script = xasprintf("ls -A %s | grep -c '^[.].*part' || true", where);
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

/* Over SSH by each way, then locally. */
#define PLACES (WAYS + 1)
static struct access *place(int i) { return i < WAYS ? vms[i] : local; }

static void a_cancelled_put_leaves_nothing(void **state) {
    (void)state;
    cleanup_free char *to = xasprintf("%s/cancelled", dir);
    for (int i = 0; i < PLACES; i++) {
        struct cancel cancel;
        assert_int_equal(cancel_init(&cancel, NULL), 0);
        struct context ctx = {.deadline = DEADLINE_NEVER, .cancel = &cancel};
        struct error err = {0};
        int64_t start = clock_ms();
        assert_int_equal(access_put(place(i), source, to, 0600, cancel_after, &cancel, &ctx, &err), -1);
        assert_true(clock_ms() - start < 15000);
        assert_int_equal(err.code, ERR_CANCELLED);
        assert_string_equal(err.note, "");
        await_no_parts(dir);
        assert_int_equal(access(to, F_OK), -1);
        cancel_destroy(&cancel);
    }
}

struct cut {
    struct test_server *server;
    bool done;
};

static void kill_after(void *data, uint64_t done, uint64_t total) {
    struct cut *cut = data;
    if (done > total / 4 && !cut->done) {
        test_server_signal_connections(cut->server, SIGKILL);
        cut->done = true;
    }
}

static struct error put_is_cut(int way, const char *to) {
    struct cut cut = {.server = &servers[way]};
    struct access *a = test_server_connect(&servers[way], local);
    struct context ctx = test_within(20000);
    struct error err = {0};
    assert_int_equal(access_put(a, source, to, 0600, kill_after, &cut, &ctx, &err), -1);
    access_close(a);
    access_close(vms[way]); /* it was cut as well */
    vms[way] = test_server_connect(&servers[way], local);
    return err;
}

/* The old file stays, whole, and where there is a shell the half new one goes, although nobody came back for it. */
static void a_cut_put_leaves_the_old_file(void **state) {
    (void)state;
    cleanup_free char *to = xasprintf("%s/old", dir);
    FILE *f = fopen(to, "we");
    fputs("old", f);
    fclose(f);
    const int ways[] = {FULL, BARE, FORCED};
    for (int i = 0; i < WAYS; i++) {
        struct error err = put_is_cut(ways[i], to);
        assert_int_equal(err.code, ERR_UNREACHABLE);
        assert_string_equal(err.subject, "lab/vm");
        assert_true(err.retry);
        if (ways[i] != FORCED)
            await_no_parts(dir);
        cleanup_free char *content = test_file_read(dir, "old");
        assert_string_equal(content, "old");
    }
    cleanup_free char *script = xasprintf("rm -f %s/.*.part-*", dir);
    struct context ctx = test_within(5000);
    assert_int_equal(access_run_ok(local, script, NULL, &ctx, NULL), 0);
}

static struct error put_fails(struct access *a, const char *from, const char *to) {
    struct context ctx = test_within(20000);
    struct error err = {0};
    assert_int_equal(access_put(a, from, to, 0600, NULL, NULL, &ctx, &err), -1);
    return err;
}

static void a_missing_directory_is_told(void **state) {
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        struct error err = put_fails(vms[i], source, "/nonexistent/dir/file");
        assert_int_equal(err.code, ERR_NOT_FOUND);
        assert_string_equal(err.subject, "lab/vm");
        assert_non_null(strstr(err.cause, "cannot write /nonexistent/dir/file: the directory does not exist"));
    }
    struct error err = put_fails(local, source, "/nonexistent/dir/file");
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void a_missing_source_is_told(void **state) {
    (void)state;
    cleanup_free char *to = xasprintf("%s/x", dir);
    for (int i = 0; i < PLACES; i++) {
        struct error err = put_fails(place(i), "/nonexistent/source", to);
        assert_int_equal(err.code, ERR_NOT_FOUND);
        assert_string_equal(err.subject, "/nonexistent/source");
    }
}

static void a_directory_is_not_replaced(void **state) {
    (void)state;
    cleanup_free char *to = xasprintf("%s/directory", dir);
    assert_int_equal(mkdir(to, 0755), 0);
    for (int i = 0; i < WAYS; i++) {
        struct error err = put_fails(vms[i], source, to);
        assert_int_equal(err.code, ERR_IO);
        assert_non_null(strstr(err.cause, "Is a directory"));
    }
    struct error err = put_fails(local, source, to);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(err.native, EISDIR);
    await_no_parts(dir);
}

static void a_full_disk_is_told(void **state) {
    (void)state;
    cleanup_free char *disk = xasprintf("%s/disk", dir);
    cleanup_free char *to = xasprintf("%s/file", disk);
    mkdir(disk, 0755);
    if (mount("none", disk, "tmpfs", 0, "size=1m")) {
        print_message("cannot mount a small disk here\n");
        skip();
    }
    struct error errors[PLACES];
    for (int i = 0; i < PLACES; i++) {
        errors[i] = put_fails(place(i), source, to);
        await_no_parts(disk);
    }
    umount(disk);
    for (int i = 0; i < PLACES; i++)
        assert_int_equal(errors[i].code, ERR_DISK_FULL);
    for (int i = 0; i < WAYS; i++)
        assert_non_null(strstr(errors[i].cause, "its disk is full"));
}

/* --- servers that are none, or not enough --- */

static void put_with(const char *subsystem, void (*then)(struct access *a, const char *to)) {
    struct test_server server;
    test_sshd_start(&server, subsystem);
    struct access *a = test_server_connect(&server, local);
    cleanup_free char *to = xasprintf("%s/with", dir);
    then(a, to);
    unlink(to);
    access_close(a);
    test_server_stop(&server);
}

static void the_shell_steps_in(void **state) {
    (void)state;
    put_with("Subsystem sftp /nonexistent/sftp-server", put);
}

/* It greets as SFTP version 3 and can do nothing beyond that version. */
static void a_server_that_cannot_replace_is_not_used(void **state) {
    (void)state;
    cleanup_free char *script = xasprintf("%s/plain-sftp", dir);
    FILE *f = fopen(script, "we");
    fputs("#!/bin/sh\nprintf '\\000\\000\\000\\005\\002\\000\\000\\000\\003'\nexec cat >/dev/null\n", f);
    fchmod(fileno(f), 0755);
    fclose(f);
    cleanup_free char *subsystem = xasprintf("Subsystem sftp %s", script);
    put_with(subsystem, put);
}

static void is_no_sftp(struct access *a, const char *to) {
    struct error err = put_fails(a, source, to);
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_string_equal(err.subject, "lab/vm");
    assert_non_null(strstr(err.cause, "does not speak SFTP"));
    assert_non_null(strstr(err.mend, "start files"));
}

static void a_talkative_shell_is_told(void **state) {
    (void)state;
    put_with("Subsystem sftp echo Welcome to this machine; exec cat >/dev/null", is_no_sftp);
}

static void may_not_write(struct access *a, const char *to) {
    struct error err = put_fails(a, source, to);
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.subject, "lab/vm");
    assert_non_null(strstr(err.cause, "the user may not write there"));
    assert_int_equal(err.native, 3); /* SSH_FX_PERMISSION_DENIED */
}

static void a_denied_permission_is_told(void **state) {
    (void)state;
    put_with("Subsystem sftp internal-sftp -P open", may_not_write);
}

/* --- many at once --- */

static void *put_one(void *data) {
    put(vms[FULL], data);
    return NULL;
}

static void puts_and_commands_share_a_connection(void **state) {
    (void)state;
    enum { PUTS = 5 }; /* with their guards more than one session has channels for */
    pthread_t threads[PUTS];
    char *to[PUTS];
    for (int i = 0; i < PUTS; i++) {
        to[i] = xasprintf("%s/many-%d", dir, i);
        assert_int_equal(pthread_create(&threads[i], NULL, put_one, to[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        struct context ctx = test_within(10000);
        cleanup_command_result struct command_result r = {0};
        assert_int_equal(access_run_ok(vms[FULL], "echo there", &r, &ctx, NULL), 0);
        assert_string_equal(buffer_str(&r.out), "there\n");
    }
    for (int i = 0; i < PUTS; i++) {
        pthread_join(threads[i], NULL);
        unlink(to[i]);
        free(to[i]);
    }
}

static void an_empty_file_is_put(void **state) {
    (void)state;
    cleanup_free char *to = xasprintf("%s/empty", dir);
    for (int i = 0; i < WAYS; i++) {
        struct context ctx = test_within(10000);
        struct error err = {0};
        struct stat st;
        if (access_put(vms[i], "/dev/null", to, 0600, NULL, NULL, &ctx, &err))
            fail_msg("%s", err.cause);
        assert_int_equal(stat(to, &st), 0);
        assert_int_equal(st.st_size, 0);
        unlink(to);
    }
}

static int group_setup(void **state) {
    (void)state;
    local = access_local();
    for (int i = 0; i < WAYS; i++) {
        test_sshd_start(&servers[i], configs[i]);
        vms[i] = test_server_connect(&servers[i], local);
    }
    assert_non_null(mkdtemp(dir));
    source = xasprintf("%s/source", dir);
    FILE *f = fopen(source, "we");
    for (uint32_t i = 0; i < SIZE / sizeof i; i++) {
        uint32_t word = i * 2654435761u;
        fwrite(&word, sizeof word, 1, f);
    }
    assert_int_equal(fclose(f), 0);
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    cleanup_free char *script = xasprintf("rm -rf %s", dir);
    struct context ctx = test_within(60000);
    struct error err = {0};
    if (access_run_ok(local, script, NULL, &ctx, &err))
        fail_msg("%s", err.cause);
    free(source);
    for (int i = 0; i < WAYS; i++) {
        access_close(vms[i]);
        test_server_stop(&servers[i]);
    }
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_over_sftp),
        cmocka_unit_test(put_through_the_shell),
        cmocka_unit_test(put_locally),
        cmocka_unit_test(an_empty_file_is_put),
        cmocka_unit_test(a_cancelled_put_leaves_nothing),
        cmocka_unit_test(a_cut_put_leaves_the_old_file),
        cmocka_unit_test(a_missing_directory_is_told),
        cmocka_unit_test(a_missing_source_is_told),
        cmocka_unit_test(a_directory_is_not_replaced),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(the_shell_steps_in),
        cmocka_unit_test(a_server_that_cannot_replace_is_not_used),
        cmocka_unit_test(a_talkative_shell_is_told),
        cmocka_unit_test(a_denied_permission_is_told),
        cmocka_unit_test(puts_and_commands_share_a_connection),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
