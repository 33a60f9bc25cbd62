/* Where a machine answers: what counts as its address, and how the wait for one ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/vsphere/vsphere.h"
#include "vsphere_fixture.h"

#define PROMPT_MS 12000 /* the wait ends by itself, long before its context; proxy and vcsim may be slow */

static const struct driver *const driver = &vsphere_driver;
static struct vsphere_machine machine;

/* One machine that runs is enough for all of them: what its guest reports is the proxy's. */
static int set_up(void **state) {
    static struct vsphere_fixture f;
    vsphere_fixture_start(&f, false, "vcsim_template gh-template", NULL);
    VSPHERE_OPEN(&f, "inventory.network=VM Network");
    vsphere_machine_init(&machine, "vm", "gh-template");
    MUST(&f, driver->create(f.hv, &machine.spec, in_time(&f), &f.err));
    MUST(&f, driver->start(f.hv, &machine.spec, in_time(&f), &f.err));
    *state = &f;
    return 0;
}

static void assert_address(struct vsphere_fixture *f, const char *guest, const char *expected) {
    cleanup_free char *line = xasprintf("guest box.vm-* %s\n", guest);
    struct endpoint at = {0};
    vcsim_control(&f->proxy, line);
    MUST(f, driver->address(f->hv, &machine.spec, &at, in_time(f), &f->err));
    assert_string_equal(at.host, expected);
    assert_int_equal(at.port, 22);
}

static void an_address_of_its_own_card_counts(void **state) {
    assert_address(*state, "nic=192.0.2.7", "192.0.2.7");
    assert_address(*state, "nic=2001:db8::7", "2001:db8::7");
}

static void ipv4_goes_before_ipv6(void **state) { assert_address(*state, "nic=2001:db8::7,192.0.2.7", "192.0.2.7"); }

static void addresses_that_lead_nowhere_do_not_count(void **state) {
    assert_address(*state, "nic=fe80::1,169.254.3.4,0.0.0.0,224.0.0.1,192.0.2.7", "192.0.2.7");
    assert_address(*state, "nic=fe80::1,ff02::1,::,2001:db8::7", "2001:db8::7");
}

static void bridges_inside_do_not_count(void **state) {
    assert_address(*state, "other=172.17.0.1 nic=192.0.2.7", "192.0.2.7");
}

static void loopback_counts_only_when_its_card_has_nothing_else(void **state) {
    assert_address(*state, "nic=127.0.0.1", "127.0.0.1");
    assert_address(*state, "nic=127.0.0.1,2001:db8::7", "2001:db8::7");
}

static void an_address_that_comes_later_is_waited_for(void **state) {
    struct vsphere_fixture *f = *state;
    struct endpoint at = {0};
    int64_t before = clock_ms();
    vcsim_control(&f->proxy, "guest box.vm-* none until=700\nguest box.vm-* nic=192.0.2.9 from=700\n");
    MUST(f, driver->address(f->hv, &machine.spec, &at, in_time(f), &f->err));
    assert_string_equal(at.host, "192.0.2.9");
    assert_true(clock_ms() - before >= 500);
}

static void assert_times_out(struct vsphere_fixture *f, const char *guest, const char *cause, const char *mend) {
    cleanup_free char *line = xasprintf("guest box.vm-* %s\n", guest);
    struct endpoint at = {.port = 7};
    struct context brief = context_timeout(in_time(f), 600);
    vcsim_control(&f->proxy, line);
    MUST_FAIL(f, driver->address(f->hv, &machine.spec, &at, &brief, &f->err), ERR_TIMEOUT, cause, mend);
    assert_string_equal(f->err.subject, "box/vm");
    assert_int_equal(at.port, 7);
}

static void the_end_of_the_wait_says_what_is_missing(void **state) {
    assert_times_out(*state, "no-tools", "it has no address: VMware Tools do not run in it", "install open-vm-tools");
    assert_times_out(*state, "none", "VMware Tools run, but its cards have none", "DHCP server");
    assert_times_out(*state, "other=172.17.0.1", "report addresses, but none for a card of this VM", "port group");
    assert_times_out(*state, "nic=fe80::1", "only such as lead nowhere, link-local ones", "DHCP server");
}

static void a_question_ends_the_wait(void **state) {
    struct vsphere_fixture *f = *state;
    struct endpoint at = {0};
    int64_t before = clock_ms();
    vcsim_control(&f->proxy, "question box.vm-* \"Did you move or copy it?\" Moved Copied\n");
    MUST_FAIL(f, driver->address(f->hv, &machine.spec, &at, in_time(f), &f->err), ERR_CONFLICT,
              "until somebody answers: Did you move or copy it?", "govc vm.question -vm box.vm-");
    assert_string_equal(f->err.subject, "box/vm");
    assert_true(clock_ms() - before < PROMPT_MS);
}

static void a_machine_that_goes_off_ends_the_wait(void **state) {
    struct vsphere_fixture *f = *state;
    struct endpoint at = {0};
    int64_t before = clock_ms();
    vcsim_control(&f->proxy, "guest box.vm-* none\nset VirtualMachine box.vm-* runtime.powerState "
                             "'<val xsi:type=\"VirtualMachinePowerState\">poweredOff</val>' from=500\n");
    MUST_FAIL(f, driver->address(f->hv, &machine.spec, &at, in_time(f), &f->err), ERR_DIED, "it is not running",
              "nestor up");
    assert_string_equal(f->err.subject, "box/vm");
    assert_true(clock_ms() - before < PROMPT_MS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_of_its_own_card_counts),
        cmocka_unit_test(ipv4_goes_before_ipv6),
        cmocka_unit_test(addresses_that_lead_nowhere_do_not_count),
        cmocka_unit_test(bridges_inside_do_not_count),
        cmocka_unit_test(loopback_counts_only_when_its_card_has_nothing_else),
        cmocka_unit_test(an_address_that_comes_later_is_waited_for),
        cmocka_unit_test(the_end_of_the_wait_says_what_is_missing),
        cmocka_unit_test(a_question_ends_the_wait),
        cmocka_unit_test(a_machine_that_goes_off_ends_the_wait),
    };
    return cmocka_run_group_tests_name("vsphere address", tests, set_up, vsphere_fixture_end);
}
