/* Power, ports and what is told about a machine that is not running, with a real QEMU. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/qemu/qemu.h"
#include "drivers/qemu/qemu_priv.h"
#include "qemu_fixture.h"

static uint16_t port_of(struct qemu_fixture *f, const struct machine_spec *m) {
    struct error e = {.code = ERR_NONE};
    struct endpoint at = {.port = 0};
    qemu_assert_ok(qemu_driver.address(f->hv, m, &at, &f->ctx, &e), &e);
    return at.port;
}

static struct sockaddr_in loopback(uint16_t port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static bool somebody_listens(uint16_t port) {
    struct sockaddr_in at = loopback(port);
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (const struct sockaddr *)&at, sizeof at) == 0;
}

static void starting_twice_starts_once(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    qemu_run(f, &m);
    pid_t pid = qemu_pid(&m);
    uint16_t port = port_of(f, &m);
    qemu_assert_ok(qemu_driver.start(f->hv, &m, &f->ctx, &e), &e);
    assert_int_equal(qemu_pid(&m), pid);
    assert_int_equal(port_of(f, &m), port);
    assert_true(somebody_listens(port));
    qemu_remove_ok(f, &m);
    assert_false(somebody_listens(port));
}

static void keeps_its_port_while_it_can(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    qemu_run(f, &m);
    uint16_t port = port_of(f, &m);
    qemu_assert_ok(qemu_driver.power_cut(f->hv, &m.tag, &f->ctx, &e), &e);
    qemu_assert_ok(qemu_driver.start(f->hv, &m, &f->ctx, &e), &e);
    assert_int_equal(port_of(f, &m), port);
    qemu_assert_ok(qemu_driver.power_cut(f->hv, &m.tag, &f->ctx, &e), &e);

    struct sockaddr_in at = loopback(port);
    cleanup_close int thief = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(thief, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(thief, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(thief, 1), 0);
    qemu_assert_ok(qemu_driver.start(f->hv, &m, &f->ctx, &e), &e);
    uint16_t other = port_of(f, &m);
    assert_int_not_equal(other, port);
    assert_true(somebody_listens(other));
    qemu_remove_ok(f, &m);
}

static void each_power_operation_may_be_repeated(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    /* Not there at all: neither runs nor has to be removed. */
    qemu_assert_ok(qemu_driver.stop(f->hv, &m.tag, &f->ctx, &e), &e);
    qemu_assert_ok(qemu_driver.power_cut(f->hv, &m.tag, &f->ctx, &e), &e);
    qemu_assert_ok(qemu_driver.remove(f->hv, &m.tag, &f->ctx, &e), &e);
    qemu_run(f, &m);
    for (int i = 0; i < 2; i++) {
        qemu_assert_ok(qemu_driver.power_cut(f->hv, &m.tag, &f->ctx, &e), &e);
        qemu_assert_ok(qemu_driver.stop(f->hv, &m.tag, &f->ctx, &e), &e);
        assert_int_equal(qemu_power(f, &m, NULL), POWER_OFF);
    }
    qemu_remove_ok(f, &m);
    qemu_remove_ok(f, &m);
}

/* The first press comes before the guest heeds the button, and is lost: so it is pressed again. */
static void a_guest_that_still_boots_is_stopped_too(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    qemu_use_obedient_image(f);
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    qemu_run(f, &m);
    qemu_assert_ok(qemu_driver.stop(f->hv, &m.tag, &f->ctx, &e), &e);
    assert_int_equal(qemu_pid(&m), 0);
    assert_int_equal(qemu_power(f, &m, NULL), POWER_OFF);
    cleanup_free char *log = qemu_file(f, &m, "qemu.log"), *words = qemu_read(log);
    assert_string_equal(words, ""); /* no signal ended it: the guest did */
    qemu_remove_ok(f, &m);
}

/* The firmware does not listen to the power button. */
static void a_guest_that_will_not_stop_is_a_timeout(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    qemu_run(f, &m);
    struct context ctx = context_timeout(&f->ctx, 2000);
    int64_t from = clock_ms();
    qemu_assert_error(qemu_driver.stop(f->hv, &m.tag, &ctx, &e), &e, ERR_TIMEOUT, "lab/kvm1",
                      "waiting for the guest to power off");
    assert_in_range(clock_ms() - from, 2000, 20000);
    assert_string_equal(e.note, ""); /* the button was pressed without trouble */
    assert_int_equal(qemu_power(f, &m, NULL), POWER_ON);
    qemu_remove_ok(f, &m);
}

static void a_busy_monitor_is_named_when_stopping_fails(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    qemu_run(f, &m);
    cleanup_vm struct vm vm = VM_NONE;
    cleanup_qmp struct qmp *holder = NULL;
    qemu_assert_ok(vm_load(f->hv, &m.tag, &vm, &e), &e);
    qemu_assert_ok(qmp_connect(vm.fd, SOCKET_FILE, "holder", &holder, &f->ctx, &e), &e);
    struct context ctx = context_timeout(&f->ctx, 1000);
    qemu_assert_error(qemu_driver.stop(f->hv, &m.tag, &ctx, &e), &e, ERR_TIMEOUT, "lab/kvm1", "waiting for");
    assert_non_null(strstr(e.note, "serves one program at a time"));
    /* What needs no monitor is not held up. */
    assert_int_equal(qemu_power(f, &m, NULL), POWER_ON);
    error_clear(&e);
    qemu_assert_ok(qemu_driver.power_cut(f->hv, &m.tag, &f->ctx, &e), &e);
    qemu_remove_ok(f, &m);
}

static void *fire_soon(void *data) {
    usleep(1500000); /* by then QEMU has been asked, and the wait is for the guest */
    cancel_fire(data);
    return NULL;
}

static void a_cancel_ends_the_wait_for_a_stop(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    struct cancel cancel;
    pthread_t thread;
    qemu_run(f, &m);
    assert_int_equal(cancel_init(&cancel, &e), 0);
    struct context ctx = {.deadline = f->ctx.deadline, .cancel = &cancel};
    assert_int_equal(pthread_create(&thread, NULL, fire_soon, &cancel), 0);
    qemu_assert_error(qemu_driver.stop(f->hv, &m.tag, &ctx, &e), &e, ERR_CANCELLED, "lab/kvm1",
                      "waiting for the guest to power off");
    pthread_join(thread, NULL);
    cancel_destroy(&cancel);
    qemu_remove_ok(f, &m);
}

/* The firmware's last words on an empty disk. */
static void await_console(struct qemu_fixture *f, const struct machine_spec *m, const char *text) {
    struct error e = {.code = ERR_NONE};
    for (bool seen = false; !seen;) {
        cleanup_buffer struct buffer console = {0};
        qemu_assert_ok(qemu_driver.console(f->hv, &m->tag, &console, &f->ctx, &e), &e);
        assert_in_range(console.len, 0, 4096);
        assert_null(strchr(buffer_str(&console), 0x1b));
        seen = strstr(buffer_str(&console), text);
        if (!seen)
            qemu_assert_ok(context_sleep(&f->ctx, 50, m->tag.path, "waiting for its console", &e), &e);
    }
}

static void a_killed_qemu_is_off_and_its_console_tells(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    struct endpoint at;
    qemu_run(f, &m);
    await_console(f, &m, "No bootable device");
    qemu_kill(&m);
    assert_int_equal(qemu_power(f, &m, NULL), POWER_OFF);
    qemu_assert_error(qemu_driver.address(f->hv, &m, &at, &f->ctx, &e), &e, ERR_DIED, "lab/kvm1", "No bootable device");
    assert_non_null(strstr(e.cause, "QEMU said: nothing"));
    assert_non_null(strstr(e.mend, "console.log"));
    error_clear(&e);
    qemu_assert_ok(qemu_driver.start(f->hv, &m, &f->ctx, &e), &e);
    assert_int_equal(qemu_power(f, &m, NULL), POWER_ON);
    qemu_remove_ok(f, &m);
}

static void what_qemu_says_when_it_ends_is_kept(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/kvm1");
    struct endpoint at;
    qemu_run(f, &m);
    qemu_assert_ok(qemu_driver.power_cut(f->hv, &m.tag, &f->ctx, &e), &e);
    qemu_assert_error(qemu_driver.address(f->hv, &m, &at, &f->ctx, &e), &e, ERR_DIED, "lab/kvm1",
                      "terminating on signal 15");
    qemu_remove_ok(f, &m);
}

static void exposure_changes_only_while_off(void **state) {
    struct qemu_fixture *f = *state;
    struct error e = {.code = ERR_NONE};
    struct machine_spec m = qemu_machine(f, "lab/plain");
    bool exposed = true;
    m.expose = false;
    qemu_run(f, &m);
    assert_int_equal(qemu_power(f, &m, &exposed), POWER_ON);
    assert_false(exposed);
    exposed = true;
    qemu_assert_ok(qemu_driver.expose(f->hv, &m, false, &exposed, &f->ctx, &e), &e); /* so it is already */
    assert_false(exposed);
    qemu_assert_error(qemu_driver.expose(f->hv, &m, true, &exposed, &f->ctx, &e), &e, ERR_NESTING, "lab/plain",
                      "only be switched while it is off");
    assert_string_equal(e.reason, "vhv-needs-power-off");
    error_clear(&e);
    qemu_assert_ok(qemu_driver.power_cut(f->hv, &m.tag, &f->ctx, &e), &e);
    qemu_assert_ok(qemu_driver.expose(f->hv, &m, true, &exposed, &f->ctx, &e), &e);
    assert_true(exposed);
    qemu_assert_ok(qemu_driver.start(f->hv, &m, &f->ctx, &e), &e);
    assert_int_equal(qemu_power(f, &m, &exposed), POWER_ON);
    assert_true(exposed);
    qemu_remove_ok(f, &m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        QEMU_TEST(starting_twice_starts_once),
        QEMU_TEST(keeps_its_port_while_it_can),
        QEMU_TEST(each_power_operation_may_be_repeated),
        QEMU_TEST(a_guest_that_still_boots_is_stopped_too),
        QEMU_TEST(a_guest_that_will_not_stop_is_a_timeout),
        QEMU_TEST(a_busy_monitor_is_named_when_stopping_fails),
        QEMU_TEST(a_cancel_ends_the_wait_for_a_stop),
        QEMU_TEST(a_killed_qemu_is_off_and_its_console_tells),
        QEMU_TEST(what_qemu_says_when_it_ends_is_kept),
        QEMU_TEST(exposure_changes_only_while_off),
    };
    return cmocka_run_group_tests_name("qemu power", tests, NULL, NULL);
}
