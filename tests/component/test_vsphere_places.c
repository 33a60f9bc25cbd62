/* Where machines go: names, inventory paths, defaults; and what is said when there is no such place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/vsphere/vsphere.h"
#include "vsphere_fixture.h"

static const struct driver *const driver = &vsphere_driver;

static const char inventory[] = "vcsim_template gh-template\n"
                                "govc folder.create /DC0/vm/labs\n"
                                "govc folder.create /DC0/vm/labs/deep\n"
                                "govc cluster.create -dc DC0 C1\n"
                                "govc pool.create /DC0/host/DC0_C0/Resources/course\n"
                                "govc datacenter.create DC1\n";

static int set_up(void **state) {
    static struct vsphere_fixture f;
    vsphere_fixture_start(&f, false, inventory, NULL);
    *state = &f;
    return 0;
}

/* check is what finds all places, before anything is made. */
static int check(struct vsphere_fixture *f) {
    struct capability c = {0};
    return driver->check(f->hv, &c, in_time(f), &f->err);
}

static void where_nothing_is_named_the_only_one_counts(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f);
    MUST_FAIL(f, check(f), ERR_CONFLICT, "it has 2 datacenters, and the lab file does not say which",
              "say inventory.datacenter; there are: DC0, DC1");
    assert_string_equal(f->err.subject, "host vc");
    VSPHERE_OPEN(f, "inventory.datacenter=DC0");
    MUST_FAIL(f, check(f), ERR_CONFLICT, "it has 2 clusters, and the lab file does not say which",
              "say inventory.cluster; there are: DC0_C0, C1");
    VSPHERE_OPEN(f, "inventory.datacenter=DC1");
    MUST_FAIL(f, check(f), ERR_NOT_FOUND, "it has no cluster", "may see");
    VSPHERE_OPEN(f, "inventory.datacenter=/DC0", "inventory.cluster=DC0_C0");
    MUST(f, check(f));
}

static void the_nearest_name_is_told_first(void **state) {
    struct vsphere_fixture *f = *state;
#define DC "inventory.datacenter=DC0", "inventory.cluster=DC0_C0"
    VSPHERE_OPEN(f, "inventory.datacenter=DC3");
    MUST_FAIL(f, check(f), ERR_NOT_FOUND, "there is no datacenter 'DC3'", "there are: DC0, DC1");
    VSPHERE_OPEN(f, "inventory.datacenter=DC0", "inventory.cluster=DC0_C9");
    MUST_FAIL(f, check(f), ERR_NOT_FOUND, "there is no cluster 'DC0_C9'", "there are: DC0_C0, C1");
    VSPHERE_OPEN(f, DC, "inventory.datastore=LocalDS_O");
    MUST_FAIL(f, check(f), ERR_NOT_FOUND, "there is no datastore 'LocalDS_O'", "there are: LocalDS_0");
    VSPHERE_OPEN(f, DC, "inventory.folder=/DC0/vm/lab");
    MUST_FAIL(f, check(f), ERR_NOT_FOUND, "there is no folder '/DC0/vm/lab'", "there are: labs, ");
    VSPHERE_OPEN(f, DC, "inventory.network=VM Netwrk");
    MUST_FAIL(f, check(f), ERR_NOT_FOUND, "there is no network 'VM Netwrk'", "there are: VM Network, ");
    VSPHERE_OPEN(f, "inventory.datacenter=DC0", "inventory.host=DC0_C0_H7");
    MUST_FAIL(f, check(f), ERR_NOT_FOUND, "there is no host 'DC0_C0_H7'", "there are: DC0_C0_H");
    VSPHERE_OPEN(f, "inventory.datacenter=DC0", "inventory.resource-pool=curse");
    MUST_FAIL(f, check(f), ERR_NOT_FOUND, "there is no resource pool 'curse'", "there are: course, Resources");
}

/* A folder must not be taken for a datastore only because its path was given. */
static void a_path_to_something_else_does_not_count(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, DC, "inventory.datastore=/DC0/vm/labs");
    MUST_FAIL(f, check(f), ERR_NOT_FOUND, "there is no datastore '/DC0/vm/labs'", "there are: LocalDS_0");
}

static void assert_goes_to(struct vsphere_fixture *f, const char *path) {
    struct vsphere_machine m;
    MUST(f, check(f));
    MUST(f, driver->create(f->hv, &vsphere_machine_init(&m, "vm", "/DC0/vm/gh-template")->spec, in_time(f), &f->err));
    cleanup_free char *where = vcsim_run(&f->vcsim, "vm_paths | grep box.vm-");
    if (!strstr(where, path))
        fail_msg("it is at %s, expected %s", where, path);
    MUST(f, driver->remove(f->hv, &m.spec.tag, in_time(f), &f->err));
}

static void machines_go_where_names_and_paths_say(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, DC);
    assert_goes_to(f, "/DC0/vm/box.vm-01234567");
    VSPHERE_OPEN(f, DC, "inventory.folder=labs");
    assert_goes_to(f, "/DC0/vm/labs/box.vm-01234567");
    VSPHERE_OPEN(f, DC, "inventory.folder=/DC0/vm/labs/deep");
    assert_goes_to(f, "/DC0/vm/labs/deep/box.vm-01234567");
    VSPHERE_OPEN(f, DC, "inventory.folder=deep");
    assert_goes_to(f, "/DC0/vm/labs/deep/box.vm-01234567");
}

static void pools_and_hosts_take_the_place_of_a_cluster(void **state) {
    struct vsphere_fixture *f = *state;
    struct vsphere_machine m;
    struct capability c = {0};
    VSPHERE_OPEN(f, "inventory.datacenter=DC0", "inventory.resource-pool=/DC0/host/DC0_C0/Resources/course");
    MUST(f, driver->create(f->hv, &vsphere_machine_init(&m, "vm", "gh-template")->spec, in_time(f), &f->err));
    cleanup_free char *pool = vcsim_run(&f->vcsim, "govc object.collect -s /DC0/vm/box.vm-01234567 resourcePool\n"
                                                   "govc find -i / -type p -name course");
    char *line = strchr(pool, '\n');
    assert_non_null(line);
    assert_memory_equal(pool, line + 1, (size_t)(line - pool));
    MUST(f, driver->remove(f->hv, &m.spec.tag, in_time(f), &f->err));
    VSPHERE_OPEN(f, "inventory.datacenter=DC0", "inventory.host=DC0_C0_H1");
    MUST(f, driver->check(f->hv, &c, in_time(f), &f->err));
    assert_int_equal(c.parallel, 16); /* one host only */
    MUST(f, driver->create(f->hv, &m.spec, in_time(f), &f->err));
    json_t *calls = vcsim_calls(&f->proxy, "CloneVM_Task");
    cleanup_free char *call = json_dumps(json_array_get(calls, json_array_size(calls) - 1), 0);
    assert_non_null(strstr(call, "HostSystem"));
    json_decref(calls);
    MUST(f, driver->remove(f->hv, &m.spec.tag, in_time(f), &f->err));
}

/* Nothing is looked up that is not needed: the folder may be long gone. */
static void taking_away_needs_no_places(void **state) {
    struct vsphere_fixture *f = *state;
    struct vsphere_machine m;
    struct observation *o = NULL;
    VSPHERE_OPEN(f, DC);
    MUST(f, driver->create(f->hv, &vsphere_machine_init(&m, "vm", "gh-template")->spec, in_time(f), &f->err));
    VSPHERE_OPEN(f, "inventory.datacenter=gone", "inventory.cluster=gone", "inventory.folder=gone",
                 "inventory.datastore=gone", "inventory.network=gone");
    MUST(f, driver->observe(f->hv, FIXTURE_LAB, &o, in_time(f), &f->err));
    assert_int_equal(o->n, 1);
    assert_int_equal(o->parallel, 0); /* not known */
    observation_free(o);
    MUST(f, driver->remove(f->hv, &m.spec.tag, in_time(f), &f->err));
    MUST(f, driver->prune(f->hv, in_time(f), &f->err));
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box."), 0);
}

/* --- what a host says of itself --- */

static int check_into(struct vsphere_fixture *f, struct capability *c, const char *control) {
    *c = (struct capability){0};
    vcsim_control(&f->proxy, control);
    VSPHERE_OPEN(f, DC, "inventory.datastore=LocalDS_0");
    return driver->check(f->hv, c, in_time(f), &f->err);
}

static void hosts_are_added_up(void **state) {
    struct vsphere_fixture *f = *state;
    struct capability all, two, one;
    MUST(f, check_into(f, &all, ""));
    assert_true(all.can_nest);
    assert_string_equal(all.flag, "vmx");
    assert_non_null(strstr(all.detail, "does not tell"));
    assert_int_equal(all.parallel, 48);
    assert_true(all.memory_free > (uint64_t)1 << 30 && all.memory_free != UINT64_MAX);
    assert_true(all.disk_free > 0 && all.disk_free != UINT64_MAX);
    assert_int_equal(all.machine_cpus, 2); /* of one host, not of all */
    assert_in_range(all.machine_memory, all.memory_free / 3, all.memory_free - 1);
    MUST(f, check_into(f, &two, "set HostSystem DC0_C0_H0 runtime.inMaintenanceMode true\n"));
    assert_int_equal(two.parallel, 32);
    assert_int_equal(two.memory_free, all.memory_free / 3 * 2);
    MUST(f, check_into(f, &one,
                       "set HostSystem DC0_C0_H0 runtime.inMaintenanceMode true\n"
                       "set HostSystem DC0_C0_H1 runtime.connectionState notResponding\n"
                       "set HostSystem DC0_C0_H2 summary.hardware.cpuModel 'AMD EPYC 7302'\n"));
    assert_int_equal(one.parallel, 16);
    assert_string_equal(one.flag, "svm");
}

static void observing_tells_what_the_hosts_take_at_once(void **state) {
    struct vsphere_fixture *f = *state;
    struct observation *o = NULL;
    vcsim_control(&f->proxy, "set HostSystem DC0_C0_H0 runtime.inMaintenanceMode true\n");
    VSPHERE_OPEN(f, DC);
    MUST(f, driver->observe(f->hv, FIXTURE_LAB, &o, in_time(f), &f->err));
    assert_int_equal(o->parallel, 32);
    observation_free(o);
    vcsim_control(&f->proxy, "");
}

static void hosts_that_cannot_nest_are_told(void **state) {
    struct vsphere_fixture *f = *state;
    struct capability c;
    MUST(f, check_into(f, &c, "set HostSystem * capability.nestedHVSupported true\n"));
    assert_true(c.can_nest);
    assert_non_null(strstr(c.detail, "3 of 3 hosts support nested virtualization"));
    MUST(f, check_into(f, &c,
                       "set HostSystem DC0_C0_H0 capability.nestedHVSupported false\n"
                       "set HostSystem DC0_C0_H1 capability.nestedHVSupported true\n"));
    assert_true(c.can_nest);
    MUST(f, check_into(f, &c, "set HostSystem * capability.nestedHVSupported false\n"));
    assert_false(c.can_nest);
    assert_string_equal(c.reason, "host-not-capable");
    assert_string_equal(c.flag, "");
    MUST(f, check_into(f, &c, "set HostSystem * runtime.connectionState disconnected\n"));
    assert_false(c.can_nest);
    assert_non_null(strstr(c.detail, "none of its 3 hosts is connected"));
    vcsim_control(&f->proxy, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_nothing_is_named_the_only_one_counts),
        cmocka_unit_test(the_nearest_name_is_told_first),
        cmocka_unit_test(a_path_to_something_else_does_not_count),
        cmocka_unit_test(machines_go_where_names_and_paths_say),
        cmocka_unit_test(pools_and_hosts_take_the_place_of_a_cluster),
        cmocka_unit_test(taking_away_needs_no_places),
        cmocka_unit_test(hosts_are_added_up),
        cmocka_unit_test(observing_tells_what_the_hosts_take_at_once),
        cmocka_unit_test(hosts_that_cannot_nest_are_told),
    };
    return cmocka_run_group_tests_name("vsphere places", tests, set_up, vsphere_fixture_end);
}
