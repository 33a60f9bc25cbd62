/* Starting a machine while its task goes on for some time, and what the wait for that costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/vsphere/vsphere.h"
#include "vsphere_fixture.h"

static const struct driver *const driver = &vsphere_driver;
static struct vsphere_machine machine;

static int set_up(void **state) {
    static struct vsphere_fixture f;
    vsphere_fixture_start(&f, false, "vcsim_template gh-template", NULL);
    VSPHERE_OPEN(&f, "inventory.network=VM Network");
    vsphere_machine_init(&machine, "vm", "gh-template");
    MUST(&f, driver->create(f.hv, &machine.spec, in_time(&f), &f.err));
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    vsphere_fixture_stop(*state);
    return 0;
}

static int switch_off(void **state) {
    struct vsphere_fixture *f = *state;
    vcsim_control(&f->proxy, "");
    MUST(f, driver->power_cut(f->hv, &machine.spec.tag, in_time(f), &f->err));
    return 0;
}

static void start_of_which_the_task_ends_at_once_costs_two_round_trips(void **state) {
    struct vsphere_fixture *f = *state;
    size_t before = vcsim_count_calls(&f->proxy, NULL);
    MUST(f, driver->start(f->hv, &machine.spec, in_time(f), &f->err));
    assert_int_equal(vcsim_count_calls(&f->proxy, NULL) - before, 2);
}

/* The task at its beginning, and once more when it is on the list; the machine once. */
static void start_that_takes_seconds_reads_three_times(void **state) {
    struct vsphere_fixture *f = *state;
    size_t before = vcsim_count_calls(&f->proxy, "RetrievePropertiesEx");
    vcsim_control(&f->proxy, "PowerOnVM_Task task running=6000\n");
    MUST(f, driver->start(f->hv, &machine.spec, in_time(f), &f->err));
    assert_int_equal(vcsim_count_calls(&f->proxy, "RetrievePropertiesEx") - before, 3);
    assert_int_equal(vcsim_count_calls(&f->proxy, "CreatePropertyCollector"), 1);
    assert_int_equal(vcsim_count_calls(&f->proxy, "CreateFilter"), 1);
}

static void a_question_ends_a_start_that_stands_still(void **state) {
    struct vsphere_fixture *f = *state;
    vcsim_control(&f->proxy,
                  "PowerOnVM_Task task running=forever\nquestion box.vm-* \"The disk is full.\" Retry Abort\n");
    MUST_FAIL(f, driver->start(f->hv, &machine.spec, in_time(f), &f->err), ERR_CONFLICT,
              "until somebody answers: The disk is full.", "govc vm.question");
    assert_false(f->err.retry); /* it would ask the same again */
    vcsim_control(&f->proxy, "");
    MUST(f, driver->start(f->hv, &machine.spec, in_time(f), &f->err));
}

static void question_that_comes_later_ends_a_start_at_once(void **state) {
    struct vsphere_fixture *f = *state;
    size_t before = vcsim_count_calls(&f->proxy, "CancelTask");
    vcsim_control(&f->proxy, "PowerOnVM_Task task running=forever\n"
                             "question box.vm-* \"The disk is full.\" Retry Abort from=1500\n");
    MUST_FAIL(f, driver->start(f->hv, &machine.spec, in_time(f), &f->err), ERR_CONFLICT,
              "until somebody answers: The disk is full.", "govc vm.question -vm box.vm-");
    assert_string_equal(f->err.subject, "box/vm");
    assert_int_equal(vcsim_count_calls(&f->proxy, "CancelTask") - before, 1);
}

#define test(name) cmocka_unit_test_setup(name, switch_off)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(start_of_which_the_task_ends_at_once_costs_two_round_trips),
        test(start_that_takes_seconds_reads_three_times),
        test(a_question_ends_a_start_that_stands_still),
        test(question_that_comes_later_ends_a_start_at_once),
    };
    return cmocka_run_group_tests_name("vsphere power", tests, set_up, tear_down);
}
