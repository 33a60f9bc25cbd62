/* The fault driver: transparent without faults, and with them exactly as bad as it was told to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the headers it needs */
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conformance.h"
#include "drivers/fault/fault.h"
#include "world.h"

static const struct driver *const fault = &fault_driver;

static size_t copies(void *data) { return world_count(data, "image"); }

static int conforms(void) {
    struct world w;
    world_setup(&w, fault);
    const struct conformance_target target = {.driver = fault,
                                              .config = w.config,
                                              .image = &w.image,
                                              .seed = "seed",
                                              .seed_len = 4,
                                              .memory = 64 << 20,
                                              .powers = true,
                                              .obeys = true,
                                              .operation_ms = 10000,
                                              .boot_ms = 10000,
                                              .copies = copies,
                                              .data = &w};
    int failed = conformance_run(&target);
    world_teardown(&w);
    return failed;
}

static int set_up(void **state) {
    *state = xmalloc(sizeof(struct world));
    world_setup(*state, fault);
    return 0;
}

static int tear_down(void **state) {
    world_teardown(*state);
    free(*state);
    return 0;
}

static void faults(const struct world *w, const char *text) { world_write(w, "home/faults", text); }

static void assert_left(const struct world *w, const char *text) {
    cleanup_free char *left = world_read(w, "home/faults");
    assert_string_equal(left, text);
}

/* --- which call --- */

static void a_fault_waits_then_fires_then_is_over(void **state) {
    struct world *w = *state;
    struct hypervisor *hv = world_open(w);
    struct machine_spec a = world_machine(w, "lab/a"), b = world_machine(w, "lab/b"), c = world_machine(w, "lab/c");
    faults(w, "create lab/* io skip=2 times=2\n");
    world_ok(w, fault->create(hv, &a, world_time(w), &w->err));
    world_ok(w, fault->create(hv, &b, world_time(w), &w->err));
    world_fails(w, fault->create(hv, &c, world_time(w), &w->err), ERR_IO, "lab/c", "injected fault: create");
    assert_false(w->err.retry);
    world_fails(w, fault->create(hv, &c, world_time(w), &w->err), ERR_IO, "lab/c", "injected fault: create");
    assert_int_equal(world_power(w, hv, &c), POWER_ABSENT);
    world_ok(w, fault->create(hv, &c, world_time(w), &w->err));
    assert_left(w, "create lab/* io skip=0 times=0\n");
    fault->close(hv);
}

static void counters_outlive_the_handle(void **state) {
    struct world *w = *state;
    struct machine_spec a = world_machine(w, "lab/a");
    fault->close(world_open(w));
    faults(w, "create ** io times=100 # one hundred\n");
    for (int i = 0; i < 2; i++) {
        struct hypervisor *hv = world_open(w);
        world_fails(w, fault->create(hv, &a, world_time(w), &w->err), ERR_IO, "lab/a", "injected fault");
        fault->close(hv);
    }
    assert_left(w, "create ** io times=098 # one hundred\n");
}

static void without_a_count_it_always_fires(void **state) {
    struct world *w = *state;
    struct machine_spec a = world_machine(w, "lab/a");
    struct hypervisor *hv = world_open(w);
    faults(w, "create lab/a disk-full\n");
    for (int i = 0; i < 5; i++)
        world_fails(w, fault->create(hv, &a, world_time(w), &w->err), ERR_DISK_FULL, "lab/a", "injected fault");
    fault->close(hv);
}

static void a_star_stays_on_its_level(void **state) {
    struct world *w = *state;
    struct machine_spec one = world_machine(w, "lab/kvm1"), two = world_machine(w, "lab/kvm1/web1");
    struct access *access;
    struct hypervisor *hv = world_open(w);
    faults(w, "create lab/*/* io\n");
    world_run_machine(w, hv, &one);
    struct hypervisor *inside = world_enter(w, hv, &one, &access);
    faults(w, "create lab/* capacity\ncreate lab/*/* io\n");
    world_fails(w, fault->create(inside, &two, world_time(w), &w->err), ERR_IO, "lab/kvm1/web1", "injected fault");
    fault->close(inside);
    access_close(access);
    fault->close(hv);
}

static void the_first_rule_that_is_due_counts(void **state) {
    struct world *w = *state;
    struct machine_spec a = world_machine(w, "lab/a");
    struct hypervisor *hv = world_open(w);
    faults(w, "\n# two at once\nstart lab/a timeout\ncreate lab/b capacity\n"
              "create lab/a auth-refused times=1\ncreate lab/* locked times=1\n");
    world_fails(w, fault->create(hv, &a, world_time(w), &w->err), ERR_AUTH, "lab/a", "injected fault");
    world_fails(w, fault->create(hv, &a, world_time(w), &w->err), ERR_LOCKED, "lab/a", "injected fault");
    world_ok(w, fault->create(hv, &a, world_time(w), &w->err));
    fault->close(hv);
}

/* --- what happens --- */

static void errors_can_be_dressed(void **state) {
    struct world *w = *state;
    bool exposed = false;
    struct machine_spec a = world_machine(w, "lab/a");
    struct hypervisor *hv = world_open(w);
    world_ok(w, fault->create(hv, &a, world_time(w), &w->err));
    faults(w, "expose lab/a nesting retry reason=vhv-not-set\n");
    world_fails(w, fault->expose(hv, &a, true, &exposed, world_time(w), &w->err), ERR_NESTING, "lab/a",
                "injected fault: expose");
    assert_string_equal(w->err.reason, "vhv-not-set");
    assert_true(w->err.retry);
    assert_false(exposed);
    fault->close(hv);
}

static void after_the_operation_it_is_done_but_reported_failed(void **state) {
    struct world *w = *state;
    bool exposed = false;
    struct machine_spec a = world_machine(w, "lab/a");
    struct hypervisor *hv = world_open(w);
    faults(w, "create lab/a unreachable after times=1\nexpose lab/a io after times=1\n");
    world_fails(w, fault->create(hv, &a, world_time(w), &w->err), ERR_UNREACHABLE, "lab/a", "injected fault");
    assert_int_equal(world_power(w, hv, &a), POWER_OFF);
    world_fails(w, fault->expose(hv, &a, true, &exposed, world_time(w), &w->err), ERR_IO, "lab/a", "injected fault");
    assert_false(exposed); /* outputs are untouched by a failure */
    world_ok(w, fault->expose(hv, &a, true, &exposed, world_time(w), &w->err));
    assert_true(exposed);
    assert_int_equal(world_count(w, "expose"), 1);
    fault->close(hv);
}

static void none_only_delays(void **state) {
    struct world *w = *state;
    struct machine_spec a = world_machine(w, "lab/a");
    struct hypervisor *hv = world_open(w);
    faults(w, "create lab/a none delay=40\nstart lab/a none delay=60000\n");
    int64_t before = clock_ms();
    world_ok(w, fault->create(hv, &a, world_time(w), &w->err));
    assert_true(clock_ms() - before >= 40);
    world_fails(w, fault->start(hv, &a, world_soon(w, 20), &w->err), ERR_TIMEOUT, "lab/a", "a fault delays it");
    fault->close(hv);
}

static int run_killed(struct world *w, struct hypervisor *hv, const struct machine_spec *s) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct context ctx = context_timeout(NULL, 10000);
        fault->create(hv, s, &ctx, NULL);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    return world_power(w, hv, s);
}

static void nestor_can_be_killed_before_or_after(void **state) {
    struct world *w = *state;
    struct machine_spec a = world_machine(w, "lab/a");
    struct hypervisor *hv = world_open(w);
    faults(w, "create lab/a kill times=1\n");
    assert_int_equal(run_killed(w, hv, &a), POWER_ABSENT);
    assert_left(w, "create lab/a kill times=0\n");
    faults(w, "create lab/a kill times=1 after\n");
    assert_int_equal(run_killed(w, hv, &a), POWER_OFF);
    fault->close(hv);
}

/* --- every operation --- */

struct call {
    struct world *w;
    struct hypervisor *hv;
    struct machine_spec a;
};

static int do_open(struct call *c) {
    struct hypervisor *another;
    return fault->open(&c->w->config, &another, world_time(c->w), &c->w->err);
}
static int do_check(struct call *c) {
    struct capability cap;
    return fault->check(c->hv, &cap, world_time(c->w), &c->w->err);
}
static int do_observe(struct call *c) {
    struct observation *o;
    return fault->observe(c->hv, NULL, &o, world_time(c->w), &c->w->err);
}
static int do_image(struct call *c) {
    return fault->ensure_image(c->hv, &c->w->image, NULL, NULL, world_time(c->w), &c->w->err);
}
static int do_network(struct call *c) { return fault->ensure_network(c->hv, world_time(c->w), &c->w->err); }
static int do_create(struct call *c) { return fault->create(c->hv, &c->a, world_time(c->w), &c->w->err); }
static int do_expose(struct call *c) {
    bool exposed;
    return fault->expose(c->hv, &c->a, true, &exposed, world_time(c->w), &c->w->err);
}
static int do_start(struct call *c) { return fault->start(c->hv, &c->a, world_time(c->w), &c->w->err); }
static int do_stop(struct call *c) { return fault->stop(c->hv, &c->a.tag, world_time(c->w), &c->w->err); }
static int do_cut(struct call *c) { return fault->power_cut(c->hv, &c->a.tag, world_time(c->w), &c->w->err); }
static int do_address(struct call *c) {
    struct endpoint at;
    return fault->address(c->hv, &c->a, &at, world_time(c->w), &c->w->err);
}
static int do_console(struct call *c) {
    struct buffer b = {0};
    return fault->console(c->hv, &c->a.tag, &b, world_time(c->w), &c->w->err);
}
static int do_remove(struct call *c) { return fault->remove(c->hv, &c->a.tag, world_time(c->w), &c->w->err); }
static int do_prune(struct call *c) { return fault->prune(c->hv, world_time(c->w), &c->w->err); }
static int do_connect(struct call *c) {
    struct access *access;
    return fault->connect(c->hv, &c->a, &access, world_time(c->w), &c->w->err);
}

static void every_operation_can_fail(void **state) {
    static const struct {
        const char *name;
        int (*call)(struct call *c);
        const char *subject;
    } operations[] = {
        {"open", do_open, "host test"},   {"check", do_check, "host test"},     {"observe", do_observe, "host test"},
        {"image", do_image, "host test"}, {"network", do_network, "host test"}, {"create", do_create, "lab/a"},
        {"expose", do_expose, "lab/a"},   {"start", do_start, "lab/a"},         {"stop", do_stop, "lab/a"},
        {"power-cut", do_cut, "lab/a"},   {"address", do_address, "lab/a"},     {"console", do_console, "lab/a"},
        {"remove", do_remove, "lab/a"},   {"prune", do_prune, "host test"},     {"connect", do_connect, "lab/a"},
    };
    struct world *w = *state;
    struct call call = {.w = w, .hv = world_open(w), .a = world_machine(w, "lab/a")};
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        cleanup_free char *line = xasprintf("%s ** protocol\n", operations[i].name);
        cleanup_free char *cause = xasprintf("injected fault: %s", operations[i].name);
        faults(w, line);
        world_fails(w, operations[i].call(&call), ERR_PROTOCOL, operations[i].subject, cause);
    }
    assert_int_equal(world_count(w, "create"), 0);
    fault->close(call.hv);
}

/* --- several threads --- */

enum { CALLERS = 8, CALLS = 500 };

/* Asks for the same thing again and again; returns how often it failed. */
static void *check_often(void *data) {
    struct call *c = data;
    struct context ctx = context_timeout(NULL, 10000);
    struct capability ignored;
    intptr_t failed = 0;
    for (int i = 0; i < CALLS; i++)
        failed += fault->check(c->hv, &ignored, &ctx, NULL) != 0;
    return (void *)failed;
}

struct held {
    struct world *w;
    struct hypervisor *hv;
    struct machine_spec spec;
};

static void *start_held(void *data) {
    struct held *h = data;
    struct context ctx = context_timeout(NULL, 60000);
    return (void *)(intptr_t)fault->start(h->hv, &h->spec, &ctx, &h->w->err);
}

static void a_hold_ends_when_the_file_is_removed(void **state) {
    struct world *w = *state;
    struct held h = {w, world_open(w), world_machine(w, "lab/a")};
    cleanup_free char *file = xasprintf("%s/home/faults", w->dir), *text = NULL;
    pthread_t thread;
    void *result;
    world_ok(w, fault->create(h.hv, &h.spec, world_time(w), &w->err));
    faults(w, "start lab/a none hold\n");
    world_fails(w, fault->start(h.hv, &h.spec, world_soon(w, 20), &w->err), ERR_TIMEOUT, "lab/a", "a fault holds it");
    faults(w, "start lab/a none hold times=1\n");
    error_clear(&w->err);
    assert_int_equal(pthread_create(&thread, NULL, start_held, &h), 0);
    do {
        free(text);
        text = world_read(w, "home/faults");
    } while (!strstr(text, "times=0"));
    struct context soon = context_timeout(NULL, 10000);
    struct observation *o;
    assert_int_equal(fault->observe(h.hv, NULL, &o, &soon, NULL), 0);
    assert_int_equal(o->items[0].power, POWER_OFF);
    observation_free(o);
    assert_int_equal(unlink(file), 0);
    pthread_join(thread, &result);
    world_ok(w, (int)(intptr_t)result);
    assert_int_equal(world_power(w, h.hv, &h.spec), POWER_ON);
    fault->close(h.hv);
}

static void threads_share_one_count(void **state) {
    struct world *w = *state;
    struct call call = {.w = w, .hv = world_open(w)};
    pthread_t threads[CALLERS];
    intptr_t failed = 0;
    faults(w, "check host* io skip=0300 times=2000\n");
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, check_often, &call), 0);
    for (int i = 0; i < CALLERS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        failed += (intptr_t)result;
    }
    assert_int_equal(failed, 2000); /* of 4000 */
    assert_left(w, "check host* io skip=0000 times=0000\n");
    fault->close(call.hv);
}

/* --- mistakes in the list --- */

static void a_wrong_line_is_named(void **state) {
    static const char *const wrong[] = {
        "crate lab/a io",
        "create",
        "create lab/a",
        "create lab/a eio",
        "create lab/a io times=x",
        "create lab/a io times=",
        "create lab/a io after=1",
        "create lab/a io often",
        "observe ** io after",
        "create lab/a io delay=-5",
    };
    struct world *w = *state;
    struct machine_spec a = world_machine(w, "lab/a");
    struct hypervisor *hv = world_open(w);
    cleanup_free char *where = xasprintf("%s/faults:2", w->home);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cleanup_free char *text = xasprintf("# a list\n%s\n", wrong[i]);
        faults(w, text);
        world_fails(w, fault->create(hv, &a, world_time(w), &w->err), ERR_USAGE, where, "this is not a fault");
    }
    fault->close(hv);
}

static void only_known_drivers_are_wrapped(void **state) {
    static const char *const wrong[] = {"fault", "nonesuch"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct world *w = *state;
        struct hypervisor *hv;
        w->config.nparams = 0;
        world_param(w, "wraps", wrong[i]);
        cleanup_free char *cause = xasprintf("cannot wrap '%s'", wrong[i]);
        world_fails(w, fault->open(&w->config, &hv, world_time(w), &w->err), ERR_USAGE, "host test", cause);
    }
}

int main(void) {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_fault_waits_then_fires_then_is_over),
        TEST(counters_outlive_the_handle),
        TEST(without_a_count_it_always_fires),
        TEST(a_star_stays_on_its_level),
        TEST(the_first_rule_that_is_due_counts),
        TEST(errors_can_be_dressed),
        TEST(after_the_operation_it_is_done_but_reported_failed),
        TEST(none_only_delays),
        TEST(nestor_can_be_killed_before_or_after),
        TEST(every_operation_can_fail),
        TEST(a_hold_ends_when_the_file_is_removed),
        TEST(threads_share_one_count),
        TEST(a_wrong_line_is_named),
        TEST(only_known_drivers_are_wrapped),
    };
    int failed = conforms();
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
