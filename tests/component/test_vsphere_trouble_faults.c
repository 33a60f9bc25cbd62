/* Every fault that the driver knows, from its own table, and one it does not know, at every call of a machine's life
 * that changes something: as the fault of the call, and as the error of its task. Each time the error is what the table
 * says or what the operation makes of it, the call was made as often as that takes, and nothing is there twice; without
 * the fault the same operation succeeds, and in the end nothing is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/vsphere/vsphere.h"
#include "drivers/vsphere/vsphere_priv.h"
#include "vsphere_fixture.h"

#define NAME "box.vm-01234567"
#define SAID "So it is." /* by the server */

static const struct driver *const driver = &vsphere_driver;

static const struct fault {
    const char *name;
    enum vim_fault id;
    enum error_code code;
    bool retry;
    const char *mend;
} faults[] = {
#define X(symbol, name, code, retry, mend) {name, symbol, code, retry, mend},
    VIM_FAULTS(X)
#undef X
        {"FaultOfTomorrow", VIM_OTHER, ERR_PROCESS, false, NULL},
};
#define FAULTS (sizeof faults / sizeof *faults)

/* --- the steps of a machine's life --- */

static int create(struct vsphere_fixture *f, struct vsphere_machine *m) {
    return driver->create(f->hv, &m->spec, in_time(f), &f->err);
}

static int expose(struct vsphere_fixture *f, struct vsphere_machine *m) {
    bool exposed = false;
    int failed = driver->expose(f->hv, &m->spec, true, &exposed, in_time(f), &f->err);
    assert_true(failed || exposed);
    return failed;
}

static int start(struct vsphere_fixture *f, struct vsphere_machine *m) {
    return driver->start(f->hv, &m->spec, in_time(f), &f->err);
}

static int power_cut(struct vsphere_fixture *f, struct vsphere_machine *m) {
    return driver->power_cut(f->hv, &m->spec.tag, in_time(f), &f->err);
}

static int take_away(struct vsphere_fixture *f, struct vsphere_machine *m) {
    return driver->remove(f->hv, &m->spec.tag, in_time(f), &f->err);
}

struct step {
    const char *method; /* the call that gets the fault */
    int (*perform)(struct vsphere_fixture *f, struct vsphere_machine *m);
    size_t machines; /* that are there after the fault */
    const char *subject, *context;
};

#define BOX "box/vm"

static const struct step on_vcenter[] = {
    {"CreateSnapshot_Task", create, 0, "host vc", "template gh-template: making the snapshot nestor-base"},
    {"CloneVM_Task", create, 0, BOX, ""},
    {"ReconfigVM_Task", create, 1, BOX, "setting its hardware"},
    {"ReconfigVM_Task", expose, 1, BOX, "setting its hardware"},
    {"PowerOnVM_Task", start, 1, BOX, ""},
    {"PowerOffVM_Task", power_cut, 1, BOX, ""},
    {"Destroy_Task", take_away, 1, BOX, ""},
    {0},
};
static const struct step linked_on_esxi[] = {
    {"CreateVM_Task", create, 0, BOX, ""},
    {"UnregisterVM", take_away, 1, BOX, ""},
    {0},
};
/* Then its folder is what is left. */
static const struct step unregistered_on_esxi[] = {
    {.perform = create},
    {"DeleteDatastoreFile_Task", take_away, 0, BOX, "deleting [LocalDS_0] " NAME},
    {0},
};
static const struct step copied_on_esxi[] = {
    {"CopyVirtualDisk_Task", create, 1, BOX, "copying [LocalDS_0] ha-host_VM0/disk1.vmdk"},
    {"ReconfigVM_Task", create, 1, BOX, ""}, /* which gives it the disks */
    {.perform = take_away},
    {0},
};

/* --- what an operation makes of a fault, where it is not the error of the table after one call --- */

static const struct {
    const char *method;
    int (*perform)(struct vsphere_fixture *f, struct vsphere_machine *m);
    enum vim_fault fault;
    enum error_code code; /* ERR_NONE: it is so already */
    const char *words, *mend;
} senses[] = {
    /* It is looked for what has it: nothing here. */
    {"CloneVM_Task", create, VIM_DUPLICATE_NAME, ERR_EXISTS, "the name " NAME " is taken", "rename that"},
    {"CreateVM_Task", create, VIM_DUPLICATE_NAME, ERR_EXISTS, "the name " NAME " is taken", "rename that"},
    /* Nesting can be set while it is off. */
    {"ReconfigVM_Task", expose, VIM_INVALID_POWER_STATE, ERR_NESTING, "it runs, and nesting", "power-cycles"},
    /* It is gone. */
    {"Destroy_Task", take_away, VIM_MANAGED_OBJECT_NOT_FOUND, ERR_NONE, "", NULL},
    {"UnregisterVM", take_away, VIM_MANAGED_OBJECT_NOT_FOUND, ERR_NONE, "", NULL},
    {"DeleteDatastoreFile_Task", take_away, VIM_FILE_NOT_FOUND, ERR_NONE, "", NULL},
};

/* Once more, after what it says was looked into. */
static const struct {
    const char *method;
    enum vim_fault fault;
} twice[] = {
    /* Somebody has started it: its power is cut. */
    {"Destroy_Task", VIM_INVALID_POWER_STATE},
    {"UnregisterVM", VIM_INVALID_POWER_STATE},
    /* By then it is gone, as it seems: its folders are looked for. */
    {"DeleteDatastoreFile_Task", VIM_MANAGED_OBJECT_NOT_FOUND},
    {"DeleteDatastoreFile_Task", VIM_INVALID_POWER_STATE},
    /* Its folder is there: deleted. */
    {"CreateVM_Task", VIM_FILE_ALREADY_EXISTS},
    /* It may be about child disks: asked for without. */
    {"CreateVM_Task", VIM_NOT_SUPPORTED},
    {"CreateVM_Task", VIM_DELTA_DISK_FORMAT},
    {"CreateVM_Task", VIM_INVALID_DEVICE_BACKING},
    {"CreateVM_Task", VIM_DEVICE_BACKING_NOT_SUPPORTED},
    {"CreateVM_Task", VIM_DISK_NOT_SUPPORTED},
};

struct expected {
    enum error_code code;
    long native;
    bool retry;
    const char *begins, *has, *mend, *context;
    size_t calls, logins;
};

static size_t calls_until_told(const struct step *step, const struct fault *fault) {
    for (size_t i = 0; i < sizeof twice / sizeof *twice; i++)
        if (twice[i].fault == fault->id && strcmp(twice[i].method, step->method) == 0)
            return 2;
    return 1;
}

static struct expected expect(const struct step *step, const struct fault *fault, bool of_task) {
    struct expected e = {.code = fault->code,
                         .native = fault->id,
                         .retry = fault->retry,
                         .begins = fault->name,
                         .has = SAID,
                         .mend = fault->mend,
                         .context = step->context,
                         .calls = calls_until_told(step, fault)};
    if (fault->id == VIM_NOT_AUTHENTICATED && !of_task) { /* others end the session each time */
        e.calls = 4;
        e.logins = 3;
    }
    for (size_t i = 0; i < sizeof senses / sizeof *senses; i++)
        if (senses[i].fault == fault->id && senses[i].perform == step->perform &&
            strcmp(senses[i].method, step->method) == 0)
            e = (struct expected){.code = senses[i].code,
                                  .begins = senses[i].words,
                                  .has = "",
                                  .mend = senses[i].mend,
                                  .context = "",
                                  .calls = 1};
    return e;
}

/* --- trying it --- */

static int count(void *data, struct vim_object *vm, struct error *err) {
    (void)err;
    cleanup_free char *name = xml_text_new(vim_property(vm, "name"));
    *(size_t *)data += name && strncmp(name, "box.", 4) == 0;
    return 0;
}

static size_t count_ours(struct vsphere_fixture *f) {
    static const char *const paths[] = {"name", NULL};
    static const struct vim_set names = {"VirtualMachine", paths};
    struct error err = {0};
    struct context ctx = context_timeout(NULL, 20000); /* f->err is looked at later */
    size_t n = 0;
    if (vim_read_all(f->hv->vim, &vim_service(f->hv->vim)->root_folder, &names, count, &n, &ctx, &err))
        fail_msg("%s", err.cause);
    return n;
}

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what))                                                                                                   \
            fail_msg("%s, %s of the %s: not so: %s\n    %s: %s: %s (%s) in: %s\n    %zu calls, %zu logins",            \
                     step->method, fault->name, of_task ? "task" : "call", #what, error_code_name(err->code),          \
                     err->subject, err->cause, err->mend, err->context, calls, logins);                                \
    } while (0)

static void fail_with(struct vsphere_fixture *f, struct vsphere_machine *m, const struct step *step,
                      const struct fault *fault, bool of_task) {
    const struct expected e = expect(step, fault, of_task);
    const struct error *err = &f->err;
    cleanup_free char *rule =
        xasprintf("%s %s fault='%s:" SAID "'\n", step->method, of_task ? "task" : "", fault->name);
    vcsim_control(&f->proxy, rule);
    assert_int_equal(truncate(f->proxy.calls, 0), 0);
    int failed = step->perform(f, m);
    size_t calls = vcsim_count_calls(&f->proxy, step->method), logins = vcsim_count_calls(&f->proxy, "Login");
    vcsim_control(&f->proxy, "");
    CHECK((failed != 0) == (e.code != ERR_NONE));
    CHECK(calls == e.calls);
    CHECK(logins == e.logins);
    CHECK(count_ours(f) == step->machines);
    if (!failed)
        return;
    CHECK(err->code == e.code);
    CHECK(err->native == e.native);
    CHECK(err->retry == e.retry);
    CHECK(strncmp(err->cause, e.begins, strlen(e.begins)) == 0);
    CHECK(strstr(err->cause, e.has));
    CHECK(e.mend ? strstr(err->mend, e.mend) != NULL : !err->mend[0]);
    CHECK(strcmp(err->subject, step->subject) == 0);
    CHECK(strcmp(err->context, e.context) == 0);
}

static bool has_task(const char *method) { return strcmp(method + strlen(method) - 5, "_Task") == 0; }

static void live(struct vsphere_fixture *f, const struct step *steps, bool full, const struct fault *fault,
                 bool of_task) {
    struct vsphere_machine m;
    vsphere_machine_init(&m, "vm", "gh-template")->spec.full_clone = full;
    for (const struct step *s = steps; s->perform; s++) {
        if (s->method && (!of_task || has_task(s->method)))
            fail_with(f, &m, s, fault, of_task);
        if (s[1].perform == s->perform) /* there is another call of it to fail first, which it has to come to */
            continue;
        MUST(f, s->perform(f, &m));
        assert_int_equal(count_ours(f), s->perform != take_away);
    }
}

static void live_with_all(struct vsphere_fixture *f, const struct step *steps, bool full,
                          void (*before)(struct vsphere_fixture *f)) {
    for (size_t i = 0; i < 2 * FAULTS; i++) {
        before(f);
        live(f, steps, full, &faults[i / 2], i % 2);
    }
    assert_int_equal(vcsim_count_machines(&f->vcsim, "box."), 0);
}

/* --- a vCenter --- */

static void open_handle(struct vsphere_fixture *f) {
    VSPHERE_OPEN(f, "inventory.network=VM Network");
    f->hv->unseen_ms = 1; /* what a clone's name is taken by */
}

static int vcenter(void **state) {
    vsphere_fixture_vcenter(state);
    open_handle(*state);
    return 0;
}

/* The next clone makes the template's snapshot. */
static void without_snapshot(struct vsphere_fixture *f) {
    const struct vsphere_source *source;
    MUST(f, vsphere_source(f->hv, "gh-template", true, &source, in_time(f), &f->err));
    struct soap_request *r = soap_new("RemoveAllSnapshots_Task", &source->vm);
    MUST(f, vim_do(f->hv->vim, r, NULL, NULL, in_time(f), &f->err));
    soap_free(r);
    open_handle(f); /* which knows nothing of one */
}

static void every_fault_at_every_step_on_a_vcenter(void **state) {
    live_with_all(*state, on_vcenter, false, without_snapshot);
}

static void a_session_that_ends_at_any_step_costs_one_login(void **state) {
    struct vsphere_fixture *f = *state;
    struct vsphere_machine m;
    cleanup_buffer struct buffer rules = {0};
    size_t logins = 0;
    without_snapshot(f);
    for (const struct step *s = on_vcenter; s->perform; s++, logins++)
        buffer_printf(&rules, "%s fault=NotAuthenticated times=1\n", s->method);
    vcsim_control(&f->proxy, buffer_str(&rules));
    assert_int_equal(truncate(f->proxy.calls, 0), 0);
    vsphere_machine_init(&m, "vm", "gh-template");
    for (const struct step *s = on_vcenter; s->perform; s++)
        MUST(f, s->perform(f, &m));
    assert_int_equal(vcsim_count_calls(&f->proxy, "Login"), logins);
    vcsim_control(&f->proxy, "");
    assert_int_equal(count_ours(f), 0);
}

/* --- a bare ESXi --- */

static int esxi(void **state) {
    static struct vsphere_fixture f;
    vsphere_fixture_start(&f, true, "vcsim_template gh-template with-disk\n", NULL);
    open_handle(&f);
    *state = &f;
    return 0;
}

static void as_it_is(struct vsphere_fixture *f) { (void)f; }

static void assert_no_folder(struct vsphere_fixture *f) {
    cleanup_free char *left = vcsim_run(&f->vcsim, "govc datastore.ls; govc datastore.ls ha-host_VM0");
    assert_null(strstr(left, "box."));
    assert_non_null(strstr(left, "disk1.vmdk"));
}

static void every_fault_of_a_linked_clone_on_an_esxi(void **state) {
    live_with_all(*state, linked_on_esxi, false, as_it_is);
    assert_no_folder(*state);
}

static void every_fault_of_a_folder_that_is_left_on_an_esxi(void **state) {
    live_with_all(*state, unregistered_on_esxi, false, as_it_is);
    assert_no_folder(*state);
}

static void every_fault_of_a_copied_clone_on_an_esxi(void **state) {
    live_with_all(*state, copied_on_esxi, true, as_it_is);
    assert_no_folder(*state);
}

int main(void) {
    const struct CMUnitTest vcenter_tests[] = {
        cmocka_unit_test(every_fault_at_every_step_on_a_vcenter),
        cmocka_unit_test(a_session_that_ends_at_any_step_costs_one_login),
    };
    const struct CMUnitTest esxi_tests[] = {
        cmocka_unit_test(every_fault_of_a_linked_clone_on_an_esxi),
        cmocka_unit_test(every_fault_of_a_folder_that_is_left_on_an_esxi),
        cmocka_unit_test(every_fault_of_a_copied_clone_on_an_esxi),
    };
    int failed = cmocka_run_group_tests_name("vsphere faults: vCenter", vcenter_tests, vcenter, vsphere_fixture_end);
    return failed + cmocka_run_group_tests_name("vsphere faults: ESXi", esxi_tests, esxi, vsphere_fixture_end);
}
