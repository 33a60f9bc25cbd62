/* The fake-remote driver: the conformance suite, and what it promises about templates, addresses, secrets and hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the headers it needs */
#include <cmocka.h>

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conformance.h"
#include "drivers/fake/fake.h"
#include "nestor/file.h"
#include "world.h"

static const struct driver *const far = &fake_remote_driver;

static size_t things(void *data) {
    size_t n = 0;
    DIR *dir = opendir(((struct world *)data)->machines);
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static int conforms(void) {
    struct world w;
    world_setup(&w, far);
    world_param(&w, "delay", "2"); /* long enough for threads to meet */
    world_param(&w, "templates", "tiny");
    const struct conformance_target target = {.driver = far,
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
                                              .data = &w};
    int failed = conformance_run(&target);
    world_teardown(&w);
    return failed;
}

static int set_up(void **state) {
    *state = xmalloc(sizeof(struct world));
    world_setup(*state, far);
    return 0;
}

static int tear_down(void **state) {
    world_teardown(*state);
    free(*state);
    return 0;
}

static void only_its_own_templates_are_cloned(void **state) {
    struct world *w = *state;
    world_param(w, "templates", "tiny, /DC0/vm/My Template");
    struct hypervisor *hv = world_open(w);
    struct machine_spec s = world_machine(w, "lab/a");
    char part[] = "/DC0/vm/My", full[] = "/DC0/vm/My Template", tiny[] = "tiny", disk[] = "/disk.raw";
    struct image other = {.name = part}, whole = {.name = tiny, .disk = disk};
    world_fails(w, far->ensure_image(hv, &other, NULL, NULL, world_time(w), &w->err), ERR_NOT_FOUND, "host test",
                "no template '/DC0/vm/My'");
    other.name = full;
    world_ok(w, far->ensure_image(hv, &other, NULL, NULL, world_time(w), &w->err));
    world_fails(w, far->ensure_image(hv, &whole, NULL, NULL, world_time(w), &w->err), ERR_INTERNAL, "host test",
                "an image of this machine");
    s.image = &other;
    world_ok(w, far->create(hv, &s, world_time(w), &w->err));
    assert_int_equal(world_count(w, "image"), 0);
    far->close(hv);
}

static void what_was_chosen_is_written_down(void **state) {
    struct world *w = *state;
    struct hypervisor *hv = world_open(w);
    struct machine_spec s = world_machine(w, "lab/a");
    const struct param extra[] = {{.key = "SET.guest.ipAddress", .value = "127.0.0.1"}, {.key = "b", .value = " c"}};
    s.full_clone = true;
    s.extra = extra;
    s.nextra = 2;
    world_ok(w, far->create(hv, &s, world_time(w), &w->err));
    cleanup_free char *text = world_read(w, "home/fake/test/machines/" WORLD_LAB ".lab.a/choices");
    assert_string_equal(text, "clone full\nextra SET.guest.ipAddress=127.0.0.1\nextra b= c\ninstance-id: world\n");
    struct machine_spec bare = world_machine(w, "lab/b");
    bare.user_data = NULL;
    world_fails(w, far->create(hv, &bare, world_time(w), &w->err), ERR_INTERNAL, "lab/b", "without its two texts");
    far->close(hv);
}

/* --- a guest hypervisor at its address --- */

struct guest {
    struct endpoint at;
    struct hypervisor_config config;
};

static void find_guest(struct world *w, struct hypervisor *hv, const struct machine_spec *s, struct guest *ret) {
    world_ok(w, far->address(hv, s, &ret->at, world_time(w), &w->err));
    ret->config = (struct hypervisor_config){.subject = s->tag.path,
                                             .lab_id = WORLD_LAB,
                                             .lab_name = "lab",
                                             .access = access_local(),
                                             .endpoint = &ret->at,
                                             .home = w->home,
                                             .accelerated = true};
}

static void a_guest_is_opened_at_its_address(void **state) {
    struct world *w = *state;
    struct hypervisor *hv = world_open(w), *inside;
    struct machine_spec s = world_machine(w, "lab/esx"), other = world_machine(w, "lab/esx2");
    struct machine_spec child = world_machine(w, "lab/esx/a");
    struct guest g, g2;
    struct capability c;
    s.expose = other.expose = true;
    world_run_machine(w, hv, &s);
    world_run_machine(w, hv, &other);
    find_guest(w, hv, &s, &g);
    find_guest(w, hv, &other, &g2);
    assert_string_not_equal(g.at.host, g2.at.host);
    world_ok(w, far->open(&g.config, &inside, world_time(w), &w->err));
    world_ok(w, far->ensure_network(inside, world_time(w), &w->err));
    world_ok(w, far->check(inside, &c, world_time(w), &w->err));
    assert_true(c.can_nest);
    world_run_machine(w, inside, &child);
    assert_int_equal(world_power(w, inside, &child), POWER_ON);
    assert_int_equal(world_count(w, "create lab/esx/a"), 1);
    /* Off, nothing answers; through an open handle neither. */
    world_ok(w, far->power_cut(hv, &s.tag, world_time(w), &w->err));
    struct observation *o;
    world_fails(w, far->observe(inside, NULL, &o, world_time(w), &w->err), ERR_UNREACHABLE, "lab/esx", "lost");
    far->close(inside);
    world_fails(w, far->open(&g.config, &inside, world_time(w), &w->err), ERR_CONNECT_REFUSED, "lab/esx",
                "nothing answers at 240.");
    assert_true(w->err.retry);
    world_ok(w, far->remove(hv, &s.tag, world_time(w), &w->err));
    far->close(hv);
}

static void a_guest_is_never_opened_through_itself(void **state) {
    struct world *w = *state;
    struct hypervisor *hv = world_open(w), *inside;
    struct machine_spec s = world_machine(w, "lab/esx");
    struct guest g;
    s.expose = true;
    world_run_machine(w, hv, &s);
    find_guest(w, hv, &s, &g);
    world_ok(w, far->connect(hv, &s, &g.config.access, world_time(w), &w->err));
    world_fails(w, far->open(&g.config, &inside, world_time(w), &w->err), ERR_INTERNAL, "lab/esx",
                "through its own machine");
    g.config.endpoint = NULL;
    world_fails(w, far->open(&g.config, &inside, world_time(w), &w->err), ERR_INTERNAL, "lab/esx",
                "without its address");
    access_close(g.config.access);
    far->close(hv);
}

/* --- logging in --- */

static int answer(void *data, const char *prompt, struct buffer *ret, struct error *err) {
    (void)err;
    assert_string_equal(prompt, "Password at host test: ");
    buffer_puts(ret, data);
    return 0;
}

static void it_takes_the_password_from_where_it_is_said_to_be(void **state) {
    struct world *w = *state;
    struct hypervisor *hv;
    char right[] = "hunter2", wrong[] = "hunter3";
    struct asker knows = {.ask = answer, .data = right}, guesses = {.ask = answer, .data = wrong};
    cleanup_free char *file = xasprintf("%s/secret", w->dir);
    setenv("NESTOR_TEST_EXPECTS", "hunter2", 1);
    world_param(w, "expects.env", "NESTOR_TEST_EXPECTS");
    world_fails(w, far->open(&w->config, &hv, world_time(w), &w->err), ERR_USAGE, "host test", "nobody can be asked");
    w->config.asker = &guesses;
    world_fails(w, far->open(&w->config, &hv, world_time(w), &w->err), ERR_AUTH, "host test", "wrong");
    w->config.asker = &knows;
    far->close(world_open(w));
    w->config.asker = NULL;
    world_write(w, "secret", "hunter2\n");
    world_param(w, "password.file", file);
    far->close(world_open(w));
}

static void it_takes_the_password_from_the_environment(void **state) {
    struct world *w = *state;
    struct hypervisor *hv;
    setenv("NESTOR_TEST_EXPECTS", "hunter2", 1);
    world_param(w, "expects.env", "NESTOR_TEST_EXPECTS");
    world_param(w, "password.env", "NESTOR_TEST_PASSWORD");
    unsetenv("NESTOR_TEST_PASSWORD");
    world_fails(w, far->open(&w->config, &hv, world_time(w), &w->err), ERR_USAGE, "host test",
                "NESTOR_TEST_PASSWORD is not set");
    setenv("NESTOR_TEST_PASSWORD", "hunter2", 1);
    far->close(world_open(w));
    unsetenv("NESTOR_TEST_PASSWORD");
}

/* --- the host itself --- */

static void take(void *data, const struct finding *f) {
    static const char *const kinds[] = {"fine", "warning", "unfit"};
    buffer_printf(data, "%s %s: %s\n", kinds[f->kind], f->subject, f->text);
}

static void what_is_found_is_told_one_by_one(void **state) {
    struct world *w = *state;
    cleanup_buffer struct buffer text = {0};
    world_param(w, "unfit", "port group A: it rejects forged transmits; version: too old");
    world_param(w, "warns", "licence: it ends soon");
    world_param(w, "units", "48");
    struct hypervisor *hv = world_open(w);
    struct capability c;
    world_ok(w, far->examine(hv, take, &text, world_time(w), &w->err));
    assert_string_equal(buffer_str(&text), "fine licence: it allows everything\nwarning licence: it ends soon\n"
                                           "unfit port group A: it rejects forged transmits\nunfit version: too old\n");
    world_ok(w, far->check(hv, &c, world_time(w), &w->err));
    assert_int_equal(c.parallel, 48);
    far->close(hv);
}

static void preparing_twice_changes_nothing_and_can_be_undone(void **state) {
    static const struct {
        bool undo;
        const char *report;
    } steps[] = {{true, "host test: nothing to do\n"},
                 {false, "host test: prepared to nest\n"},
                 {false, "host test: nothing to do\n"},
                 {true, "host test: taken back\n"}};
    struct world *w = *state;
    struct hypervisor *hv = world_open(w);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        cleanup_buffer struct buffer report = {0};
        world_ok(w, far->prepare(hv, steps[i].undo, &report, world_time(w), &w->err));
        assert_string_equal(buffer_str(&report), steps[i].report);
    }
    assert_int_equal(world_count(w, "prepare"), 1);
    assert_int_equal(world_count(w, "unprepare"), 1);
    far->close(hv);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(only_its_own_templates_are_cloned),
        TEST(what_was_chosen_is_written_down),
        TEST(a_guest_is_opened_at_its_address),
        TEST(a_guest_is_never_opened_through_itself),
        TEST(it_takes_the_password_from_where_it_is_said_to_be),
        TEST(it_takes_the_password_from_the_environment),
        TEST(what_is_found_is_told_one_by_one),
        TEST(preparing_twice_changes_nothing_and_can_be_undone),
    };
    int failed = conforms();
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
