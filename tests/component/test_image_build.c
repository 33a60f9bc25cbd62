/* Recipes: what is built, what is kept, what is told, and what a failure, a kill or a second builder does. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "image_recipe.h"

static struct image *ensure_good(const char *name, bool rebuild, struct image_events *events) {
    struct template t = image_template(name);
    struct context ctx = image_soon();
    struct error err = {0};
    struct image *image = NULL;
    int failed = image_ensure(&t, rebuild, &image, events ? &events->sink : NULL, &ctx, &err);
    assert_string_equal(err.cause, "");
    assert_int_equal(failed, 0);
    return image;
}

static void ensure_fails(const char *name, struct error *err) {
    struct template t = image_template(name);
    struct context ctx = image_soon();
    struct image *image = NULL;
    assert_int_equal(image_ensure(&t, false, &image, NULL, &ctx, err), -1);
    assert_null(image);
}

/* Everything in cache/images but logs and locks, sorted. */
static void assert_catalogue(const char *want) {
    cleanup_buffer struct buffer out = {0};
    cleanup_free char *images = image_fixture_path("home/cache/images");
    image_fixture_run(&out, "cd %s && ls -A | grep -v -e '[.]log$' -e '[.]lock$' | sort | tr '\\n' ' '", images);
    assert_string_equal(buffer_str(&out), want);
}

static void a_recipe_is_built_once_and_then_found(void **state) {
    (void)state;
    cleanup_free char *count = image_fixture_path("count");
    cleanup_free char *script = xasprintf("echo building >>%s\n" IMAGE_RECIPE_GOOD "echo KERNEL >$out/vmlinuz\n"
                                          "echo INITRD >$out/initrd.img\necho 'root=/dev/vda quiet' >$out/cmdline\n"
                                          "echo lab >$out/user\n",
                                          count);
    image_recipe_write("good", script);
    for (int i = 0; i < 2; i++) {
        struct image *image = ensure_good("good", false, NULL);
        cleanup_free char *disk = image_fixture_path("home/cache/images/good/disk.qcow2");
        assert_string_equal(image->name, "good");
        assert_string_equal(image->disk, disk);
        assert_false(image->in_place);
        assert_string_equal(image->format, "qcow2");
        assert_int_equal(image->virtual_size, 1 << 20);
        assert_int_equal(image->file_size, IMAGE_QCOW2_SIZE);
        assert_int_equal(image->boot, BOOT_KERNEL);
        assert_string_equal(image->cmdline, "root=/dev/vda quiet");
        assert_string_equal(image->user, "lab");
        /* printf 'KERNEL\n' | sha256sum, and INITRD */
        assert_string_equal(image->kernel_sha256, "688d4700ad15c33a624b63d05dc9e764b8f1499a50fdd6239aaa03216ae89999");
        assert_string_equal(image->initrd_sha256, "9d418ca494501050fd273ad0b312380fb6bceb6d0c9b8edf5408fe9071f80930");
        image_free(image);
    }
    cleanup_free char *counted = image_fixture_read(count);
    assert_string_equal(counted, "building\n");
    assert_catalogue("good ");
}

/* What a recipe leaves in TMPDIR when it is killed has to vanish with the rest. */
static void scratch_space_is_part_of_the_work_in_progress(void **state) {
    (void)state;
    image_recipe_write("scratch", "test \"$out\" = \"$TMPDIR/out\"\ntouch \"$TMPDIR/left-behind\"\n" IMAGE_RECIPE_GOOD);
    image_free(ensure_good("scratch", false, NULL));
    assert_catalogue("good scratch ");
}

static void without_a_kernel_the_disk_boots_itself(void **state) {
    (void)state;
    image_recipe_write("plain", IMAGE_RECIPE_GOOD);
    struct image *image = ensure_good("plain", false, NULL);
    assert_int_equal(image->boot, BOOT_DISK);
    assert_null(image->kernel);
    assert_null(image->cmdline);
    assert_string_equal(image->user, "root");
    image_free(image);
}

static void the_specs_user_and_command_line_count_for_more(void **state) {
    (void)state;
    image_recipe_write("choice",
                       IMAGE_RECIPE_GOOD "echo a >$out/vmlinuz; echo image >$out/cmdline; echo image >$out/user");
    image_free(ensure_good("choice", false, NULL));
    struct template t = image_template("choice");
    t.user = "spec";
    t.cmdline = "spec quiet";
    struct error err = {0};
    struct image *image = NULL;
    assert_int_equal(image_find(&t, &image, &err), 0);
    assert_string_equal(image->user, "spec");
    assert_string_equal(image->cmdline, "spec quiet");
    image_free(image);
}

static void what_is_not_built_is_not_found(void **state) {
    (void)state;
    image_recipe_write("later", IMAGE_RECIPE_GOOD);
    struct template t = image_template("later");
    struct image *image = NULL;
    struct error err = {0};
    assert_int_equal(image_find(&t, &image, &err), -1);
    image_assert_error(&err, ERR_NOT_FOUND, "later", "the image has not been built yet",
                       "run 'nestor image build later'");

    err = (struct error){0};
    t = image_template("nowhere");
    assert_int_equal(image_find(&t, &image, &err), -1);
    image_assert_error(&err, ERR_NOT_FOUND, "nowhere", "there is no recipe of that name", "nestor image list");
    err = (struct error){0};
    ensure_fails("nowhere", &err);
    image_assert_error(&err, ERR_NOT_FOUND, "nowhere", "there is no recipe of that name", "nestor image list");
}

static void names_that_leave_the_catalogue_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"../good", "a/b", ".", "", "a.b", "-x"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct error err = {0};
        ensure_fails(names[i], &err);
        image_assert_error(&err, ERR_USAGE, names[i], "is not the name of an image", "");
        err = (struct error){0};
        assert_int_equal(image_remove(names[i], &err), -1);
        image_assert_error(&err, ERR_USAGE, names[i], "is not the name of an image", "");
    }
}

static void lines_become_events_while_the_recipe_runs(void **state) {
    (void)state;
    image_recipe_write(
        "talks", "printf 'packages: \\033[1m50%%\\rpackages: 100%%\\n' >&2\nprintf 'no newline'\n" IMAGE_RECIPE_GOOD);
    struct image_events events;
    image_events_begin(&events);
    image_free(ensure_good("talks", false, &events));
    assert_true(image_events_have(&events, "packages:  [1m50%")); /* the escape is gone */
    assert_true(image_events_have(&events, "packages: 100%"));
    assert_true(image_events_have(&events, "no newline"));
    image_events_end(&events);
}

static void a_failure_keeps_nothing_but_its_log(void **state) {
    (void)state;
    image_recipe_write("fails",
                       "echo one\necho half >$out/disk.qcow2\necho 'E: no such package: nope' >&2\necho\nexit 3\n");
    struct error err = {0};
    ensure_fails("fails", &err);
    cleanup_free char *log = image_fixture_path("home/cache/images/fails.log");
    image_assert_error(&err, ERR_PROCESS, "fails", "the recipe ended with status 3: E: no such package: nope", log);
    cleanup_free char *text = image_fixture_read(log);
    assert_string_equal(text, "one\nE: no such package: nope\n\n");
    cleanup_free char *entry = image_fixture_path("home/cache/images/fails");
    assert_false(image_fixture_exists(entry));

    image_recipe_write("fails", "exit 1\n");
    err = (struct error){0};
    ensure_fails("fails", &err);
    image_assert_error(&err, ERR_PROCESS, "fails", "status 1: it printed nothing", log);
}

static void a_recipe_that_makes_no_usable_disk_is_told_so(void **state) {
    (void)state;
    image_recipe_write("empty", "true\n");
    struct error err = {0};
    ensure_fails("empty", &err);
    image_assert_error(&err, ERR_IMAGE, "empty", "ended well but left no disk.qcow2", "empty.log");
    image_recipe_write("bad", "echo text >$out/disk.qcow2\n");
    err = (struct error){0};
    ensure_fails("bad", &err);
    assert_int_equal(err.code, ERR_IMAGE);
    assert_non_null(strstr(err.cause, "not a qcow2 image"));
    cleanup_free char *entry = image_fixture_path("home/cache/images/bad");
    assert_false(image_fixture_exists(entry));
}

static void a_failed_rebuild_leaves_the_old_image(void **state) {
    (void)state;
    image_recipe_write("keeps", IMAGE_RECIPE_GOOD);
    image_free(ensure_good("keeps", false, NULL));
    cleanup_free char *flag = image_fixture_path("fail-now");
    cleanup_free char *script = xasprintf("test ! -e %s\n" IMAGE_RECIPE_GOOD, flag);
    image_recipe_write("keeps", script);
    image_free(ensure_good("keeps", false, NULL)); /* built again: the recipe changed */
    image_fixture_write_text(flag, "");
    struct template t = image_template("keeps");
    struct context ctx = image_soon();
    struct error err = {0};
    struct image *image = NULL;
    assert_int_equal(image_ensure(&t, true, &image, NULL, &ctx, &err), -1);
    image_assert_error(&err, ERR_PROCESS, "keeps", "status 1", "keeps.log");
    err = (struct error){0};
    assert_int_equal(image_find(&t, &image, &err), 0);
    image_free(image);
}

static void a_changed_recipe_is_told_by_find_and_built_by_ensure(void **state) {
    (void)state;
    image_recipe_write("changes", IMAGE_RECIPE_GOOD);
    image_free(ensure_good("changes", false, NULL));
    struct template t = image_template("changes");
    struct image *image = NULL;
    cleanup_free char *shared = image_fixture_path("templates/images/shared.sh");
    const char *changed[] = {"a change to build.sh", "a change to a file shared by recipes"};
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            image_recipe_write("changes", IMAGE_RECIPE_GOOD "# other\n");
        else
            image_fixture_write_text(shared, changed[i]);
        struct error err = {0};
        assert_int_equal(image_find(&t, &image, &err), -1);
        image_assert_error(&err, ERR_CONFLICT, "changes", "the recipe changed since the image was built",
                           "run 'nestor image build changes'");
        image_free(ensure_good("changes", false, NULL));
        err = (struct error){0};
        assert_int_equal(image_find(&t, &image, &err), 0);
        image_free(image);
    }
    /* Another recipe is none of its business. */
    image_recipe_write("unrelated", "true\n");
    struct error err = {0};
    assert_int_equal(image_find(&t, &image, &err), 0);
    image_free(image);
    unlink(shared);
}

static void an_image_outlives_its_recipe(void **state) {
    (void)state;
    image_recipe_write("gone", IMAGE_RECIPE_GOOD);
    image_free(ensure_good("gone", false, NULL));
    cleanup_buffer struct buffer out = {0};
    cleanup_free char *folder = image_fixture_path("templates/images/gone");
    assert_int_equal(image_fixture_run(&out, "rm -r %s", folder), 0);
    image_free(ensure_good("gone", false, NULL));
}

struct stopper {
    struct cancel cancel;
    const char *sign; /* fires when this file exists */
};

static void *stop_when_started(void *data) {
    struct stopper *s = data;
    image_wait_for(s->sign);
    cancel_fire(&s->cancel);
    return NULL;
}

static void a_cancel_ends_the_build_and_leaves_nothing(void **state) {
    (void)state;
    cleanup_free char *started = image_fixture_path("cancel-started");
    cleanup_free char *script = xasprintf("touch %s\nsleep 300\n", started);
    image_recipe_write("slow", script);
    struct stopper stopper = {.sign = started};
    struct error err = {0};
    assert_int_equal(cancel_init(&stopper.cancel, &err), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_when_started, &stopper), 0);
    struct template t = image_template("slow");
    struct context ctx = image_soon();
    ctx.cancel = &stopper.cancel;
    struct image *image = NULL;
    assert_int_equal(image_ensure(&t, false, &image, NULL, &ctx, &err), -1);
    image_assert_error(&err, ERR_CANCELLED, "slow", "interrupted while", "");
    assert_string_equal(err.mend, "run the same command again");
    pthread_join(thread, NULL);
    cancel_destroy(&stopper.cancel);
    cleanup_buffer struct buffer out = {0};
    cleanup_free char *images = image_fixture_path("home/cache/images");
    image_fixture_run(&out, "ls -A %s | grep slow", images);
    assert_string_equal(buffer_str(&out), "slow.log\n");
}

/* Runs image_ensure in another process, whose exit status tells how it went. */
static pid_t ensure_elsewhere(const char *name) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct template t = image_template(name);
        struct context ctx = image_soon();
        struct error err = {0};
        struct image *image = NULL;
        int failed = image_ensure(&t, false, &image, NULL, &ctx, &err);
        if (failed)
            fprintf(stderr, "%s: %s\n", err.subject, err.cause);
        image_free(image);
        _exit(failed ? 1 : 0);
    }
    return child;
}

static void assert_ended_well(pid_t child) {
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void two_builders_build_once(void **state) {
    (void)state;
    cleanup_free char *count = image_fixture_path("twice"), *go = image_fixture_path("go");
    cleanup_free char *script =
        xasprintf("echo x >>%s\nwhile [ ! -e %s ]; do sleep 0.01; done\n" IMAGE_RECIPE_GOOD, count, go);
    image_recipe_write("shared", script);
    pid_t first = ensure_elsewhere("shared");
    image_wait_for(count);
    struct image_events events;
    image_events_begin(&events);
    struct template t = image_template("shared");
    struct context impatient = context_timeout(NULL, 300);
    struct error err = {0};
    struct image *image = NULL;
    assert_int_equal(image_ensure(&t, false, &image, &events.sink, &impatient, &err), -1);
    image_assert_error(&err, ERR_TIMEOUT, "shared", "waiting for another nestor that is making this image", "");
    assert_true(image_events_have(&events, "waiting for another nestor that is making this image"));
    image_events_end(&events);
    err = (struct error){0};
    assert_int_equal(image_remove("shared", &err), -1);
    image_assert_error(&err, ERR_LOCKED, "shared", "another nestor is making this image", "wait until it has ended");

    pid_t second = ensure_elsewhere("shared");
    image_fixture_write_text(go, "");
    assert_ended_well(first);
    assert_ended_well(second);
    cleanup_free char *counted = image_fixture_read(count);
    assert_string_equal(counted, "x\n");
}

static void a_killed_build_leaves_no_image_and_the_next_one_cleans_up(void **state) {
    (void)state;
    cleanup_free char *half = image_fixture_path("half"), *go = image_fixture_path("killed-go");
    cleanup_free char *script = xasprintf("echo half >$out/disk.qcow2\necho $$ >%s.tmp\nmv %s.tmp %s\n"
                                          "while [ ! -e %s ]; do sleep 0.01; done\n" IMAGE_RECIPE_GOOD,
                                          half, half, half, go);
    image_recipe_write("killed", script);
    pid_t child = ensure_elsewhere("killed");
    image_wait_for(half);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    cleanup_free char *recipe = image_fixture_read(half);
    kill((pid_t)atoi(recipe), SIGKILL); /* the recipe outlives its nestor */

    struct template t = image_template("killed");
    struct image *image = NULL;
    struct error err = {0};
    assert_int_equal(image_find(&t, &image, &err), -1);
    image_assert_error(&err, ERR_NOT_FOUND, "killed", "the image has not been built yet", "nestor image build killed");
    cleanup_buffer struct buffer out = {0};
    cleanup_free char *images = image_fixture_path("home/cache/images");
    assert_int_equal(image_fixture_run(&out, "ls -d %s/.killed.*", images), 0); /* what it left behind */

    image_fixture_write_text(go, "");
    image_free(ensure_good("killed", false, NULL));
    assert_int_not_equal(image_fixture_run(&out, "ls -d %s/.killed.*", images), 0);
}

static void a_process_left_behind_does_not_hold_up_the_build(void **state) {
    (void)state;
    cleanup_free char *pid = image_fixture_path("daemon");
    cleanup_free char *script = xasprintf("sleep 300 &\necho $! >%s\n" IMAGE_RECIPE_GOOD, pid);
    image_recipe_write("daemon", script);
    int64_t start = clock_ms();
    image_free(ensure_good("daemon", false, NULL));
    assert_true(clock_ms() - start < 50000); /* image_soon allows little more */
    cleanup_free char *left = image_fixture_read(pid);
    kill((pid_t)atoi(left), SIGKILL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recipe_is_built_once_and_then_found),
        cmocka_unit_test(scratch_space_is_part_of_the_work_in_progress),
        cmocka_unit_test(without_a_kernel_the_disk_boots_itself),
        cmocka_unit_test(the_specs_user_and_command_line_count_for_more),
        cmocka_unit_test(what_is_not_built_is_not_found),
        cmocka_unit_test(names_that_leave_the_catalogue_are_refused),
        cmocka_unit_test(lines_become_events_while_the_recipe_runs),
        cmocka_unit_test(a_failure_keeps_nothing_but_its_log),
        cmocka_unit_test(a_recipe_that_makes_no_usable_disk_is_told_so),
        cmocka_unit_test(a_failed_rebuild_leaves_the_old_image),
        cmocka_unit_test(a_changed_recipe_is_told_by_find_and_built_by_ensure),
        cmocka_unit_test(an_image_outlives_its_recipe),
        cmocka_unit_test(a_cancel_ends_the_build_and_leaves_nothing),
        cmocka_unit_test(two_builders_build_once),
        cmocka_unit_test(a_killed_build_leaves_no_image_and_the_next_one_cleans_up),
        cmocka_unit_test(a_process_left_behind_does_not_hold_up_the_build),
    };
    return cmocka_run_group_tests(tests, image_fixture_begin, image_fixture_end);
}
