/* The fake driver: everything the conformance suite asks of a driver, and what only the fake promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the headers it needs */
#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conformance.h"
#include "drivers/fake/fake.h"
#include "world.h"

static const struct driver *const fake = &fake_driver;

/* --- the conformance suite's questions, answered from the world's directory --- */

static size_t things(void *data) {
    size_t n = 0;
    DIR *dir = opendir(((struct world *)data)->machines);
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static size_t copies(void *data) { return world_count(data, "image"); }

static char *tagged_dir(const struct world *w, const struct machine_spec *spec) {
    cleanup_free char *dotted = xstrdup(spec->tag.path);
    *strchr(dotted, '/') = '.';
    return xasprintf("%s/%s.%s", w->machines, spec->tag.lab_id, dotted);
}

static void make_half(void *data, const struct machine_spec *spec) {
    cleanup_free char *dir = tagged_dir(data, spec);
    assert_int_equal(mkdir(dir, 0700), 0);
}

static void make_foreign(void *data, const char *name) {
    cleanup_free char *dir = xasprintf("%s/%s", ((struct world *)data)->machines, name);
    assert_int_equal(mkdir(dir, 0700), 0);
}

static int conforms(void) {
    struct world w;
    world_setup(&w, fake);
    world_param(&w, "delay", "2"); /* long enough for threads to meet */
    const struct conformance_target target = {.driver = fake,
                                              .config = w.config,
                                              .image = &w.image,
                                              .seed = "seed",
                                              .seed_len = 4,
                                              .memory = 64 << 20,
                                              .powers = true,
                                              .obeys = true,
                                              .operation_ms = 10000,
                                              .boot_ms = 10000,
                                              .things = things,
                                              .copies = copies,
                                              .make_half = make_half,
                                              .make_foreign = make_foreign,
                                              .data = &w};
    int failed = conformance_run(&target);
    world_teardown(&w);
    return failed;
}

/* --- what it refuses --- */

static int set_up(void **state) {
    *state = xmalloc(sizeof(struct world));
    world_setup(*state, fake);
    return 0;
}

static int tear_down(void **state) {
    world_teardown(*state);
    free(*state);
    return 0;
}

static void create_needs_image_and_network(void **state) {
    struct world *w = *state;
    struct hypervisor *hv;
    struct machine_spec s = world_machine(w, "lab/a");
    world_ok(w, fake->open(&w->config, &hv, world_time(w), &w->err));
    world_fails(w, fake->create(hv, &s, world_time(w), &w->err), ERR_NOT_FOUND, "lab/a",
                "image tiny is not on host test");
    world_ok(w, fake->ensure_image(hv, &w->image, NULL, NULL, world_time(w), &w->err));
    world_fails(w, fake->create(hv, &s, world_time(w), &w->err), ERR_NOT_FOUND, "lab/a", "no network");
    assert_int_equal(world_power(w, hv, &s), POWER_ABSENT);
    fake->close(hv);
}

static void an_unreadable_image_is_refused(void **state) {
    struct world *w = *state;
    struct hypervisor *hv;
    struct image missing = w->image;
    missing.disk = (char[]){"/nonexistent/disk.raw"};
    world_ok(w, fake->open(&w->config, &hv, world_time(w), &w->err));
    world_fails(w, fake->ensure_image(hv, &missing, NULL, NULL, world_time(w), &w->err), ERR_NOT_FOUND, "tiny",
                "cannot read /nonexistent/disk.raw");
    fake->close(hv);
}

static void another_configuration_is_not_slipped_in(void **state) {
    struct world *w = *state;
    struct hypervisor *hv = world_open(w);
    struct machine_spec s = world_machine(w, "lab/a");
    world_run_machine(w, hv, &s);
    s.digest = "d2";
    world_fails(w, fake->create(hv, &s, world_time(w), &w->err), ERR_EXISTS, "lab/a", "another configuration");
    world_ok(w, fake->stop(hv, &s.tag, world_time(w), &w->err));
    world_fails(w, fake->create(hv, &s, world_time(w), &w->err), ERR_EXISTS, "lab/a", "another configuration");
    world_ok(w, fake->remove(hv, &s.tag, world_time(w), &w->err));
    world_ok(w, fake->create(hv, &s, world_time(w), &w->err));
    fake->close(hv);
}

/* Every operation on a machine but create and remove. */
static void assert_all_refuse(struct world *w, struct hypervisor *hv, const struct machine_spec *s,
                              enum error_code code, const char *words) {
    bool exposed;
    struct endpoint at;
    struct access *access;
    cleanup_buffer struct buffer text = {0};
    const char *path = s->tag.path;
    world_fails(w, fake->expose(hv, s, true, &exposed, world_time(w), &w->err), code, path, words);
    world_fails(w, fake->start(hv, s, world_time(w), &w->err), code, path, words);
    world_fails(w, fake->stop(hv, &s->tag, world_time(w), &w->err), code, path, words);
    world_fails(w, fake->power_cut(hv, &s->tag, world_time(w), &w->err), code, path, words);
    world_fails(w, fake->address(hv, s, &at, world_time(w), &w->err), code, path, words);
    world_fails(w, fake->console(hv, &s->tag, &text, world_time(w), &w->err), code, path, words);
    world_fails(w, fake->connect(hv, s, &access, world_time(w), &w->err), code, path, words);
}

static void an_absent_machine_does_nothing(void **state) {
    struct world *w = *state;
    struct hypervisor *hv = world_open(w);
    struct machine_spec s = world_machine(w, "lab/a");
    assert_all_refuse(w, hv, &s, ERR_NOT_FOUND, "no such machine on host test");
    fake->close(hv);
}

static void a_half_made_machine_does_nothing(void **state) {
    struct world *w = *state;
    struct hypervisor *hv = world_open(w);
    struct machine_spec s = world_machine(w, "lab/a");
    make_half(w, &s);
    assert_all_refuse(w, hv, &s, ERR_CONFLICT, "half-made");
    fake->close(hv);
}

static void a_damaged_record_is_a_half_made_machine(void **state) {
    struct world *w = *state;
    struct hypervisor *hv = world_open(w);
    struct machine_spec s = world_machine(w, "lab/a");
    world_ok(w, fake->create(hv, &s, world_time(w), &w->err));
    world_write(w, "home/fake/test/machines/" WORLD_LAB ".lab.a/spec", "name lab/a\nnonsense\n");
    assert_int_equal(world_power(w, hv, &s), POWER_BROKEN);
    world_ok(w, fake->create(hv, &s, world_time(w), &w->err));
    assert_int_equal(world_power(w, hv, &s), POWER_OFF);
    fake->close(hv);
}

static void wrong_parameters_are_named(void **state) {
    struct world *w = *state;
    static const struct {
        const char *key, *value, *mend;
    } wrong[] = {
        {"delay", "soon", "milliseconds"},
        {"delay", "-1", "milliseconds"},
        {"flag", "avx", "svm, vmx or none"},
        {"memory", "lots", "8GiB"},
        {"disk", "", "8GiB"},
        {"torn", "maybe", "true or false"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct hypervisor *hv;
        cleanup_free char *cause = xasprintf("parameter '%s' of the fake driver is '%s'", wrong[i].key, wrong[i].value);
        w->config.nparams = 0;
        world_param(w, wrong[i].key, wrong[i].value);
        world_fails(w, fake->open(&w->config, &hv, world_time(w), &w->err), ERR_USAGE, "host test", cause);
        assert_non_null(strstr(w->err.mend, wrong[i].mend));
    }
}

static void every_machine_is_observed(void **state) {
    enum { N = 70 };
    struct world *w = *state;
    struct hypervisor *hv = world_open(w);
    struct observation *o = NULL;
    bool seen[N] = {false};
    for (int i = 0; i < N; i++) {
        cleanup_free char *path = xasprintf("lab/m%d", i);
        struct machine_spec s = world_machine(w, path);
        world_ok(w, fake->create(hv, &s, world_time(w), &w->err));
    }
    world_ok(w, fake->observe(hv, WORLD_LAB, &o, world_time(w), &w->err));
    assert_int_equal(o->n, N);
    for (size_t i = 0; i < o->n; i++)
        seen[atoi(o->items[i].path + strlen("lab/m"))] = true;
    for (int i = 0; i < N; i++)
        assert_true(seen[i]);
    observation_free(o);
    fake->close(hv);
}

/* --- capacity --- */

static void memory_is_for_machines_that_run(void **state) {
    struct world *w = *state;
    struct capability c;
    world_param(w, "memory", "128MiB"); /* two machines */
    struct hypervisor *hv = world_open(w);
    struct machine_spec a = world_machine(w, "lab/a"), b = world_machine(w, "lab/b"), x = world_machine(w, "lab/x");
    world_run_machine(w, hv, &a);
    world_run_machine(w, hv, &b);
    world_ok(w, fake->create(hv, &x, world_time(w), &w->err));
    world_fails(w, fake->start(hv, &x, world_time(w), &w->err), ERR_CAPACITY, "lab/x", "not enough free memory");
    world_ok(w, fake->check(hv, &c, world_time(w), &w->err));
    assert_int_equal(c.memory_free, 0);
    world_ok(w, fake->stop(hv, &a.tag, world_time(w), &w->err));
    world_ok(w, fake->check(hv, &c, world_time(w), &w->err));
    assert_int_equal(c.memory_free, 64 << 20);
    world_ok(w, fake->start(hv, &x, world_time(w), &w->err));
    fake->close(hv);
}

static void disk_is_for_all_machines(void **state) {
    struct world *w = *state;
    struct capability c;
    world_param(w, "disk", "2MiB");
    struct hypervisor *hv = world_open(w);
    struct machine_spec a = world_machine(w, "lab/a"), b = world_machine(w, "lab/b");
    b.disk = 2 << 20;
    world_ok(w, fake->create(hv, &a, world_time(w), &w->err)); /* as big as its image: 1 MiB */
    world_fails(w, fake->create(hv, &b, world_time(w), &w->err), ERR_DISK_FULL, "lab/b", "does not fit on host test");
    assert_int_equal(world_power(w, hv, &b), POWER_ABSENT);
    world_ok(w, fake->check(hv, &c, world_time(w), &w->err));
    assert_int_equal(c.disk_free, 1 << 20);
    world_ok(w, fake->remove(hv, &a.tag, world_time(w), &w->err));
    world_ok(w, fake->create(hv, &b, world_time(w), &w->err));
    fake->close(hv);
}

struct starter {
    struct hypervisor *hv;
    struct machine_spec spec;
    pthread_barrier_t *ready;
    struct error err;
    int failed;
};

static void *start_one(void *data) {
    struct starter *s = data;
    struct context ctx = context_timeout(NULL, 10000);
    s->err = (struct error){0};
    pthread_barrier_wait(s->ready);
    s->failed = fake->start(s->hv, &s->spec, &ctx, &s->err);
    return NULL;
}

enum { STARTERS = 6 };

/* Starts all at once; returns how many were refused for want of memory. */
static int start_all(struct starter *starters) {
    pthread_t threads[STARTERS];
    int refused = 0;
    for (int i = 0; i < STARTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, start_one, &starters[i]), 0);
    for (int i = 0; i < STARTERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < STARTERS; i++)
        refused += starters[i].failed && starters[i].err.code == ERR_CAPACITY;
    return refused;
}

static void capacity_holds_for_starts_at_once(void **state) {
    static const char *const paths[STARTERS] = {"lab/a", "lab/b", "lab/c", "lab/d", "lab/e", "lab/f"};
    struct world *w = *state;
    struct starter starters[STARTERS];
    pthread_barrier_t ready;
    world_param(w, "memory", "128MiB"); /* two machines */
    struct hypervisor *hv = world_open(w);
    assert_int_equal(pthread_barrier_init(&ready, NULL, STARTERS), 0);
    for (int i = 0; i < STARTERS; i++) {
        starters[i] = (struct starter){.hv = hv, .spec = world_machine(w, paths[i]), .ready = &ready};
        world_ok(w, fake->create(hv, &starters[i].spec, world_time(w), &w->err));
    }
    for (int round = 0; round < 50; round++) { /* a race that is there shows itself within a few */
        assert_int_equal(start_all(starters), STARTERS - 2);
        for (int i = 0; i < STARTERS; i++)
            world_ok(w, fake->power_cut(hv, &starters[i].spec.tag, world_time(w), &w->err));
    }
    pthread_barrier_destroy(&ready);
    fake->close(hv);
}

/* --- time and kills --- */

static void each_change_takes_the_delay(void **state) {
    struct world *w = *state;
    struct machine_spec s = world_machine(w, "lab/a");
    fake->close(world_open(w));
    world_param(w, "delay", "30");
    struct hypervisor *hv = world_open(w);
    int64_t before = clock_ms();
    world_ok(w, fake->create(hv, &s, world_time(w), &w->err));
    world_ok(w, fake->start(hv, &s, world_time(w), &w->err));
    assert_true(clock_ms() - before >= 60);
    fake->close(hv);
    w->params[w->config.nparams - 1].value = "60000"; /* longer than world_time allows */
    hv = world_open(w);
    world_ok(w, fake->start(hv, &s, world_time(w), &w->err)); /* nothing to change: no delay */
    fake->close(hv);
}

static void a_delay_ends_with_its_context(void **state) {
    struct world *w = *state;
    struct machine_spec s = world_machine(w, "lab/a");
    fake->close(world_open(w));
    world_param(w, "delay", "60000");
    struct hypervisor *hv = world_open(w);
    world_fails(w, fake->create(hv, &s, world_soon(w, 20), &w->err), ERR_TIMEOUT, "lab/a", "cloning");
    assert_int_equal(world_power(w, hv, &s), POWER_ABSENT);
    assert_int_equal(world_count(w, "create"), 0);
    fake->close(hv);
}

/* Another nestor, killed while it clones. */
static void create_and_be_killed(struct world *w, struct hypervisor *hv, const struct machine_spec *s) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct context ctx = context_timeout(NULL, 10000);
        fake->create(hv, s, &ctx, NULL);
        _exit(0);
    }
    struct context ctx = context_timeout(NULL, 10000);
    while (world_power(w, hv, s) == POWER_ABSENT)
        world_ok(w, context_sleep(&ctx, 1, "test", "waiting for the clone to begin", &w->err));
    assert_int_equal(kill(pid, SIGKILL), 0);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void a_kill_while_cloning_leaves_what_can_be_found(void **state) {
    struct world *w = *state;
    struct machine_spec s = world_machine(w, "lab/a");
    struct hypervisor *hv = world_open(w);
    world_param(w, "torn", "true");
    world_param(w, "delay", "9000");
    struct hypervisor *slow;
    world_ok(w, fake->open(&w->config, &slow, world_time(w), &w->err));
    create_and_be_killed(w, slow, &s);
    assert_int_equal(world_power(w, hv, &s), POWER_BROKEN);
    assert_int_equal(world_count(w, "create"), 0);
    world_ok(w, fake->create(hv, &s, world_time(w), &w->err));
    assert_int_equal(world_power(w, hv, &s), POWER_OFF);
    fake->close(slow);
    fake->close(hv);
}

/* --- what really happened --- */

static void the_log_has_changes_only(void **state) {
    struct world *w = *state;
    bool exposed;
    struct machine_spec s = world_machine(w, "lab/a");
    struct hypervisor *hv = world_open(w);
    for (int i = 0; i < 2; i++) { /* the second time nothing is left to do */
        s.expose = true;
        world_ok(w, fake->create(hv, &s, world_time(w), &w->err));
        world_ok(w, fake->expose(hv, &s, true, &exposed, world_time(w), &w->err));
        world_ok(w, fake->start(hv, &s, world_time(w), &w->err));
    }
    for (int i = 0; i < 2; i++)
        world_ok(w, fake->stop(hv, &s.tag, world_time(w), &w->err));
    world_ok(w, fake->start(hv, &s, world_time(w), &w->err));
    for (int i = 0; i < 2; i++)
        world_ok(w, fake->power_cut(hv, &s.tag, world_time(w), &w->err));
    for (int i = 0; i < 2; i++)
        world_ok(w, fake->remove(hv, &s.tag, world_time(w), &w->err));
    for (int i = 0; i < 2; i++)
        world_ok(w, fake->prune(hv, world_time(w), &w->err));
    cleanup_free char *log = world_read(w, "home/fake/test/log");
    assert_string_equal(log, "image host test\nnetwork host test\ncreate lab/a\nexpose lab/a\nstart lab/a\n"
                             "stop lab/a\nstart lab/a\npower-cut lab/a\nremove lab/a\n"
                             "prune host test\nprune host test\n"); /* the image, the network */
    fake->close(hv);
}

static void a_world_can_be_put_anywhere(void **state) {
    struct world *w = *state;
    cleanup_free char *dir = xasprintf("%s/some/where", w->dir);
    world_param(w, "world", dir);
    fake->close(world_open(w));
    cleanup_free char *log = world_read(w, "some/where/log");
    assert_string_equal(log, "image host test\nnetwork host test\n");
}

int main(void) {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(create_needs_image_and_network),
        TEST(an_unreadable_image_is_refused),
        TEST(another_configuration_is_not_slipped_in),
        TEST(an_absent_machine_does_nothing),
        TEST(a_half_made_machine_does_nothing),
        TEST(a_damaged_record_is_a_half_made_machine),
        TEST(wrong_parameters_are_named),
        TEST(every_machine_is_observed),
        TEST(memory_is_for_machines_that_run),
        TEST(disk_is_for_all_machines),
        TEST(capacity_holds_for_starts_at_once),
        TEST(each_change_takes_the_delay),
        TEST(a_delay_ends_with_its_context),
        TEST(a_kill_while_cloning_leaves_what_can_be_found),
        TEST(the_log_has_changes_only),
        TEST(a_world_can_be_put_anywhere),
    };
    int failed = conforms();
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
