/* Inside a fake machine: its shell, its files, and the hypervisor it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the headers it needs */
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/fake/fake.h"
#include "world.h"

static const struct driver *const fake = &fake_driver;

/* A world with a running guest hypervisor, and the way into it. */
struct nest {
    struct world w;
    struct hypervisor *hv, *inside;
    struct machine_spec kvm, web;
    struct access *access;
};

static void nest_open(struct nest *n) {
    n->hv = world_open(&n->w);
    n->kvm = world_machine(&n->w, "lab/kvm1");
    n->kvm.expose = true;
    n->web = world_machine(&n->w, "lab/kvm1/web1");
    world_run_machine(&n->w, n->hv, &n->kvm);
    n->inside = world_enter(&n->w, n->hv, &n->kvm, &n->access);
}

static int set_up_closed(void **state) {
    struct nest *n = xcalloc(1, sizeof *n);
    *state = n;
    world_setup(&n->w, fake);
    return 0;
}

static int set_up(void **state) {
    set_up_closed(state);
    nest_open(*state);
    return 0;
}

static int tear_down(void **state) {
    struct nest *n = *state;
    fake->close(n->inside);
    access_close(n->access);
    fake->close(n->hv);
    world_teardown(&n->w);
    free(n);
    return 0;
}

/* --- the shell --- */

static void run(struct nest *n, const char *script, struct command_result *ret) {
    struct command c = COMMAND(script);
    c.input = "typed";
    c.input_len = 5;
    world_ok(&n->w, access_run(n->access, &c, ret, world_time(&n->w), &n->w.err));
}

static void the_shell_knows_a_few_commands(void **state) {
    static const struct {
        const char *script;
        int status;
        const char *out, *err;
    } cases[] = {
        {"true", 0, "", ""},
        {":", 0, "", ""},
        {"", 0, "", ""},
        {"exit 7", 7, "", ""},
        {"exit", 0, "", ""},
        {"echo hello   world", 0, "hello world\n", ""},
        {"'echo' 'hello   world' 'it'\\''s'", 0, "hello   world it's\n", ""},
        {"echo", 0, "\n", ""},
        {"cat", 0, "typed", ""},
        {"'cat'", 0, "typed", ""},
        {"cat /etc/none", 1, "", "cat: /etc/none: No such file or directory\n"},
        {"hostname", 0, "kvm1\n", ""},
        {"uname", 0, "Linux\n", ""},
        {"uname -a", 0, "Linux kvm1 6.1.0-fake #1 SMP x86_64 GNU/Linux\n", ""},
        {"reboot", 127, "", "sh: 1: reboot: not found\n"},
        {"echo a; true", 127, "", "sh: 1: echo a; true: not found\n"},
        {"true && true", 127, "", "sh: 1: true && true: not found\n"},
        {"echo $HOME", 127, "", "sh: 1: echo $HOME: not found\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup_command_result struct command_result r = {0};
        run(*state, cases[i].script, &r);
        assert_string_equal(buffer_str(&r.out), cases[i].out);
        assert_string_equal(buffer_str(&r.err), cases[i].err);
        assert_int_equal(r.status, cases[i].status);
    }
}

static void streams_can_be_descriptors(void **state) {
    struct nest *n = *state;
    int in[2], out[2];
    char got[16] = "";
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    assert_int_equal(write(in[1], "through", 7), 7);
    close(in[1]);
    struct command c = COMMAND("cat");
    c.in_fd = in[0];
    c.out_fd = out[1];
    cleanup_command_result struct command_result r = {0};
    world_ok(&n->w, access_run(n->access, &c, &r, world_time(&n->w), &n->w.err));
    assert_int_equal(r.status, 0);
    assert_int_equal(r.out.len, 0);
    assert_int_equal(read(out[0], got, sizeof got), 7);
    assert_string_equal(got, "through");
    close(in[0]);
    close(out[0]);
    close(out[1]);
}

static void a_command_waits_no_longer_than_its_context(void **state) {
    struct nest *n = *state;
    int in[2];
    assert_int_equal(pipe(in), 0); /* nothing is ever written, and it is not closed */
    struct command c = COMMAND("cat");
    struct command_result r = {0};
    c.in_fd = in[0];
    world_fails(&n->w, access_run(n->access, &c, &r, world_soon(&n->w, 300), &n->w.err), ERR_TIMEOUT, "lab/kvm1",
                "reading a command's input");
    c.script = "true"; /* does not read */
    world_ok(&n->w, access_run(n->access, &c, &r, world_time(&n->w), &n->w.err));
    command_result_free(&r);
    close(in[0]);
    close(in[1]);
}

static void too_much_output_is_an_error(void **state) {
    struct nest *n = *state;
    struct command c = COMMAND("echo 123456789");
    struct command_result r = {0};
    c.max_output = 8;
    world_fails(&n->w, access_run(n->access, &c, &r, world_time(&n->w), &n->w.err), ERR_PROTOCOL, "lab/kvm1",
                "too long");
}

static void files_are_copied_in(void **state) {
    struct nest *n = *state;
    cleanup_free char *local = xasprintf("%s/notes", n->w.dir);
    world_write(&n->w, "notes", "a file\n");
    for (int i = 0; i < 2; i++) /* the second replaces the first */
        world_ok(&n->w, access_put(n->access, local, "/root/notes", 0640, NULL, NULL, world_time(&n->w), &n->w.err));
    cleanup_command_result struct command_result r = {0};
    run(n, "cat /root/notes", &r);
    assert_string_equal(buffer_str(&r.out), "a file\n");
    world_fails(&n->w, access_put(n->access, "/nonexistent", "/root/x", 0600, NULL, NULL, world_time(&n->w), &n->w.err),
                ERR_NOT_FOUND, "/nonexistent", "cannot read it");
}

static void nothing_can_be_dialled(void **state) {
    struct nest *n = *state;
    int fd = -1;
    world_fails(&n->w, access_dial(n->access, "127.0.0.1", 22, &fd, world_time(&n->w), &n->w.err), ERR_UNSUPPORTED,
                "lab/kvm1", "127.0.0.1:22");
    assert_int_equal(fd, -1);
}

/* --- what a machine sees of its CPU --- */

/* The machine's answer to the verification script, and its inside's own view, are of one mind. */
static void assert_sees(struct nest *n, struct hypervisor *hv, const struct machine_spec *spec, const char *flag) {
    struct access *access;
    struct hypervisor *inside;
    struct capability c;
    world_ok(&n->w, fake->connect(hv, spec, &access, world_time(&n->w), &n->w.err));
    cleanup_command_result struct command_result r = {0};
    world_ok(&n->w, access_run_ok(access, "# nestor-verify\necho", &r, world_time(&n->w), &n->w.err));
    cleanup_free char *expected = xasprintf("@@ cpu-flag %d\n %s\n@@", *flag ? 0 : 1, flag);
    assert_memory_equal(r.out.data, expected, strlen(expected));
    struct hypervisor_config config = {
        .subject = spec->tag.path, .access = access, .home = n->w.home, .accelerated = true};
    world_ok(&n->w, fake->open(&config, &inside, world_time(&n->w), &n->w.err));
    world_ok(&n->w, fake->check(inside, &c, world_time(&n->w), &n->w.err));
    assert_string_equal(c.flag, flag);
    assert_int_equal(c.can_nest, *flag != '\0');
    assert_string_equal(c.reason, *flag ? "" : "host-not-capable");
    fake->close(inside);
    access_close(access);
}

static void a_machine_sees_what_is_exposed(void **state) {
    struct nest *n = *state;
    world_param(&n->w, "flag", "vmx");
    nest_open(n);
    struct machine_spec plain = world_machine(&n->w, "lab/plain");
    world_run_machine(&n->w, n->hv, &plain);
    assert_sees(n, n->hv, &n->kvm, "vmx");
    assert_sees(n, n->hv, &plain, "");
    n->web.expose = true; /* level 2 sees what level 1 sees */
    world_run_machine(&n->w, n->inside, &n->web);
    assert_sees(n, n->inside, &n->web, "vmx");
}

static void a_host_without_the_flag_exposes_nothing(void **state) {
    struct nest *n = *state;
    struct capability c;
    world_param(&n->w, "flag", "none");
    nest_open(n);
    assert_sees(n, n->hv, &n->kvm, "");
    world_ok(&n->w, fake->check(n->hv, &c, world_time(&n->w), &n->w.err));
    assert_false(c.can_nest);
    assert_string_equal(c.reason, "host-not-capable");
}

static void a_blind_machine_sees_nothing(void **state) {
    struct nest *n = *state;
    world_param(&n->w, "blind", "lab/*2");
    nest_open(n);
    struct machine_spec kvm2 = world_machine(&n->w, "lab/kvm2");
    kvm2.expose = true;
    world_run_machine(&n->w, n->hv, &kvm2);
    assert_sees(n, n->hv, &n->kvm, "svm");
    assert_sees(n, n->hv, &kvm2, "");
}

static void without_acceleration_there_is_no_flag(void **state) {
    struct nest *n = *state;
    struct hypervisor *slow;
    struct capability c;
    struct hypervisor_config config = {
        .subject = "lab/kvm1", .access = n->access, .home = n->w.home, .accelerated = false};
    world_ok(&n->w, fake->open(&config, &slow, world_time(&n->w), &n->w.err));
    world_ok(&n->w, fake->check(slow, &c, world_time(&n->w), &n->w.err));
    assert_false(c.can_nest);
    fake->close(slow);
}

/* --- the hypervisor inside --- */

static void machines_inside_are_another_hypervisors(void **state) {
    struct nest *n = *state;
    world_run_machine(&n->w, n->inside, &n->web);
    assert_int_equal(world_power(&n->w, n->inside, &n->web), POWER_ON);
    assert_int_equal(world_power(&n->w, n->hv, &n->web), POWER_ABSENT);
    assert_int_equal(world_power(&n->w, n->inside, &n->kvm), POWER_ABSENT);
    assert_int_equal(world_count(&n->w, "create lab/kvm1/web1"), 1); /* one log for all levels */
}

static void they_go_with_their_machine(void **state) {
    struct nest *n = *state;
    struct endpoint at;
    world_run_machine(&n->w, n->inside, &n->web);
    world_ok(&n->w, fake->remove(n->hv, &n->kvm.tag, world_time(&n->w), &n->w.err));
    world_fails(&n->w, fake->address(n->inside, &n->web, &at, world_time(&n->w), &n->w.err), ERR_UNREACHABLE,
                "lab/kvm1", "connection into it is lost");
    world_run_machine(&n->w, n->hv, &n->kvm); /* the same machine anew */
    struct access *access;
    struct hypervisor *anew = world_enter(&n->w, n->hv, &n->kvm, &access);
    assert_int_equal(world_power(&n->w, anew, &n->web), POWER_ABSENT);
    fake->close(anew);
    access_close(access);
}

static void a_powered_off_machine_cannot_be_reached(void **state) {
    struct nest *n = *state;
    struct command c = COMMAND("true");
    struct command_result r = {0};
    struct access *again = NULL;
    struct observation *o = NULL;
    assert_true(access_alive(n->access));
    world_ok(&n->w, fake->stop(n->hv, &n->kvm.tag, world_time(&n->w), &n->w.err));
    assert_false(access_alive(n->access));
    world_fails(&n->w, access_run(n->access, &c, &r, world_time(&n->w), &n->w.err), ERR_UNREACHABLE, "lab/kvm1",
                "connection to it is lost");
    assert_true(n->w.err.retry);
    world_fails(&n->w, fake->observe(n->inside, NULL, &o, world_time(&n->w), &n->w.err), ERR_UNREACHABLE, "lab/kvm1",
                "connection into it is lost");
    assert_true(n->w.err.retry);
    world_fails(&n->w, fake->connect(n->hv, &n->kvm, &again, world_time(&n->w), &n->w.err), ERR_UNREACHABLE, "lab/kvm1",
                "powered off");
    assert_true(n->w.err.retry);
    assert_null(again);
}

static void a_reboot_cuts_connections_and_stops_what_ran_inside(void **state) {
    struct nest *n = *state;
    struct endpoint at;
    world_run_machine(&n->w, n->inside, &n->web);
    world_ok(&n->w, fake->power_cut(n->hv, &n->kvm.tag, world_time(&n->w), &n->w.err));
    world_ok(&n->w, fake->start(n->hv, &n->kvm, world_time(&n->w), &n->w.err));
    assert_false(access_alive(n->access)); /* it is of the boot before */
    struct access *access;
    struct hypervisor *inside = world_enter(&n->w, n->hv, &n->kvm, &access);
    assert_int_equal(world_power(&n->w, inside, &n->web), POWER_OFF);
    world_fails(&n->w, fake->address(inside, &n->web, &at, world_time(&n->w), &n->w.err), ERR_DIED, "lab/kvm1/web1",
                "not running");
    fake->close(inside);
    access_close(access);
}

static void a_quick_reboot_is_a_reboot(void **state) {
    struct nest *n = *state;
    for (int i = 0; i < 20; i++) { /* several of them within one tick of the kernel's clock */
        struct access *access;
        world_ok(&n->w, fake->connect(n->hv, &n->kvm, &access, world_time(&n->w), &n->w.err));
        world_ok(&n->w, fake->power_cut(n->hv, &n->kvm.tag, world_time(&n->w), &n->w.err));
        world_ok(&n->w, fake->start(n->hv, &n->kvm, world_time(&n->w), &n->w.err));
        assert_false(access_alive(access));
        access_close(access);
    }
}

static void losing_level_one_loses_all_below(void **state) {
    struct nest *n = *state;
    struct access *deep;
    world_run_machine(&n->w, n->inside, &n->web);
    world_ok(&n->w, fake->connect(n->inside, &n->web, &deep, world_time(&n->w), &n->w.err));
    assert_true(access_alive(deep));
    world_ok(&n->w, fake->power_cut(n->hv, &n->kvm.tag, world_time(&n->w), &n->w.err));
    assert_false(access_alive(deep));
    access_close(deep);
}

static void worlds_inside_inherit_their_ways(void **state) {
    struct nest *n = *state;
    world_param(&n->w, "delay", "500");
    world_param(&n->w, "torn", "true");
    nest_open(n);
    int64_t before = clock_ms();
    world_ok(&n->w, fake->create(n->inside, &n->web, world_time(&n->w), &n->w.err));
    assert_true(clock_ms() - before >= 500);
    struct machine_spec late = world_machine(&n->w, "lab/kvm1/late");
    world_fails(&n->w, fake->create(n->inside, &late, world_soon(&n->w, 300), &n->w.err), ERR_TIMEOUT, "lab/kvm1/late",
                "cloning");
    assert_int_equal(world_power(&n->w, n->inside, &late), POWER_BROKEN);
}

static void it_nests_to_any_depth(void **state) {
    static const char *const paths[] = {"lab/kvm1/a", "lab/kvm1/a/b", "lab/kvm1/a/b/c"};
    enum { DEPTH = sizeof paths / sizeof *paths };
    struct nest *n = *state;
    struct hypervisor *hv[DEPTH + 1] = {n->inside};
    struct access *access[DEPTH + 1];
    for (int i = 0; i < DEPTH; i++) {
        struct machine_spec s = world_machine(&n->w, paths[i]);
        s.expose = true;
        world_run_machine(&n->w, hv[i], &s);
        hv[i + 1] = world_enter(&n->w, hv[i], &s, &access[i + 1]);
    }
    struct capability c;
    world_ok(&n->w, fake->check(hv[DEPTH], &c, world_time(&n->w), &n->w.err));
    assert_string_equal(c.flag, "svm");
    for (int i = DEPTH; i > 0; i--) {
        fake->close(hv[i]);
        access_close(access[i]);
    }
}

/* --- what is not a fake machine --- */

static int say_not_found(struct access *a, const struct command *c, struct command_result *ret,
                         const struct context *ctx, struct error *err) {
    (void)a;
    (void)c;
    (void)ctx;
    (void)err;
    *ret = (struct command_result){.status = 127};
    return 0;
}

static void a_real_machine_is_not_opened(void **state) {
    struct nest *n = *state;
    static const struct access_ops ops = {.run = say_not_found};
    struct access real = {.ops = &ops, .subject = "lab/real"};
    struct hypervisor_config config = {.subject = "lab/real", .access = &real, .home = n->w.home, .accelerated = true};
    struct hypervisor *hv;
    world_fails(&n->w, fake->open(&config, &hv, world_time(&n->w), &n->w.err), ERR_UNSUPPORTED, "lab/real",
                "not a machine of the fake driver");
}

/* The answer of a machine that was removed right after it gave it. */
static int name_a_lost_world(struct access *a, const struct command *c, struct command_result *ret,
                             const struct context *ctx, struct error *err) {
    (void)c;
    (void)ctx;
    (void)err;
    *ret = (struct command_result){0};
    buffer_printf(&ret->out, "%s/machines/gone/inside\n/dev/null\n\nsvm\n0\n0\n", a->subject);
    return 0;
}

static void a_removed_machine_does_not_come_back_by_being_opened(void **state) {
    struct nest *n = *state;
    static const struct access_ops ops = {.run = name_a_lost_world};
    struct access late = {.ops = &ops, .subject = n->w.dir};
    struct hypervisor_config config = {.subject = "lab/gone", .access = &late, .home = n->w.home, .accelerated = true};
    struct hypervisor *hv;
    world_fails(&n->w, fake->open(&config, &hv, world_time(&n->w), &n->w.err), ERR_NOT_FOUND, "lab/gone",
                "cannot make the directory");
    cleanup_free char *ghost = xasprintf("%s/machines", n->w.dir);
    assert_int_not_equal(access(ghost, F_OK), 0);
}

int main(void) {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
#define TEST_CLOSED(fn) cmocka_unit_test_setup_teardown(fn, set_up_closed, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_shell_knows_a_few_commands),
        TEST(streams_can_be_descriptors),
        TEST(a_command_waits_no_longer_than_its_context),
        TEST(too_much_output_is_an_error),
        TEST(files_are_copied_in),
        TEST(nothing_can_be_dialled),
        TEST_CLOSED(a_machine_sees_what_is_exposed),
        TEST_CLOSED(a_host_without_the_flag_exposes_nothing),
        TEST_CLOSED(a_blind_machine_sees_nothing),
        TEST(without_acceleration_there_is_no_flag),
        TEST(machines_inside_are_another_hypervisors),
        TEST(they_go_with_their_machine),
        TEST(a_powered_off_machine_cannot_be_reached),
        TEST(a_reboot_cuts_connections_and_stops_what_ran_inside),
        TEST(a_quick_reboot_is_a_reboot),
        TEST(losing_level_one_loses_all_below),
        TEST_CLOSED(worlds_inside_inherit_their_ways),
        TEST(it_nests_to_any_depth),
        TEST_CLOSED(a_real_machine_is_not_opened),
        TEST_CLOSED(a_removed_machine_does_not_come_back_by_being_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
