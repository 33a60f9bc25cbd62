/* Port groups of the lab's own: which switch they are made on, and how they go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/vsphere/vsphere.h"
#include "drivers/vsphere/vsphere_priv.h"
#include "vsphere_fixture.h"

static const struct driver *const driver = &vsphere_driver;

static int set_up(void **state) {
    static struct vsphere_fixture f;
    vsphere_fixture_start(&f, false,
                          "govc folder.create /DC0/network/other\n"
                          "govc dvs.create -folder /DC0/network/other DVS0\n",
                          NULL);
    *state = &f;
    return 0;
}

static int make(struct vsphere_fixture *f) { return driver->ensure_network(f->hv, in_time(f), &f->err); }
static int prune(struct vsphere_fixture *f) { return driver->prune(f->hv, in_time(f), &f->err); }

/* --- which switch --- */

static char *switch_of_last_group(struct vsphere_fixture *f) {
    json_t *calls = vcsim_calls(&f->proxy, "AddDVPortgroup_Task");
    json_t *last = json_array_get(calls, json_array_size(calls) - 1);
    char *name = xstrdup(json_string_value(json_object_get(last, "this")));
    json_decref(calls);
    return name;
}

static void a_name_that_two_switches_have_is_refused(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, "inventory.switch=DVS0");
    MUST_FAIL(f, make(f), ERR_CONFLICT, "there are 2 distributed switches 'DVS0'", "say which by its inventory path");
}

static void a_path_tells_which_switch_is_meant(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, "inventory.switch=/DC0/network/DVS0");
    MUST(f, make(f));
    cleanup_free char *first = switch_of_last_group(f);
    MUST(f, prune(f));
    VSPHERE_OPEN(f, "inventory.switch=other/DVS0");
    MUST(f, make(f));
    cleanup_free char *second = switch_of_last_group(f);
    MUST(f, prune(f));
    assert_string_not_equal(first, second);
    VSPHERE_OPEN(f, "inventory.switch=/DC0/network/nowhere/DVS0");
    MUST_FAIL(f, make(f), ERR_NOT_FOUND, "", "there is no switch '/DC0/network/nowhere/DVS0' on every host");
}

static void a_trunk_is_no_vlan_of_a_distributed_switch(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, "inventory.switch=/DC0/network/DVS0", "inventory.vlan=4095");
    MUST_FAIL(f, make(f), ERR_SPEC, "inventory.vlan 4095 is for standard switches", "a VLAN from 1 to 4094");
}

/* --- their end --- */

static void a_port_group_that_is_released_late_goes_all_the_same(void **state) {
    struct vsphere_fixture *f = *state;
    static const struct {
        const char *vswitch, *method, *rule;
    } kinds[] = {
        {"inventory.switch=/DC0/network/DVS0", "Destroy_Task", "Destroy_Task task fault=ResourceInUse times=1\n"},
        {"inventory.switch=vSwitch0", "RemovePortGroup", "RemovePortGroup fault=ResourceInUse times=1\n"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        VSPHERE_OPEN(f, kinds[i].vswitch);
        MUST(f, make(f));
        size_t before = vcsim_count_calls(&f->proxy, kinds[i].method);
        vcsim_control(&f->proxy, kinds[i].rule);
        MUST(f, prune(f));
        assert_true(vcsim_count_calls(&f->proxy, kinds[i].method) > before + 1);
        cleanup_free char *left = vcsim_run(&f->vcsim, "govc find / -type n; govc find / -type g");
        assert_null(strstr(left, "nestor-box"));
        vcsim_control(&f->proxy, "");
    }
}

static void one_that_somebody_else_is_on_is_told(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, "inventory.switch=/DC0/network/DVS0");
    MUST(f, make(f));
    f->hv->release_ms = 10;
    vcsim_control(&f->proxy, "Destroy_Task task fault=ResourceInUse\n");
    MUST_FAIL(f, prune(f), ERR_LOCKED, "ResourceInUse", "put what is still connected");
    assert_false(f->err.retry);
    vcsim_control(&f->proxy, "");
    MUST(f, prune(f));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_that_two_switches_have_is_refused),
        cmocka_unit_test(a_path_tells_which_switch_is_meant),
        cmocka_unit_test(a_trunk_is_no_vlan_of_a_distributed_switch),
        cmocka_unit_test(a_port_group_that_is_released_late_goes_all_the_same),
        cmocka_unit_test(one_that_somebody_else_is_on_is_told),
    };
    return cmocka_run_group_tests_name("vsphere switch", tests, set_up, vsphere_fixture_end);
}
