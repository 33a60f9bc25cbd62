/* Taking machines away, and calls whose end nobody knows: nothing is made twice, nothing is left, nothing that is not
 * nestor's is touched. */
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

static int take_away(struct vsphere_fixture *f, struct vsphere_machine *m) {
    return driver->remove(f->hv, &m->spec.tag, in_time(f), &f->err);
}

/* As a step does: what may be repeated is repeated. */
#define AGAIN(f, call)                                                                                                 \
    do {                                                                                                               \
        for (int turn = 0; (call) != 0; turn++)                                                                        \
            if (turn == 2 || !(f)->err.retry)                                                                          \
                fail_msg("%s\n    %s: %s: %s", #call, error_code_name((f)->err.code), (f)->err.subject,                \
                         (f)->err.cause);                                                                              \
    } while (0)

static struct observed observe_one(struct vsphere_fixture *f, size_t expected) {
    struct observation *o = NULL;
    struct observed one = {.path = "", .digest = ""};
    MUST(f, driver->observe(f->hv, FIXTURE_LAB, &o, in_time(f), &f->err));
    assert_int_equal(o->n, expected);
    if (o->n)
        one.power = o->items[0].power, one.exposed = o->items[0].exposed;
    observation_free(o);
    return one;
}

/* --- answers that are lost --- */

/* Each call is carried out, and its answer does not come. */
static void lives_through(bool esx, const char *method, const char *how) {
    struct vsphere_machine m;
    bool exposed = false;
    struct vsphere_fixture *f = start(esx, esx ? "vcsim_template gh-template with-disk" : "vcsim_template gh-template");
    vsphere_machine_init(&m, "vm", "gh-template")->spec.expose = true;
    cleanup_free char *line = xasprintf("%s after %s times=1\n", method, how);
    vcsim_control(&f->proxy, line);
    AGAIN(f, create(f, &m));
    AGAIN(f, driver->expose(f->hv, &m.spec, true, &exposed, in_time(f), &f->err));
    assert_true(exposed);
    AGAIN(f, driver->start(f->hv, &m.spec, in_time(f), &f->err));
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box.vm-"), 1);
    struct observed seen = observe_one(f, 1);
    assert_int_equal(seen.power, POWER_ON);
    assert_true(seen.exposed);
    AGAIN(f, take_away(f, &m));
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box."), 0);
    observe_one(f, 0);
    stop(f);
}

static void a_lost_answer_makes_nothing_twice_on_a_vcenter(void **state) {
    (void)state;
    static const char *const methods[] = {"CloneVM_Task", "ReconfigVM_Task", "PowerOnVM_Task", "PowerOffVM_Task",
                                          "Destroy_Task"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        lives_through(false, methods[i], i % 2 ? "cut" : "reset");
}

static void a_lost_answer_makes_nothing_twice_on_an_esxi(void **state) {
    (void)state;
    static const char *const methods[] = {"CreateVM_Task", "UnregisterVM", "DeleteDatastoreFile_Task"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        lives_through(true, methods[i], "reset");
}

static void a_session_that_ends_anywhere_is_made_anew(void **state) {
    (void)state;
    static const char *const methods[] = {"CloneVM_Task", "ReconfigVM_Task", "PowerOnVM_Task", "Destroy_Task"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        struct vsphere_machine m;
        bool exposed = false;
        struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
        vsphere_machine_init(&m, "vm", "gh-template")->spec.expose = true;
        cleanup_free char *line = xasprintf("%s expire times=1\n", methods[i]);
        vcsim_control(&f->proxy, line);
        MUST(f, create(f, &m));
        MUST(f, driver->expose(f->hv, &m.spec, true, &exposed, in_time(f), &f->err));
        MUST(f, driver->start(f->hv, &m.spec, in_time(f), &f->err));
        MUST(f, take_away(f, &m));
        assert_int_equal(vcsim_count_machines(&f->vcsim, "box."), 0);
        stop(f);
    }
}

/* The call arrives, its answer is lost, and the machine is there only a second later; its name is taken at once. */
static void what_an_earlier_try_still_makes_is_waited_for(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    vsphere_machine_init(&m, "vm", "gh-template")->spec.expose = true;
    vcsim_control(&f->proxy, "CloneVM_Task after reset task running=1500 times=1\n"
                             "CloneVM_Task task fault=DuplicateName times=1\n");
    AGAIN(f, create(f, &m));
    assert_true(vcsim_count_calls(&f->proxy, "FindChild") > 0);
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box.vm-"), 1);
    assert_int_equal(observe_one(f, 1).power, POWER_OFF);
    stop(f);
}

/* --- faults that say something --- */

static void a_name_that_is_taken_is_told(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template\n"
                                             "govc vm.clone -vm gh-template -on=false box.vm-01234567\n");
    MUST_FAIL(f, create(f, vsphere_machine_init(&m, "vm", "gh-template")), ERR_EXISTS,
              "there is a VM named box.vm-01234567 in the folder, and it is not nestor's", "rename that VM");
    assert_string_equal(f->err.subject, "box/vm");
    MUST(f, take_away(f, &m));
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box.vm-"), 1);
    stop(f);
}

static void typed_faults_keep_their_meaning(void **state) {
    (void)state;
    static const struct {
        const char *fault;
        enum error_code code;
        bool retry;
    } faults[] = {
        {"NoDiskSpace", ERR_DISK_FULL, false},  {"InsufficientMemoryResourcesFault", ERR_CAPACITY, false},
        {"NoPermission", ERR_AUTH, false},      {"RestrictedVersion", ERR_UNSUPPORTED, false},
        {"TaskInProgress", ERR_LOCKED, true},   {"HostNotConnected", ERR_UNREACHABLE, true},
        {"ConcurrentAccess", ERR_LOCKED, true}, {"SystemError", ERR_PROCESS, false},
    };
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    vsphere_machine_init(&m, "vm", "gh-template");
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        cleanup_free char *line = xasprintf("CloneVM_Task fault=%s\n", faults[i].fault);
        vcsim_control(&f->proxy, line);
        assert_int_equal(create(f, &m), -1);
        if (f->err.code != faults[i].code || f->err.retry != faults[i].retry)
            fail_msg("%s: %s: %s", faults[i].fault, error_code_name(f->err.code), f->err.cause);
        assert_string_equal(f->err.subject, "box/vm");
    }
    vcsim_control(&f->proxy, "");
    MUST(f, create(f, &m));
    stop(f);
}

static void a_task_that_fails_late_leaves_a_machine_that_is_made_anew(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    vcsim_control(&f->proxy, "ReconfigVM_Task task running=200 fault=SystemError times=1\n");
    assert_int_equal(create(f, vsphere_machine_init(&m, "vm", "gh-template")), -1);
    assert_int_equal(f->err.code, ERR_PROCESS);
    assert_int_equal(observe_one(f, 1).power, POWER_BROKEN);
    MUST(f, create(f, &m));
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box.vm-"), 1);
    assert_int_equal(observe_one(f, 1).power, POWER_OFF);
    stop(f);
}

static void a_machine_that_was_started_by_hand_is_removed_all_the_same(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    MUST(f, create(f, vsphere_machine_init(&m, "vm", "gh-template")));
    free(vcsim_run(&f->vcsim, "govc vm.power -on box.vm-01234567"));
    MUST(f, take_away(f, &m)); /* the handle thinks that it is off */
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box."), 0);
    stop(f);
}

static void a_machine_that_went_by_hand_is_gone(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    MUST(f, create(f, vsphere_machine_init(&m, "vm", "gh-template")));
    free(vcsim_run(&f->vcsim, "govc vm.destroy box.vm-01234567"));
    MUST(f, take_away(f, &m));
    MUST(f, create(f, &m));
    free(vcsim_run(&f->vcsim, "govc vm.destroy box.vm-01234567"));
    MUST_FAIL(f, driver->start(f->hv, &m.spec, in_time(f), &f->err), ERR_NOT_FOUND, "", "");
    MUST_FAIL(f, driver->start(f->hv, &m.spec, in_time(f), &f->err), ERR_NOT_FOUND, "there is no such machine",
              "nestor up");
    MUST(f, create(f, &m));
    free(vcsim_run(&f->vcsim, "govc vm.destroy box.vm-01234567"));
    MUST(f, driver->power_cut(f->hv, &m.spec.tag, in_time(f), &f->err));
    MUST(f, create(f, &m));
    free(vcsim_run(&f->vcsim, "govc vm.destroy box.vm-01234567"));
    MUST(f, driver->stop(f->hv, &m.spec.tag, in_time(f), &f->err));
    stop(f);
}

/* --- whose is it? --- */

static void everything_with_the_tag_goes(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    MUST(f, create(f, vsphere_machine_init(&m, "vm", "gh-template")));
    /* What vcsim does, which has two of a name in one folder, when a call is carried out twice. */
    free(vcsim_run(&f->vcsim, "govc vm.clone -vm gh-template -on=false second\n"
                              "govc vm.change -vm second -name box.vm-01234567 -e nestor.lab=" FIXTURE_LAB
                              " -e nestor.path=box/vm -e nestor.digest=d1\n"));
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box.vm-"), 2);
    assert_int_equal(observe_one(f, 1).power, POWER_BROKEN);
    MUST(f, create(f, &m)); /* replaces both */
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box.vm-"), 1);
    assert_int_equal(observe_one(f, 1).power, POWER_OFF);
    stop(f);
}

static void copies(struct vsphere_fixture *f, size_t n) {
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box.vm-01234567"), n);
}

static void a_copy_of_the_same_name_in_another_folder_is_left_alone(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    MUST(f, create(f, vsphere_machine_init(&m, "vm", "gh-template")));
    free(vcsim_run(&f->vcsim, "govc folder.create /DC0/vm/backup\n"
                              "govc vm.clone -vm box.vm-01234567 -on=false -folder /DC0/vm/backup restored\n"
                              "govc vm.change -vm restored -name box.vm-01234567 -e nestor.lab=" FIXTURE_LAB
                              " -e nestor.path=box/vm -e nestor.digest=d1 -annotation 'nestor lab=" FIXTURE_LAB "'\n"));
    copies(f, 2);
    VSPHERE_OPEN(f, "inventory.network=VM Network");
    assert_int_equal(observe_one(f, 1).power, POWER_OFF);
    MUST(f, take_away(f, &m));
    copies(f, 1);
    observe_one(f, 0);
    MUST(f, take_away(f, &m));
    copies(f, 1);
    /* With a folder that is gone, nothing is ours by its name. */
    VSPHERE_OPEN(f, "inventory.network=VM Network", "inventory.folder=/DC0/vm/gone");
    observe_one(f, 0);
    /* In the folder of ours it is one that has lost its UUID. */
    VSPHERE_OPEN(f, "inventory.network=VM Network", "inventory.folder=/DC0/vm/backup");
    assert_int_equal(observe_one(f, 1).power, POWER_OFF);
    MUST(f, take_away(f, &m));
    copies(f, 0);
    stop(f);
}

static void a_copy_made_by_hand_is_left_alone(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    MUST(f, create(f, vsphere_machine_init(&m, "vm", "gh-template")));
    free(vcsim_run(&f->vcsim, "govc vm.clone -vm box.vm-01234567 -on=false keepsake\n"
                              "govc vm.change -vm keepsake -e nestor.lab=" FIXTURE_LAB
                              " -e nestor.path=box/vm -e nestor.digest=d1 -annotation 'nestor lab=" FIXTURE_LAB "'\n"));
    assert_int_equal(observe_one(f, 1).power, POWER_OFF);
    MUST(f, take_away(f, &m));
    assert_int_equal(vcsim_count_machines(&f->vcsim, "keepsake"), 1);
    observe_one(f, 0);
    stop(f);
}

/* As a vCenter does with one that it is told of twice. Nothing that was asked for is done at its first try. */
static void a_machine_whose_uuid_was_changed_is_found_again(void **state) {
    (void)state;
    for (int esx = 0; esx < 2; esx++) {
        struct vsphere_machine m;
        struct vsphere_fixture *f =
            start(esx, esx ? "vcsim_template gh-template with-disk" : "vcsim_template gh-template");
        MUST(f, create(f, vsphere_machine_init(&m, "vm", "gh-template")));
        free(vcsim_run(&f->vcsim, "for path in config.instanceUuid summary.config.instanceUuid; do\n"
                                  "govc vm.change -vm box.vm-01234567 -e "
                                  "SET.$path=50000000-0000-4000-8000-000000000000\ndone"));
        VSPHERE_OPEN(f, "inventory.network=VM Network");
        vcsim_control(&f->proxy, "PowerOnVM_Task reset times=1\n"
                                 "Destroy_Task reset times=1\n"
                                 "UnregisterVM reset times=1\n");
        AGAIN(f, driver->start(f->hv, &m.spec, in_time(f), &f->err));
        assert_int_equal(observe_one(f, 1).power, POWER_ON);
        AGAIN(f, take_away(f, &m));
        assert_int_equal(vcsim_count_calls(&f->proxy, esx ? "UnregisterVM" : "Destroy_Task"), 2);
        assert_int_equal(vcsim_count_machines(&f->vcsim, "box."), 0);
        observe_one(f, 0);
        stop(f);
    }
}

#define SILENT(names, state)                                                                                           \
    "set VirtualMachine " names " config.extraConfig absent\n"                                                         \
    "set VirtualMachine " names " runtime.connectionState " state "\n"

#define NAMED_ONLY                                                                                                     \
    "set VirtualMachine box.vm-* summary.config.instanceUuid absent\n"                                                 \
    "set VirtualMachine box.vm-* summary.config.annotation absent\n"                                                   \
    "set VirtualMachine box.vm-* "

static int observe(struct vsphere_fixture *f, const char *lab_id) {
    struct observation *o = NULL;
    int rc = driver->observe(f->hv, lab_id, &o, in_time(f), &f->err);
    if (rc == 0)
        observation_free(o);
    return rc;
}

static void a_machine_the_server_cannot_tell_is_not_gone(void **state) {
    (void)state;
    struct vsphere_machine m, other;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    MUST(f, create(f, vsphere_machine_init(&m, "vm", "gh-template")));
    MUST(f, create(f, vsphere_machine_init(&other, "other", "gh-template")));
    vcsim_control(&f->proxy, SILENT("box.vm-*", "inaccessible"));
    for (int anew = 0; anew < 2; anew++) { /* what it was before is known; then not */
        MUST_FAIL(f, observe(f, FIXTURE_LAB), ERR_CONFLICT,
                  "the server cannot tell what VM box.vm-01234567 is: it is inaccessible", "datastore");
        assert_string_equal(f->err.subject, "host vc");
        MUST_FAIL(f, observe(f, NULL), ERR_CONFLICT, "VM box.vm-01234567", "");
        MUST(f, observe(f, "fedcba9876543210")); /* another lab's is no matter */
        MUST_FAIL(f, take_away(f, &m), ERR_CONFLICT, "box.vm-01234567 is: it is inaccessible", "by hand");
        assert_string_equal(f->err.subject, "box/vm");
        VSPHERE_OPEN(f, "inventory.network=VM Network");
    }
    MUST(f, take_away(f, &other));
    /* By its name alone, and by its UUID alone. */
    vcsim_control(&f->proxy,
                  SILENT("box.vm-*", "orphaned") "set VirtualMachine box.vm-* summary.config.instanceUuid absent\n"
                                                 "set VirtualMachine box.vm-* summary.config.annotation absent\n");
    MUST_FAIL(f, observe(f, FIXTURE_LAB), ERR_CONFLICT, "box.vm-01234567 is: it is orphaned", "");
    free(vcsim_run(&f->vcsim, "govc object.rename /DC0/vm/box.vm-01234567 elsewhere"));
    vcsim_control(&f->proxy, SILENT("*", "orphaned")); /* the template too, which is nobody's */
    MUST_FAIL(f, observe(f, FIXTURE_LAB), ERR_CONFLICT, "VM elsewhere is: it is orphaned", "");
    MUST_FAIL(f, take_away(f, &m), ERR_CONFLICT, "VM elsewhere is: it is orphaned", "");
    /* One that is being made has no configuration yet either. */
    vcsim_control(&f->proxy, "set VirtualMachine * config.extraConfig absent\n");
    observe_one(f, 0);
    vcsim_control(&f->proxy, "");
    observe_one(f, 1);
    MUST(f, take_away(f, &m));
    assert_int_equal(vcsim_count_machines(&f->vcsim, "elsewhere"), 0);
    stop(f);
}

static void a_machine_that_is_looked_at_again_and_cannot_be_told_is_not_gone(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template");
    MUST(f, create(f, vsphere_machine_init(&m, "vm", "gh-template")));
    MUST(f, observe(f, FIXTURE_LAB));
    vcsim_control(&f->proxy, SILENT("box.vm-*", "invalid") "PowerOnVM_Task after reset times=1\n");
    assert_int_equal(driver->start(f->hv, &m.spec, in_time(f), &f->err), -1);
    MUST_FAIL(f, take_away(f, &m), ERR_CONFLICT, "box.vm-01234567 is: it is invalid", "");
    assert_string_equal(f->err.subject, "box/vm");
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box.vm-"), 1);
    stop(f);
}

static void hostile_tags_are_nobodys(void **state) {
    (void)state;
    struct observation *o = NULL;
    struct vsphere_fixture *f = start(false, "vcsim_template gh-template\n"
                                             "n=0\n"
                                             "for path in ../etc 'a b' /x \"$(printf 'a\\001b')\" ''; do\n"
                                             "n=$((n + 1)); name=box.x$n-01234567\n"
                                             "govc vm.clone -vm gh-template -on=false $name\n"
                                             "govc vm.change -vm $name -e nestor.lab=" FIXTURE_LAB
                                             " -e nestor.digest=d -e \"nestor.path=$path\" || :\n"
                                             "done\n"
                                             "govc vm.clone -vm gh-template -on=false box.y-01234567\n"
                                             "govc vm.change -vm box.y-01234567 -e nestor.lab=ABC -e nestor.path=y\n");
    MUST(f, driver->observe(f->hv, NULL, &o, in_time(f), &f->err));
    assert_int_equal(o->n, 0);
    observation_free(o);
    stop(f);
}

/* --- a bare ESXi --- */

static void the_folder_of_a_machine_that_is_gone_already_is_deleted(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(true, "vcsim_template gh-template with-disk");
    MUST(f, create(f, vsphere_machine_init(&m, "vm", "gh-template")));
    free(vcsim_run(&f->vcsim, "govc vm.unregister box.vm-01234567")); /* and then nestor was killed */
    cleanup_free char *there = vcsim_run(&f->vcsim, "govc datastore.ls");
    assert_non_null(strstr(there, "box.vm-01234567"));
    MUST(f, take_away(f, &m));
    cleanup_free char *left = vcsim_run(&f->vcsim, "govc datastore.ls; govc datastore.ls ha-host_VM0");
    assert_null(strstr(left, "box.vm-"));
    assert_non_null(strstr(left, "disk1.vmdk"));
    /* The same, and it is made anew before it is removed. */
    MUST(f, create(f, &m));
    free(vcsim_run(&f->vcsim, "govc vm.unregister box.vm-01234567"));
    VSPHERE_OPEN(f, "inventory.network=VM Network");
    MUST(f, create(f, &m));
    MUST(f, take_away(f, &m));
    cleanup_free char *still = vcsim_run(&f->vcsim, "govc datastore.ls");
    assert_null(strstr(still, "box.vm-"));
    stop(f);
}

static void folders_of_several_removals_that_were_cut_are_deleted(void **state) {
    (void)state;
    for (int anew = 0; anew < 2; anew++) {
        struct vsphere_machine m, near;
        struct vsphere_fixture *f = start(true, "vcsim_template gh-template with-disk");
        vsphere_machine_init(&near, "vm-01234567", "gh-template"); /* "box.vm-01234567-01234567" */
        MUST(f, create(f, &near));
        vsphere_machine_init(&m, "vm", "gh-template");
        for (int i = 0; i < 3; i++) {
            MUST(f, create(f, &m));
            free(vcsim_run(&f->vcsim, "govc vm.unregister box.vm-01234567"));
            VSPHERE_OPEN(f, "inventory.network=VM Network");
        }
        cleanup_free char *before = vcsim_run(&f->vcsim, "govc datastore.ls | grep -c '^box.vm-01234567'");
        assert_int_equal(atoi(before), 4);
        if (anew)
            MUST(f, create(f, &m));
        MUST(f, take_away(f, &m));
        cleanup_free char *after = vcsim_run(&f->vcsim, "govc datastore.ls | grep '^box.vm-'");
        assert_string_equal(after, "box.vm-01234567-01234567\n");
        stop(f);
    }
}

static void a_folder_that_is_in_the_way_of_a_new_machine_is_deleted(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(true, "vcsim_template gh-template with-disk");
    MUST(f, create(f, vsphere_machine_init(&m, "vm", "gh-template")));
    free(vcsim_run(&f->vcsim, "govc vm.unregister box.vm-01234567"));
    VSPHERE_OPEN(f, "inventory.network=VM Network");
    vcsim_control(&f->proxy, "CreateVM_Task task fault=FileAlreadyExists times=1\n");
    MUST(f, create(f, &m));
    cleanup_free char *folders = vcsim_run(&f->vcsim, "govc datastore.ls | grep '^box.vm-'");
    assert_string_equal(folders, "box.vm-01234567\n"); /* and no second one */
    assert_int_equal(observe_one(f, 1).power, POWER_OFF);
    MUST(f, take_away(f, &m));
    /* It is tried once more, not for ever. */
    vcsim_control(&f->proxy, "CreateVM_Task task fault=FileAlreadyExists\n");
    MUST_FAIL(f, create(f, &m), ERR_EXISTS, "FileAlreadyExists", "");
    stop(f);
}

static void files_that_lie_elsewhere_are_not_deleted(void **state) {
    (void)state;
    struct vsphere_machine m;
    struct vsphere_fixture *f = start(true, "vcsim_template gh-template with-disk");
    MUST(f, create(f, vsphere_machine_init(&m, "vm", "gh-template")));
    vcsim_control(&f->proxy, "set VirtualMachine box.* config.files.vmPathName '[LocalDS_0] ha-host_VM0/x.vmx'\n");
    MUST_FAIL(f, take_away(f, &m), ERR_CONFLICT, "its files are in [LocalDS_0] ha-host_VM0, which nestor did not make",
              "by hand");
    vcsim_control(&f->proxy, "set VirtualMachine box.* config.files.vmPathName '[LocalDS_0] x.vmx'\n");
    MUST_FAIL(f, take_away(f, &m), ERR_CONFLICT, "its files are in no folder of their own", "by hand");
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box."), 1);
    vcsim_control(&f->proxy, "");
    MUST(f, take_away(f, &m));
    stop(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_answer_makes_nothing_twice_on_a_vcenter),
        cmocka_unit_test(a_lost_answer_makes_nothing_twice_on_an_esxi),
        cmocka_unit_test(what_an_earlier_try_still_makes_is_waited_for),
        cmocka_unit_test(a_session_that_ends_anywhere_is_made_anew),
        cmocka_unit_test(a_name_that_is_taken_is_told),
        cmocka_unit_test(typed_faults_keep_their_meaning),
        cmocka_unit_test(a_task_that_fails_late_leaves_a_machine_that_is_made_anew),
        cmocka_unit_test(a_machine_that_was_started_by_hand_is_removed_all_the_same),
        cmocka_unit_test(a_machine_that_went_by_hand_is_gone),
        cmocka_unit_test(everything_with_the_tag_goes),
        cmocka_unit_test(a_machine_whose_uuid_was_changed_is_found_again),
        cmocka_unit_test(a_copy_of_the_same_name_in_another_folder_is_left_alone),
        cmocka_unit_test(a_copy_made_by_hand_is_left_alone),
        cmocka_unit_test(a_machine_the_server_cannot_tell_is_not_gone),
        cmocka_unit_test(a_machine_that_is_looked_at_again_and_cannot_be_told_is_not_gone),
        cmocka_unit_test(hostile_tags_are_nobodys),
        cmocka_unit_test(the_folder_of_a_machine_that_is_gone_already_is_deleted),
        cmocka_unit_test(folders_of_several_removals_that_were_cut_are_deleted),
        cmocka_unit_test(a_folder_that_is_in_the_way_of_a_new_machine_is_deleted),
        cmocka_unit_test(files_that_lie_elsewhere_are_not_deleted),
    };
    return cmocka_run_group_tests_name("vsphere remove", tests, NULL, NULL);
}
