/* What is cloned: finding it, its snapshot, and what a clone of it can be. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/vsphere/vsphere.h"
#include "vsphere_fixture.h"

static const struct driver *const driver = &vsphere_driver;

static struct vsphere_fixture *start(bool esx, const char *setup) {
    struct vsphere_fixture *f = xcalloc(1, sizeof *f);
    vsphere_fixture_start(f, esx, setup, NULL);
    VSPHERE_OPEN(f, "inventory.network=VM Network");
    return f;
}

static void stop(struct vsphere_fixture *f) {
    vsphere_fixture_stop(f);
    free(f);
}

static int create(struct vsphere_fixture *f, struct vsphere_machine *m) {
    return driver->create(f->hv, &m->spec, in_time(f), &f->err);
}

static const char *recorded(json_t *call, const char *words) {
    cleanup_free char *text = json_dumps(call, 0);
    return strstr(text, words) ? words : NULL;
}

/* --- its name --- */

static int ensure(struct vsphere_fixture *f, char *name) {
    const struct image image = {.name = name};
    return driver->ensure_image(f->hv, &image, NULL, NULL, in_time(f), &f->err);
}

static void a_template_is_found_by_name_and_by_path(void **state) {
    (void)state;
    char name[] = "gh-template", path[] = "/DC0/vm/golden/inner", inner[] = "inner", wrong[] = "gh-tmplate";
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template\n"
                                             "govc folder.create /DC0/vm/golden\n"
                                             "govc vm.clone -vm gh-template -on=false -folder /DC0/vm/golden inner\n");
    MUST(f, ensure(f, name));
    MUST(f, ensure(f, path));
    MUST(f, ensure(f, inner));
    MUST_FAIL(f, ensure(f, wrong), ERR_NOT_FOUND, "there is no template 'gh-tmplate'", "there are: gh-template, ");
    assert_string_equal(f->err.subject, "host vc");
    free(vcsim_run(&f->vcsim, "govc vm.clone -vm gh-template -on=false -folder /DC0/vm/golden twice\n"
                              "govc folder.create /DC0/vm/silver\n"
                              "govc vm.clone -vm gh-template -on=false -folder /DC0/vm/silver other\n"
                              "govc object.rename /DC0/vm/silver/other twice\n"));
    char twice[] = "twice";
    MUST_FAIL(f, ensure(f, twice), ERR_CONFLICT, "there are 2 templates 'twice'", "inventory path");
    stop(f);
}

/* --- the snapshot --- */

static size_t snapshots(struct vsphere_fixture *f) {
    cleanup_free char *n = vcsim_run(&f->vcsim, "govc snapshot.tree -vm gh-template | grep -c nestor-base || :");
    return strtoul(n, NULL, 10);
}

static void one_snapshot_serves_all_clones_and_stays(void **state) {
    (void)state;
    struct vsphere_machine one, two;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    MUST(f, create(f, vsphere_machine_init(&one, "one", "gh-template")));
    VSPHERE_OPEN(f, "inventory.network=VM Network"); /* another handle finds it there */
    MUST(f, create(f, vsphere_machine_init(&two, "two", "gh-template")));
    assert_int_equal(snapshots(f), 1);
    assert_int_equal(vcsim_count_calls(&f->proxy, "CreateSnapshot_Task"), 1);
    json_t *clones = vcsim_calls(&f->proxy, "CloneVM_Task"), *clone;
    size_t i;
    assert_int_equal(json_array_size(clones), 2);
    json_array_foreach(clones, i, clone) {
        assert_non_null(recorded(clone, "createNewChildDiskBacking"));
        assert_non_null(recorded(clone, "VirtualMachineSnapshot"));
    }
    json_decref(clones);
    MUST(f, driver->remove(f->hv, &one.spec.tag, in_time(f), &f->err));
    MUST(f, driver->remove(f->hv, &two.spec.tag, in_time(f), &f->err));
    MUST(f, driver->prune(f->hv, in_time(f), &f->err));
    assert_int_equal(snapshots(f), 1);
    stop(f);
}

struct racer {
    struct vsphere_fixture *f;
    struct vsphere_machine machine;
    struct error err;
    int failed;
};

static void *race(void *data) {
    struct racer *r = data;
    struct context ctx = context_timeout(NULL, 10000);
    r->failed = driver->create(r->f->hv, &r->machine.spec, &ctx, &r->err);
    return NULL;
}

static void threads_that_need_it_at_once_make_one_snapshot(void **state) {
    (void)state;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    struct racer racers[8];
    pthread_t threads[8];
    vcsim_control(&f->proxy, "CreateSnapshot_Task task running=300\n");
    for (int i = 0; i < 8; i++) {
        char name[8];
        snprintf(name, sizeof name, "m%d", i);
        racers[i] = (struct racer){.f = f};
        vsphere_machine_init(&racers[i].machine, name, "gh-template");
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        if (racers[i].failed)
            fail_msg("%s: %s", racers[i].err.subject, racers[i].err.cause);
    }
    assert_int_equal(snapshots(f), 1);
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box.m"), 8);
    stop(f);
}

static void a_snapshot_whose_answer_is_lost_is_used_and_not_made_again(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    vcsim_control(&f->proxy, "CreateSnapshot_Task after reset times=1\n");
    assert_int_equal(create(f, vsphere_machine_init(&m, "one", "gh-template")), -1);
    assert_true(f->err.retry);
    MUST(f, create(f, &m));
    assert_int_equal(snapshots(f), 1);
    stop(f);
}

static void a_marked_template_needs_a_snapshot_or_a_full_clone(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template template");
    vsphere_machine_init(&m, "one", "gh-template");
    MUST_FAIL(f, create(f, &m), ERR_UNSUPPORTED, "template 'gh-template' has no snapshot, and of a template none can",
              "or say clone: full");
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box."), 0);
    m.spec.full_clone = true;
    MUST(f, create(f, &m));
    assert_int_equal(vcsim_count_calls(&f->proxy, "CreateSnapshot_Task"), 0);
    json_t *clones = vcsim_calls(&f->proxy, "CloneVM_Task");
    assert_non_null(recorded(json_array_get(clones, 0), "moveAllDiskBackingsAndDisallowSharing"));
    json_decref(clones);
    stop(f);
}

static void a_marked_template_is_cloned_from_the_snapshot_it_has(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template snapshot template");
    MUST(f, create(f, vsphere_machine_init(&m, "one", "gh-template")));
    assert_int_equal(vcsim_count_calls(&f->proxy, "CreateSnapshot_Task"), 0);
    json_t *clones = vcsim_calls(&f->proxy, "CloneVM_Task");
    assert_non_null(recorded(json_array_get(clones, 0), "createNewChildDiskBacking"));
    json_decref(clones);
    stop(f);
}

/* --- what a clone can be --- */

static void too_old_hardware_is_refused_before_anything_is_made(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template version=vmx-08");
    vsphere_machine_init(&m, "one", "gh-template")->spec.expose = true;
    MUST_FAIL(f, create(f, &m), ERR_NESTING, "has hardware version 8, and virtualization can be exposed from 9 on",
              "govc vm.upgrade -vm gh-template");
    assert_non_null(
        strstr(f->err.mend, "nestor-base, which has the old version (on an ESXi only when no clone is left)"));
    assert_string_equal(f->err.reason, "hardware-version");
    assert_string_equal(f->err.subject, "box/one");
    assert_int_equal(vcsim_count_calls(&f->proxy, "CloneVM_Task"), 0);
    m.spec.expose = false; /* a plain guest may be as old as it likes */
    MUST(f, create(f, &m));
    stop(f);
}

static void a_server_that_says_it_cannot_nest_is_believed(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    vcsim_control(&f->proxy, "set VirtualMachine gh-template capability.nestedHVSupported false\n");
    vsphere_machine_init(&m, "one", "gh-template")->spec.expose = true;
    MUST_FAIL(f, create(f, &m), ERR_NESTING, "cannot have nested virtualization", "nestor doctor");
    assert_string_equal(f->err.reason, "host-not-capable");
    assert_int_equal(vcsim_count_calls(&f->proxy, "CloneVM_Task"), 0);
    stop(f);
}

static void hardware_is_set_once_after_the_clone_while_it_is_off(void **state) {
    (void)state;
    struct vsphere_machine m;
    bool exposed = false;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    vsphere_machine_init(&m, "one", "gh-template")->spec.expose = true;
    MUST(f, create(f, &m));
    size_t before = vcsim_count_calls(&f->proxy, NULL);
    MUST(f, driver->expose(f->hv, &m.spec, true, &exposed, in_time(f), &f->err));
    assert_true(exposed);
    assert_int_equal(vcsim_count_calls(&f->proxy, NULL) - before, 2); /* it is read back with the task's end */
    json_t *calls = vcsim_calls(&f->proxy, "ReconfigVM_Task"), *clones = vcsim_calls(&f->proxy, "CloneVM_Task");
    assert_int_equal(json_array_size(calls), 1);
    json_t *call = json_array_get(calls, 0);
    assert_non_null(recorded(call, "nestedHVEnabled"));
    assert_non_null(recorded(call, "vhv.enable"));
    assert_non_null(recorded(call, "numCPUs"));
    assert_non_null(recorded(call, "memoryMB"));
    assert_null(recorded(json_array_get(clones, 0), "nestedHVEnabled"));
    json_decref(calls);
    json_decref(clones);
    cleanup_free char *seen = vcsim_run(&f->vcsim, "govc vm.info -json 'box.one-*' | jq -r '.VirtualMachines[0].Config "
                                                   "| \"\\(.Hardware.NumCPU) \\(.Hardware.MemoryMB) "
                                                   "\\(.NestedHVEnabled)\"'");
    assert_string_equal(seen, "2 96 true\n");
    stop(f);
}

static void a_setting_without_effect_is_reported_as_it_is(void **state) {
    (void)state;
    struct vsphere_machine m;
    bool exposed = true;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    vsphere_machine_init(&m, "one", "gh-template")->spec.expose = true;
    MUST(f, create(f, &m));
    vcsim_control(&f->proxy, "set VirtualMachine box.* config.nestedHVEnabled false\n");
    size_t before = vcsim_count_calls(&f->proxy, NULL);
    MUST(f, driver->expose(f->hv, &m.spec, true, &exposed, in_time(f), &f->err));
    assert_false(exposed);
    assert_int_equal(vcsim_count_calls(&f->proxy, NULL) - before, 3); /* and once more: that may have been too early */
    stop(f);
}

static void nesting_that_a_template_brings_along_is_switched_off(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template\n"
                                             "govc vm.change -vm gh-template -nested-hv-enabled=true");
    MUST(f, create(f, vsphere_machine_init(&m, "one", "gh-template")));
    struct observation *o = NULL;
    MUST(f, driver->observe(f->hv, FIXTURE_LAB, &o, in_time(f), &f->err));
    assert_int_equal(o->n, 1);
    assert_false(o->items[0].exposed);
    observation_free(o);
    stop(f);
}

/* --- disks --- */

static void a_linked_clone_keeps_the_size_of_its_disk(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template with-disk");
    vsphere_machine_init(&m, "one", "gh-template")->spec.disk = (uint64_t)64 << 30;
    MUST_FAIL(f, create(f, &m), ERR_UNSUPPORTED,
              "a linked clone's disk is as large as that of its template, 1MiB: it cannot grow", "clone: full");
    assert_int_equal(vcsim_count_calls(&f->proxy, "CloneVM_Task"), 0);
    m.spec.disk = 4096; /* smaller: it stays as it is */
    MUST(f, create(f, &m));
    stop(f);
}

static void the_disk_of_a_full_clone_grows(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template with-disk");
    vsphere_machine_init(&m, "one", "gh-template")->spec.disk = (uint64_t)64 << 30;
    m.spec.full_clone = true;
    vcsim_control(&f->proxy, "ReconfigVM_Task fault=NotSupported"); /* vcsim would take our edit for a new file */
    assert_int_equal(create(f, &m), -1);
    json_t *calls = vcsim_calls(&f->proxy, "ReconfigVM_Task");
    assert_non_null(recorded(json_array_get(calls, 0), "67108864"));
    json_decref(calls);
    stop(f);
}

static void a_full_clone_on_an_esxi_has_copies_of_the_disks(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(true, "vcsim_template gh-template with-disk");
    vsphere_machine_init(&m, "one", "gh-template")->spec.full_clone = true;
    MUST(f, create(f, &m));
    assert_int_equal(vcsim_count_calls(&f->proxy, "CopyVirtualDisk_Task"), 1);
    cleanup_free char *files =
        vcsim_run(&f->vcsim, "govc datastore.ls 'box.one-01234567'; govc device.ls -vm 'box.one-01234567'");
    assert_non_null(strstr(files, "disk-0.vmdk"));
    assert_non_null(strstr(files, "disk-"));
    json_t *calls = vcsim_calls(&f->proxy, "ReconfigVM_Task");
    assert_int_equal(json_array_size(calls), 2);                               /* the disks, the hardware */
    assert_null(recorded(json_array_get(calls, 0), "\"controllerKey\": \"-")); /* the server's keys, not ours */
    json_decref(calls);
    MUST(f, driver->remove(f->hv, &m.spec.tag, in_time(f), &f->err));
    cleanup_free char *left = vcsim_run(&f->vcsim, "govc datastore.ls");
    assert_null(strstr(left, "box."));
    stop(f);
}

static void a_controller_the_server_did_not_make_is_told(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(true, "vcsim_template gh-template with-disk");
    vcsim_control(&f->proxy, "set VirtualMachine box.* config.hardware.device absent\n");
    vsphere_machine_init(&m, "one", "gh-template")->spec.full_clone = true;
    MUST_FAIL(f, create(f, &m), ERR_PROTOCOL, "the server made it without its ParaVirtualSCSIController of bus 0", "");
    assert_string_equal(f->err.subject, "box/one");
    assert_int_equal(vcsim_count_calls(&f->proxy, "CopyVirtualDisk_Task"), 0);
    stop(f);
}

static void a_host_without_child_disks_copies_them(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct capability c = {0};
    struct vsphere_fixture *f = start(true, "vcsim_template gh-template with-disk");
    vcsim_control(&f->proxy, "set HostSystem * capability.deltaDiskBackingsSupported false\n");
    MUST(f, driver->check(f->hv, &c, in_time(f), &f->err));
    MUST(f, create(f, vsphere_machine_init(&m, "one", "gh-template")));
    assert_int_equal(vcsim_count_calls(&f->proxy, "CopyVirtualDisk_Task"), 1);
    stop(f);
}

/* What was asked of the host, one word each. */
static char *wire(struct vsphere_fixture *f, size_t from) {
    struct buffer words = {0};
    json_t *calls = vcsim_calls(&f->proxy, NULL), *call;
    size_t i;
    json_array_foreach(calls, i, call) {
        const char *method = json_string_value(json_object_get(call, "method"));
        bool refused = json_object_get(call, "fault") != NULL;
        if (i < from || !method)
            continue;
        if (strcmp(method, "CreateVM_Task") == 0)
            buffer_printf(&words, "%s%s ", refused ? "refused-" : "", recorded(call, "\"parent\"") ? "child" : "empty");
        else if (strcmp(method, "CopyVirtualDisk_Task") == 0)
            buffer_printf(&words, "copy ");
    }
    json_decref(calls);
    char *all = xstrdup(buffer_str(&words));
    buffer_free(&words);
    return all;
}

static void assert_wire(struct vsphere_fixture *f, size_t from, const char *expected) {
    cleanup_free char *seen = wire(f, from);
    assert_string_equal(seen, expected);
}

static void a_host_that_refuses_child_disks_is_asked_once_and_copies_them(void **state) {
    (void)state;
    static const char *const faults[] = {"NotSupported", "DeltaDiskFormatNotSupported", "InvalidDeviceBacking",
                                         "DeviceBackingNotSupported", "DiskNotSupported"};
    struct vsphere_fixture *f = start(true, "vcsim_template gh-template with-disk");
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct vsphere_machine one, two;
        struct capability c = {0};
        cleanup_free char *rule = xasprintf("CreateVM_Task match='<parent>' fault=%s\n", faults[i]);
        VSPHERE_OPEN(f, "inventory.network=VM Network");
        vcsim_control(&f->proxy, rule);
        size_t before = vcsim_count_calls(&f->proxy, NULL);
        MUST(f, create(f, vsphere_machine_init(&one, "one", "gh-template")));
        MUST(f, driver->check(f->hv, &c, in_time(f), &f->err)); /* which does not know better */
        MUST(f, create(f, vsphere_machine_init(&two, "two", "gh-template")));
        assert_wire(f, before, "refused-child empty copy empty copy ");
        MUST(f, driver->start(f->hv, &one.spec, in_time(f), &f->err));
        MUST(f, driver->remove(f->hv, &one.spec.tag, in_time(f), &f->err));
        MUST(f, driver->remove(f->hv, &two.spec.tag, in_time(f), &f->err));
        cleanup_free char *left = vcsim_run(&f->vcsim, "govc datastore.ls; govc datastore.ls ha-host_VM0");
        assert_null(strstr(left, "box."));
        assert_non_null(strstr(left, "disk1.vmdk"));
    }
    stop(f);
}

static void what_is_refused_for_another_reason_is_no_reason_to_copy(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(true, "vcsim_template gh-template with-disk");
    vsphere_machine_init(&m, "one", "gh-template");
    vcsim_control(&f->proxy, "CreateVM_Task fault=InvalidDeviceSpec\n");
    MUST_FAIL(f, create(f, &m), ERR_USAGE, "InvalidDeviceSpec", "");
    vcsim_control(&f->proxy, "CreateVM_Task fault=NotSupported\n");
    MUST_FAIL(f, create(f, &m), ERR_UNSUPPORTED, "NotSupported", "");
    vcsim_control(&f->proxy, "");
    MUST(f, create(f, &m));
    assert_wire(f, 0, "refused-child refused-child refused-empty child ");
    stop(f);
}

static void a_linked_clone_on_an_esxi_is_a_child_of_the_templates_disk(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(true, "vcsim_template gh-template with-disk");
    MUST(f, create(f, vsphere_machine_init(&m, "one", "gh-template")));
    json_t *calls = vcsim_calls(&f->proxy, "CreateVM_Task"), *call = json_array_get(calls, 0);
    assert_int_equal(json_array_size(calls), 1);
    assert_non_null(recorded(call, "parent"));
    assert_non_null(recorded(call, "[LocalDS_0] ha-host_VM0/disk1.vmdk"));
    json_decref(calls);
    MUST(f, driver->remove(f->hv, &m.spec.tag, in_time(f), &f->err));
    cleanup_free char *left = vcsim_run(&f->vcsim, "govc datastore.ls; govc datastore.ls ha-host_VM0");
    assert_null(strstr(left, "box."));
    assert_non_null(strstr(left, "disk1.vmdk"));
    assert_int_equal(vcsim_count_calls(&f->proxy, "Destroy_Task"), 0);
    stop(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_template_is_found_by_name_and_by_path),
        cmocka_unit_test(one_snapshot_serves_all_clones_and_stays),
        cmocka_unit_test(threads_that_need_it_at_once_make_one_snapshot),
        cmocka_unit_test(a_snapshot_whose_answer_is_lost_is_used_and_not_made_again),
        cmocka_unit_test(a_marked_template_needs_a_snapshot_or_a_full_clone),
        cmocka_unit_test(a_marked_template_is_cloned_from_the_snapshot_it_has),
        cmocka_unit_test(too_old_hardware_is_refused_before_anything_is_made),
        cmocka_unit_test(a_server_that_says_it_cannot_nest_is_believed),
        cmocka_unit_test(hardware_is_set_once_after_the_clone_while_it_is_off),
        cmocka_unit_test(a_setting_without_effect_is_reported_as_it_is),
        cmocka_unit_test(nesting_that_a_template_brings_along_is_switched_off),
        cmocka_unit_test(a_linked_clone_keeps_the_size_of_its_disk),
        cmocka_unit_test(the_disk_of_a_full_clone_grows),
        cmocka_unit_test(a_full_clone_on_an_esxi_has_copies_of_the_disks),
        cmocka_unit_test(a_controller_the_server_did_not_make_is_told),
        cmocka_unit_test(a_host_without_child_disks_copies_them),
        cmocka_unit_test(a_host_that_refuses_child_disks_is_asked_once_and_copies_them),
        cmocka_unit_test(what_is_refused_for_another_reason_is_no_reason_to_copy),
        cmocka_unit_test(a_linked_clone_on_an_esxi_is_a_child_of_the_templates_disk),
    };
    return cmocka_run_group_tests_name("vsphere template", tests, NULL, NULL);
}
