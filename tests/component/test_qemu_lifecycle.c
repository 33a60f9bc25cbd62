/* A machine's life with a real QEMU, from create to remove. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/qemu/qemu.h"
#include "qemu_fixture.h"

/* Comma, space and colon are each special somewhere on QEMU's command line; 150 bytes more are past sockaddr_un. */
static int setup_odd_home(void **state) {
    cleanup_free char *name = xasprintf("a,b c:d/%0150d/home", 7);
    *state = xcalloc(1, sizeof(struct qemu_fixture));
    qemu_setup(*state, name);
    return 0;
}

static void lives_from_create_to_remove(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    bool exposed = true;
    assert_int_equal(qemu_power(f, &m, NULL), POWER_ABSENT);

    qemu_assert_ok(qemu_driver.create(f->hv, &m, &f->ctx, &e), &e);
    assert_int_equal(qemu_power(f, &m, &exposed), POWER_OFF);
    assert_false(exposed);
    assert_int_equal(qemu_pid(&m), 0);

    qemu_run(f, &m);
    exposed = false;
    assert_int_equal(qemu_power(f, &m, &exposed), POWER_ON);
    assert_true(exposed);
    assert_int_not_equal(qemu_pid(&m), 0);

    struct endpoint at = {.port = 0};
    qemu_assert_ok(qemu_driver.address(f->hv, &m, &at, &f->ctx, &e), &e);
    assert_string_equal(at.host, "127.0.0.1");
    assert_int_not_equal(at.port, 0);

    qemu_assert_ok(qemu_driver.power_cut(f->hv, &m.tag, &f->ctx, &e), &e);
    assert_int_equal(qemu_power(f, &m, &exposed), POWER_OFF);
    assert_int_equal(qemu_pid(&m), 0);
    qemu_remove_ok(f, &m);
    assert_int_equal(qemu_power(f, &m, NULL), POWER_ABSENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        QEMU_TEST(lives_from_create_to_remove),
        cmocka_unit_test_setup_teardown(lives_from_create_to_remove, setup_odd_home, qemu_end),
    };
    return cmocka_run_group_tests_name("qemu lifecycle", tests, NULL, NULL);
}
