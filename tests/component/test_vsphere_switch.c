/* Port groups of the lab's own: which switch they are made on, how they go, and how those of any lab are found. */
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

/* --- those of all labs --- */

static void take_network(void *data, const char *name, const char *lab_digits) {
    buffer_printf(data, "%s of %s\n", name, lab_digits);
}

static void assert_networks(struct vsphere_fixture *f, const char *expected) {
    cleanup_buffer struct buffer text = {0};
    MUST(f, driver->networks(f->hv, take_network, &text, in_time(f), &f->err));
    assert_string_equal(buffer_str(&text), expected);
}

static void remove_network(struct vsphere_fixture *f, const char *name) {
    MUST(f, driver->remove_network(f->hv, name, in_time(f), &f->err));
}

/* What there is of the switch's and hosts' port groups, as govc tells it: a name per line. */
static char *all_groups(struct vsphere_fixture *f) {
    return vcsim_run(&f->vcsim, "govc find / -type g\n"
                                "for host in $(govc find / -type h); do\n"
                                "govc host.portgroup.info -json -host $host | jq -r '.Portgroup[].Spec.Name'; done");
}

static void assert_groups(struct vsphere_fixture *f, const char *name, bool there) {
    cleanup_free char *all = all_groups(f);
    if ((strstr(all, name) != NULL) != there)
        fail_msg("%s %s: %s", name, there ? "is gone" : "is still there", all);
}

static void those_of_other_labs_are_found_by_name_and_description_alone(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, "inventory.switch=/DC0/network/DVS0");
    MUST(f, make(f));
    free(vcsim_run(&f->vcsim, "for name in nestor-gone-89abcdef nestor-gone-89ABCDEF nestor-gone-89abcde "
                              "nestor-gone-89abcdef0 nestor-Gone-89abcdef nestor--89abcdef nestor-89abcdef "
                              "gone-89abcdef nestor-gone-89abcdef-x; do\n"
                              "govc host.portgroup.add -host DC0_C0_H1 -vswitch vSwitch0 $name; done\n"
                              "govc dvs.portgroup.add -dvs /DC0/network/DVS0 nestor-theirs-89abcdef"));
    VSPHERE_OPEN(f);
    assert_networks(f, "nestor-box-01234567 of 01234567\nnestor-gone-89abcdef of 89abcdef\n");
    remove_network(f, "nestor-theirs-89abcdef");
    remove_network(f, "nestor-Gone-89abcdef");
    remove_network(f, "VM Network");
    assert_groups(f, "nestor-theirs-89abcdef", true);
    assert_groups(f, "nestor-Gone-89abcdef", true);
    assert_groups(f, "VM Network", true);
    for (int twice = 0; twice < 2; twice++) {
        remove_network(f, "nestor-box-01234567");
        remove_network(f, "nestor-gone-89abcdef");
        assert_networks(f, "");
    }
    assert_groups(f, "nestor-box-01234567", false);
    assert_groups(f, "nestor-gone-89abcdef\n", false);
}

/* Nobody has to say for this which datacenter, which cluster: neither can be guessed here. */
static void they_are_found_in_every_datacenter_and_on_every_host(void **state) {
    (void)state;
    struct vsphere_fixture f;
    vsphere_fixture_start(
        &f, false,
        "govc datacenter.create DC1\n"
        "govc cluster.create -folder /DC1/host C1\n"
        "for n in 1 2; do\n"
        "govc cluster.add -cluster /DC1/host/C1 -hostname far$n -username u -password p -noverify\n"
        "done\n"
        "govc host.portgroup.add -host /DC1/host/C1/far1 -vswitch vSwitch0 nestor-gone-89abcdef\n"
        "govc host.portgroup.add -host /DC0/host/DC0_C0/DC0_C0_H2 -vswitch vSwitch0 nestor-gone-89abcdef\n",
        NULL);
    VSPHERE_OPEN(&f);
    assert_networks(&f, "nestor-gone-89abcdef of 89abcdef\n");
    VSPHERE_OPEN(&f, "inventory.datacenter=DC0", "inventory.host=DC0_C0_H0");
    assert_networks(&f, "nestor-gone-89abcdef of 89abcdef\n");
    remove_network(&f, "nestor-gone-89abcdef");
    assert_groups(&f, "nestor-gone", false);
    assert_int_equal(vcsim_count_calls(&f.proxy, "RemovePortGroup"), 2);
    vsphere_fixture_stop(&f);
}

static void a_bare_esxi_tells_its_own(void **state) {
    (void)state;
    struct vsphere_fixture f;
    vsphere_fixture_start(&f, true, "govc host.portgroup.add -vswitch vSwitch0 nestor-gone-89abcdef", NULL);
    VSPHERE_OPEN(&f);
    assert_networks(&f, "nestor-gone-89abcdef of 89abcdef\n");
    remove_network(&f, "nestor-gone-89abcdef");
    assert_networks(&f, "");
    vsphere_fixture_stop(&f);
}

static void hosts_are_asked_only_when_a_name_is_as_ours(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f);
    size_t views = vcsim_count_calls(&f->proxy, "CreateContainerView");
    size_t reads = vcsim_count_calls(&f->proxy, "RetrievePropertiesEx");
    assert_networks(f, "");
    assert_int_equal(vcsim_count_calls(&f->proxy, "CreateContainerView"), views + 1);
    assert_int_equal(vcsim_count_calls(&f->proxy, "RetrievePropertiesEx"), reads + 1);
}

static void one_of_another_lab_that_is_in_use_stays(void **state) {
    struct vsphere_fixture *f = *state;
    static const struct {
        const char *make, *name, *rule;
    } kinds[] = {
        {"govc host.portgroup.add -host DC0_C0_H1 -vswitch vSwitch0 nestor-used-89abcdef", "nestor-used-89abcdef",
         "RemovePortGroup fault=ResourceInUse\n"},
        {":", "nestor-box-01234567", "Destroy_Task task fault=ResourceInUse\n"},
    };
    VSPHERE_OPEN(f, "inventory.switch=/DC0/network/DVS0");
    MUST(f, make(f));
    VSPHERE_OPEN(f);
    f->hv->release_ms = 10;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        cleanup_free char *words = xasprintf("removing the network %s", kinds[i].name);
        free(vcsim_run(&f->vcsim, kinds[i].make));
        vcsim_control(&f->proxy, kinds[i].rule);
        MUST_FAIL(f, driver->remove_network(f->hv, kinds[i].name, in_time(f), &f->err), ERR_LOCKED, "ResourceInUse",
                  "put what is still connected");
        assert_string_equal(f->err.context, words);
        assert_string_equal(f->err.subject, "host vc");
        assert_groups(f, kinds[i].name, true);
        vcsim_control(&f->proxy, "");
        remove_network(f, kinds[i].name);
        assert_groups(f, kinds[i].name, false);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_that_two_switches_have_is_refused),
        cmocka_unit_test(a_path_tells_which_switch_is_meant),
        cmocka_unit_test(a_trunk_is_no_vlan_of_a_distributed_switch),
        cmocka_unit_test(a_port_group_that_is_released_late_goes_all_the_same),
        cmocka_unit_test(one_that_somebody_else_is_on_is_told),
        cmocka_unit_test(hosts_are_asked_only_when_a_name_is_as_ours),
        cmocka_unit_test(those_of_other_labs_are_found_by_name_and_description_alone),
        cmocka_unit_test(they_are_found_in_every_datacenter_and_on_every_host),
        cmocka_unit_test(a_bare_esxi_tells_its_own),
        cmocka_unit_test(one_of_another_lab_that_is_in_use_stays),
    };
    return cmocka_run_group_tests_name("vsphere switch", tests, set_up, vsphere_fixture_end);
}
