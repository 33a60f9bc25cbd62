/* A vSphere session against a real vcsim, over TLS: what the server of few words (vim_server.h) may have wrong. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/vsphere/client.h"
#include "transport_server.h"
#include "vcsim.h"

struct fixture {
    struct vcsim server;
    struct vim_config config;
    const char *password;
    struct vim *v;
};

static const char *const paths[] = {"name", "runtime.powerState", "config.extraConfig", NULL};
static const struct vim_set set = {"VirtualMachine", paths};

static int give_password(void *data, struct buffer *ret, struct error *err) {
    struct fixture *f = data;
    (void)err;
    buffer_puts(ret, f->password);
    return 0;
}

static struct fixture *start(bool esx, const char *options) {
    struct fixture *f = xcalloc(1, sizeof *f);
    vcsim_start(&f->server, esx, options);
    f->password = VCSIM_PASSWORD;
    f->config = (struct vim_config){
        .http = {.subject = "host vc",
                 .url = f->server.server.url,
                 .trust.thumbprint = f->server.server.thumbprint,
                 .access = access_local()},
        .username = VCSIM_USER,
        .password = give_password,
        .data = f,
    };
    return f;
}

static void open_session(struct fixture *f) {
    struct context ctx = test_within(20000);
    struct error err = {0};
    if (vim_open(&f->config, &f->v, &ctx, &err))
        fail_msg("%s", err.cause);
}

static int setup_vpx(void **state) {
    struct fixture *f = start(false, "-vm 20");
    open_session(f);
    *state = f;
    return 0;
}

static int setup_esx(void **state) {
    struct fixture *f = start(true, "-vm 20");
    open_session(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    vim_close(f->v);
    vcsim_stop(&f->server);
    free(f);
    return 0;
}

/* --- session --- */

static size_t count_sessions(struct fixture *f) {
    cleanup_free char *text = vcsim_run(&f->server, "govc session.ls | grep -c nestor/ || :");
    return (size_t)atoi(text);
}

static void session_is_opened_and_ended(void **state) {
    struct fixture *f = *state;
    const struct vim_service *service = vim_service(f->v);
    assert_int_equal(service->vcenter, !f->server.esx);
    assert_non_null(strstr(service->full_name, f->server.esx ? "ESXi" : "vCenter"));
    assert_string_equal(service->version, "6.5.0");
    assert_int_equal(vim_round_trips(f->v), 2);
    struct context ctx = test_within(10000);
    struct error err = {0};
    struct vim *second = NULL;
    assert_int_equal(vim_open(&f->config, &second, &ctx, &err), 0);
    vim_close(second);
}

static void no_session_is_left(void **state) {
    struct fixture *f = *state;
    assert_int_equal(count_sessions(f), 1);
    vim_close(f->v);
    f->v = NULL;
    assert_int_equal(count_sessions(f), 0);
}

static void wrong_password_is_refused(void **state) {
    struct fixture *f = *state;
    struct context ctx = test_within(10000);
    struct error err = {0};
    struct vim *second = NULL;
    f->password = "guess";
    assert_int_equal(vim_open(&f->config, &second, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_AUTH);
    assert_true(vim_fault_is(&err, VIM_INVALID_LOGIN));
    assert_string_equal(err.cause, "InvalidLogin: Login failure");
    f->password = VCSIM_PASSWORD;
}

static int note_refs(void *data, struct vim_object *object, struct error *err) {
    char name[80];
    (void)err;
    assert_true(xml_text(vim_property(object, "name"), name, sizeof name));
    buffer_printf(data, "%s %s\n", object->ref.id, name);
    return 0;
}

static size_t lines(const char *text) {
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static char *all_machines(struct fixture *f) {
    struct context ctx = test_within(20000);
    struct error err = {0};
    struct buffer found = {0};
    const struct moref root = vim_service(f->v)->root_folder;
    if (vim_read_all(f->v, &root, &set, note_refs, &found, &ctx, &err))
        fail_msg("%s", err.cause);
    return buffer_steal(&found);
}

static void all_machines_are_read_as_govc_sees_them(void **state) {
    struct fixture *f = *state;
    cleanup_free char *found = all_machines(f);
    json_t *machines = vcsim_machines(&f->server), *machine;
    size_t i;
    assert_int_equal(lines(found), 20);
    assert_int_equal(json_array_size(machines), 20);
    json_array_foreach(machines, i, machine) {
        cleanup_free char *line = xasprintf("%s %s\n", json_string_value(json_object_get(machine, "ref")),
                                            json_string_value(json_object_get(machine, "name")));
        assert_non_null(strstr(found, line));
    }
    json_decref(machines);
}

static struct moref first_machine(struct fixture *f) {
    cleanup_free char *found = all_machines(f);
    struct moref ref = {.type = "VirtualMachine"};
    snprintf(ref.id, sizeof ref.id, "%.*s", (int)strcspn(found, " "), found);
    return ref;
}

static void known_machines_are_read_in_one_round_trip(void **state) {
    struct fixture *f = *state;
    struct moref refs[] = {first_machine(f), {"VirtualMachine", "vm-99999"}};
    struct context ctx = test_within(10000);
    struct error err = {0};
    struct buffer found = {0};
    struct vim_object object = {.doc = NULL};
    unsigned long before = vim_round_trips(f->v);
    assert_int_equal(vim_read_these(f->v, refs, 2, &set, note_refs, &found, &ctx, &err), 0);
    assert_int_equal(lines(buffer_str(&found)), 1);
    assert_int_equal(vim_round_trips(f->v) - before, 1);
    buffer_free(&found);
    assert_int_equal(vim_read(f->v, &refs[1], &set, &object, &ctx, &err), -1);
    assert_true(vim_fault_is(&err, VIM_MANAGED_OBJECT_NOT_FOUND));
}

/* --- what changes --- */

static int run_task(struct fixture *f, const char *method, const struct moref *ref, struct error *err) {
    struct context ctx = test_within(10000);
    struct soap_request *r = soap_new(method, ref);
    bool uncertain = true;
    int rc = vim_do(f->v, r, NULL, &uncertain, &ctx, err);
    soap_free(r);
    assert_false(uncertain);
    return rc;
}

static bool is_on(struct fixture *f, const struct moref *ref) {
    struct context ctx = test_within(10000);
    struct error err = {0};
    struct vim_object object = {.doc = NULL};
    assert_int_equal(vim_read(f->v, ref, &set, &object, &ctx, &err), 0);
    bool on = xml_is(vim_property(&object, "runtime.powerState"), "poweredOn");
    vim_object_free(&object);
    return on;
}

static void machine_is_switched_off_and_on(void **state) {
    struct fixture *f = *state;
    struct moref ref = first_machine(f);
    struct error err = {0};
    assert_true(is_on(f, &ref));
    assert_int_equal(run_task(f, "PowerOffVM_Task", &ref, &err), 0);
    assert_false(is_on(f, &ref));
    assert_int_equal(run_task(f, "PowerOnVM_Task", &ref, &err), 0);
    assert_true(is_on(f, &ref));
    assert_int_equal(run_task(f, "PowerOnVM_Task", &ref, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_true(vim_fault_is(&err, VIM_INVALID_POWER_STATE));
    struct error gone = {0};
    assert_int_equal(run_task(f, "PowerOnVM_Task", &(struct moref){"VirtualMachine", "vm-99999"}, &gone), -1);
    assert_true(vim_fault_is(&gone, VIM_MANAGED_OBJECT_NOT_FOUND));
}

struct waiting {
    struct fixture *f;
    struct moref ref;
    struct error err;
    int rc;
    pthread_t thread;
};

static int look_for_off(void *data, const struct vim_object *object, struct error *err) {
    (void)data, (void)err;
    return xml_is(vim_property(object, "runtime.powerState"), "poweredOff");
}

static void *wait_for_off(void *data) {
    struct waiting *w = data;
    struct context ctx = test_within(20000);
    w->rc = vim_watch(w->f->v, &w->ref, &set, look_for_off, w, &ctx, &w->err);
    return NULL;
}

static void start_waiting(struct waiting *w, struct fixture *f, struct moref ref) {
    *w = (struct waiting){.f = f, .ref = ref};
    assert_int_equal(pthread_create(&w->thread, NULL, wait_for_off, w), 0);
}

/* The thread that hears of changes is at it: the fifth round trip after these. */
static void await_round_trips(struct fixture *f, unsigned long n) {
    const struct context forever = {.deadline = DEADLINE_NEVER};
    for (int i = 0; i < 1000 && vim_round_trips(f->v) < n; i++)
        assert_int_equal(context_sleep(&forever, 10, NULL, "waiting", NULL), 0);
}

static void govc(struct fixture *f, const char *command, const char *name) {
    cleanup_free char *script = xasprintf("govc %s %s", command, name);
    free(vcsim_run(&f->server, script));
}

static void change_by_another_session_is_seen(void **state) {
    struct fixture *f = *state;
    struct waiting all[3];
    cleanup_free char *found = all_machines(f);
    char *rest = found, *names[3];
    unsigned long before = vim_round_trips(f->v);
    for (int i = 0; i < 3; i++) {
        struct moref ref = {.type = "VirtualMachine"};
        names[i] = strsep(&rest, "\n");
        snprintf(ref.id, sizeof ref.id, "%s", strsep(&names[i], " "));
        start_waiting(&all[i], f, ref);
        await_round_trips(f, before + 6);
    }
    for (int i = 0; i < 3; i++) {
        govc(f, i == 2 ? "vm.destroy" : "vm.power -off -force", names[i]);
        pthread_join(all[i].thread, NULL);
        /* One that is destroyed is switched off before: either may be what is seen. */
        if (all[i].rc && !(i == 2 && vim_fault_is(&all[i].err, VIM_MANAGED_OBJECT_NOT_FOUND)))
            fail_msg("%s: %s", names[i], all[i].err.cause);
    }
}

static void end_all_sessions(struct fixture *f) {
    free(vcsim_run(&f->server,
                   "for key in $(govc session.ls | awk '/nestor/ { print $1 }'); do govc session.rm $key; done"));
    assert_int_equal(count_sessions(f), 0);
}

static void session_that_another_ends_is_replaced(void **state) {
    struct fixture *f = *state;
    struct moref ref = first_machine(f);
    struct error err = {0};
    assert_int_equal(count_sessions(f), 1);
    end_all_sessions(f);
    assert_int_equal(run_task(f, "PowerOffVM_Task", &ref, &err), 0);
    assert_int_equal(count_sessions(f), 1);
    end_all_sessions(f);
    assert_false(is_on(f, &ref)); /* vcsim answers this one with a missingSet */
    end_all_sessions(f);
    cleanup_free char *found = all_machines(f);
    assert_int_equal(lines(found), 20);
}

/* --- delays --- */

static int setup_slow(void **state) {
    *state = start(false, "-method-delay PowerOffVM_Task:400");
    open_session(*state);
    return 0;
}

static void call_that_is_not_awaited_is_uncertain(void **state) {
    struct fixture *f = *state;
    struct moref ref = first_machine(f);
    struct context ctx = test_within(100);
    struct soap_request *r = soap_new("PowerOffVM_Task", &ref);
    struct error err = {0};
    bool uncertain = false;
    assert_int_equal(vim_do(f->v, r, NULL, &uncertain, &ctx, &err), -1);
    soap_free(r);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_true(uncertain);
    struct waiting w;
    start_waiting(&w, f, ref);
    pthread_join(w.thread, NULL);
    assert_int_equal(w.rc, 0); /* it was carried out */
}

#define both(name)                                                                                                     \
    {#name, name, setup_vpx, teardown, NULL}, { #name "_esx", name, setup_esx, teardown, NULL }

int main(void) {
    const struct CMUnitTest tests[] = {
        both(session_is_opened_and_ended),
        cmocka_unit_test_setup_teardown(no_session_is_left, setup_vpx, teardown),
        both(wrong_password_is_refused),
        both(all_machines_are_read_as_govc_sees_them),
        both(known_machines_are_read_in_one_round_trip),
        both(machine_is_switched_off_and_on),
        both(change_by_another_session_is_seen),
        cmocka_unit_test_setup_teardown(session_that_another_ends_is_replaced, setup_vpx, teardown),
        cmocka_unit_test_setup_teardown(call_that_is_not_awaited_is_uncertain, setup_slow, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
