/* What a clone takes from its template, whose a name is, and whose tasks are waited for. */
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

static int no_rules(void **state) {
    struct vsphere_fixture *f = *state;
    vcsim_control(&f->proxy, "");
    return 0;
}

static int create(struct vsphere_fixture *f, const char *name) {
    struct vsphere_machine m;
    return driver->create(f->hv, &vsphere_machine_init(&m, name, "gh-template")->spec, in_time(f), &f->err);
}

static int take_away(struct vsphere_fixture *f, const char *name) {
    struct vsphere_machine m;
    return driver->remove(f->hv, &vsphere_machine_init(&m, name, "gh-template")->spec.tag, in_time(f), &f->err);
}

/* --- a name that is taken --- */

static void a_folder_of_its_name_is_told_at_once(void **state) {
    struct vsphere_fixture *f = *state;
    free(vcsim_run(&f->vcsim, "govc folder.create /DC0/vm/box.folder-01234567\n"));
    VSPHERE_OPEN(f);
    MUST_FAIL(f, create(f, "folder"), ERR_EXISTS,
              "there is a folder named box.folder-01234567 in the folder, and it is not nestor's",
              "rename that folder");
    assert_string_equal(f->err.subject, "box/folder");
}

static void a_vm_of_its_name_that_may_not_be_read_is_told_at_once(void **state) {
    struct vsphere_fixture *f = *state;
    free(vcsim_run(&f->vcsim, "govc vm.clone -vm gh-template -on=false box.hidden-01234567\n"));
    VSPHERE_OPEN(f);
    vcsim_control(
        &f->proxy,
        "RetrieveProperties* fault=NoPermission "
        "match='<type>VirtualMachine</type><all>false</all><pathSet>config.instanceUuid</pathSet></propSet>'\n");
    MUST_FAIL(f, create(f, "hidden"), ERR_EXISTS, "there is a VM named box.hidden-01234567", "rename that VM");
}

static void a_name_that_nothing_visible_has_is_not_waited_for_for_long(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f);
    f->hv->unseen_ms = 1500;
    vcsim_control(&f->proxy, "CloneVM_Task fault=DuplicateName\n");
    MUST_FAIL(f, create(f, "nowhere"), ERR_EXISTS,
              "the name box.nowhere-01234567 is taken in the folder by something " VCSIM_USER " may not see",
              "rename that");
}

static void what_is_still_being_made_is_waited_for_however_long(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f);
    f->hv->unseen_ms = 1;
    vcsim_control(&f->proxy, "CloneVM_Task after reset task running=1500 times=1\n"
                             "CloneVM_Task task fault=DuplicateName times=1\n");
    for (int tries = 0; create(f, "late"); tries++) /* as a step does */
        if (tries == 2 || !f->err.retry)
            fail_msg("%s", f->err.cause);
    assert_true(vcsim_count_calls(&f->proxy, "FindChild") > 0);
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box.late-"), 1);
    MUST(f, take_away(f, "late"));
}

/* --- who makes something --- */

/* A task of that user's makes a VM and does not end. */
static void begin_making(struct vsphere_fixture *f, const char *user) {
    struct moref folder, task;
    cleanup_free char *rule = xasprintf("CreateVM_Task task running=forever user=%s\n", user);
    MUST(f, vsphere_place(f->hv, PLACE_FOLDER, &folder, in_time(f), &f->err));
    struct soap_request *r = soap_new("CreateVM_Task", &folder);
    vcsim_control(&f->proxy, rule);
    MUST(f, vim_call_ref(f->hv->vim, r, VIM_ONCE, &task, NULL, in_time(f), &f->err));
    soap_free(r);
}

static void only_the_users_own_tasks_are_waited_for(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f);
    begin_making(f, "VSPHERE.LOCAL/Somebody");
    MUST(f, take_away(f, "absent"));
    VSPHERE_OPEN(f);
    begin_making(f, VCSIM_USER);
    struct vsphere_machine m;
    vsphere_machine_init(&m, "absent", "gh-template");
    struct context ctx = context_timeout(NULL, 1000);
    MUST_FAIL(f, driver->remove(f->hv, &m.spec.tag, &ctx, &f->err), ERR_TIMEOUT, "waiting for Task",
              "no more VMs being made");
}

/* --- its host --- */

/* Of the clones, the hosts they are put on, in their order; "-": the server chooses. */
static void hosts_of_clones(struct vsphere_fixture *f, struct buffer *ret) {
    json_t *calls = vcsim_calls(&f->proxy, "CloneVM_Task"), *call;
    size_t i;
    json_array_foreach(calls, i, call) {
        const char *host = NULL;
        json_unpack(call, "{s:{s:{s:{s?s}}}}", "params", "spec", "location", "host", &host);
        buffer_printf(ret, "%s ", host ? host : "-");
    }
    json_decref(calls);
}

static void a_cluster_without_drs_is_told_its_usable_hosts_in_turn(void **state) {
    struct vsphere_fixture *f = *state;
    static const char *const names[] = {"a", "b", "c"};
    cleanup_buffer struct buffer with = {0}, without = {0};
    VSPHERE_OPEN(f);
    MUST(f, create(f, "a"));
    hosts_of_clones(f, &with);
    assert_string_equal(buffer_str(&with) + with.len - 2, "- ");
    MUST(f, take_away(f, "a"));
    vcsim_control(&f->proxy, "set ClusterComputeResource * configurationEx.drsConfig.enabled false\n"
                             "set HostSystem DC0_C0_H1 runtime.inMaintenanceMode true\n");
    VSPHERE_OPEN(f);
    for (int i = 0; i < 3; i++)
        MUST(f, create(f, names[i]));
    hosts_of_clones(f, &without);
    cleanup_free char *expected =
        vcsim_run(&f->vcsim, "h() { govc find -i /DC0/host -type h -name DC0_C0_H$1; }; echo $(h 0) $(h 2) $(h 0)");
    expected[strcspn(expected, "\n")] = ' ';
    assert_string_equal(buffer_str(&without) + with.len, expected);
    vcsim_control(&f->proxy, "");
    for (int i = 0; i < 3; i++)
        MUST(f, take_away(f, names[i]));
}

/* --- its network card --- */

static void no_clone_has_the_mac_that_its_template_was_given(void **state) {
    struct vsphere_fixture *f = *state;
    free(vcsim_run(&f->vcsim, "govc vm.network.change -vm gh-template -net DC0_DVPG0 -net.address 00:50:56:12:34:56 "
                              "ethernet-0\n"));
    VSPHERE_OPEN(f);
    MUST(f, create(f, "vm"));
    cleanup_free char *card =
        vcsim_run(&f->vcsim, "govc device.info -json -vm box.vm-01234567 'ethernet-*' | jq -c '.Devices[]'");
    if (!strstr(card, "\"AddressType\":\"generated\"") || !strstr(card, "\"PortgroupKey\":\"dvportgroup-"))
        fail_msg("%s", card);
    MUST(f, take_away(f, "vm"));
}

/* --- a bare ESXi --- */

static void take_finding(void *data, const struct finding *finding) {
    buffer_printf(data, "%d %s: %s\n", (int)finding->kind, finding->subject, finding->text);
}

static void a_licence_that_may_not_be_seen_is_a_warning(void **state) {
    (void)state;
    struct vsphere_fixture f;
    cleanup_buffer struct buffer findings = {0};
    vsphere_fixture_start(&f, true, NULL, NULL);
    VSPHERE_OPEN(&f);
    vcsim_control(&f.proxy, "RetrieveProperties* match=<type>LicenseManager</type> fault=NoPermission\n");
    MUST(&f, driver->examine(f.hv, take_finding, &findings, in_time(&f), &f.err));
    cleanup_free char *wanted = xasprintf("%d licence: " VCSIM_USER " may not see it", (int)FINDING_WARNING);
    if (!strstr(buffer_str(&findings), wanted))
        fail_msg("%s", buffer_str(&findings));
    vsphere_fixture_stop(&f);
}

int main(void) {
#define test(name) cmocka_unit_test_teardown(name, no_rules)
    const struct CMUnitTest tests[] = {
        test(a_folder_of_its_name_is_told_at_once),
        test(a_vm_of_its_name_that_may_not_be_read_is_told_at_once),
        test(a_name_that_nothing_visible_has_is_not_waited_for_for_long),
        test(what_is_still_being_made_is_waited_for_however_long),
        test(no_clone_has_the_mac_that_its_template_was_given),
        test(a_cluster_without_drs_is_told_its_usable_hosts_in_turn),
        test(only_the_users_own_tasks_are_waited_for), /* its own never end */
        cmocka_unit_test(a_licence_that_may_not_be_seen_is_a_warning),
    };
    return cmocka_run_group_tests_name("vsphere clone", tests, vsphere_fixture_vcenter, vsphere_fixture_end);
}
