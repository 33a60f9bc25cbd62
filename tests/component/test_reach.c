/* Opening the tree, with drivers that only write down what they are asked for: who is opened through what, where it is
 * dialled, and in which order it all is closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the headers it needs */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nestor/reach.h"
#include "plan_fixture.h"
#include "transport_server.h"

static const char lab_text[] =
    "lab: lab\n"
    "hosts: { local: { driver: fake } }\n"
    "defaults: { template: t, memory: 64MiB }\n"
    "machines:\n"
    "  kvm:\n"
    "    hypervisor: fake\n"
    "    memory: 2GiB\n"
    "    machines:\n"
    "      esx: { hypervisor: { driver: fake-remote, units: 3 }, memory: 1GiB, machines: { web: } }\n"
    "  top: { hypervisor: fake-remote, memory: 1GiB, machines: { web: } }\n";

/* What the drivers and accesses of this file did, a line each; and what they are to do. */
static struct script {
    struct buffer log;
    int refusals;               /* opens at an address that are still to be refused */
    enum error_code open_error; /* else: ends so */
    bool died, cannot_nest;
    const char *reason;
    struct hypervisor_config last;
    struct endpoint at;
} script;

static const struct asker asker;

/* --- accesses --- */

struct way {
    struct access base;
    bool dead;
};

static int way_dial(struct access *a, const char *host, uint16_t port, int *ret, const struct context *ctx,
                    struct error *err) {
    (void)ret, (void)ctx;
    buffer_printf(&script.log, "dial %s:%u from %s\n", host, port, a->subject);
    error_set(err, ERR_CONNECT_REFUSED, a->subject, "nobody is there");
    return error_retry(err);
}

static bool way_alive(struct access *a) { return !((struct way *)a)->dead; }

static void way_close(struct access *a) {
    buffer_printf(&script.log, "leave %s\n", a->subject);
    free(a);
}

static const struct access_ops way_ops = {.dial = way_dial, .alive = way_alive, .close = way_close};

/* --- drivers --- */

struct hypervisor {
    const char *subject;
};

static int open_any(const struct hypervisor_config *config, struct hypervisor **ret, const struct context *ctx,
                    struct error *err) {
    (void)ctx;
    const char *at = config->endpoint ? config->endpoint->host : "-";
    if (config->endpoint && script.refusals > 0) {
        script.refusals--;
        error_set(err, ERR_CONNECT_REFUSED, config->subject, "nothing answers at %s", at);
        return error_retry(err);
    }
    if (config->endpoint && script.open_error)
        return error_set(err, script.open_error, config->subject, "not like this");
    buffer_printf(&script.log, "open %s at %s via %s%s\n", config->subject, at, access_subject(config->access),
                  config->accelerated ? "" : ", slow");
    script.last = *config;
    if (config->endpoint)
        script.at = *config->endpoint;
    *ret = xmalloc(sizeof **ret);
    (*ret)->subject = config->subject;
    return 0;
}

static void close_any(struct hypervisor *hv) {
    buffer_printf(&script.log, "close %s\n", hv->subject);
    free(hv);
}

static int address_any(struct hypervisor *hv, const struct machine_spec *spec, struct endpoint *ret,
                       const struct context *ctx, struct error *err) {
    (void)hv, (void)ctx;
    if (script.died)
        return error_set(err, ERR_DIED, spec->tag.path, "it is not running");
    if (strcmp(spec->tag.path, "lab/top/web") == 0) { /* dialled from here: nobody may be there */
        *ret = (struct endpoint){.host = "127.0.0.1", .port = test_free_port()};
        return 0;
    }
    *ret = (struct endpoint){.port = spec->ssh_port};
    snprintf(ret->host, sizeof ret->host, "10.0.0.%zu", strlen(spec->tag.path));
    return 0;
}

static int connect_kvm(struct hypervisor *hv, const struct machine_spec *spec, struct access **ret,
                       const struct context *ctx, struct error *err) {
    (void)hv, (void)ctx;
    if (strcmp(spec->tag.path, "lab/kvm") != 0)
        return error_set(err, ERR_UNSUPPORTED, spec->tag.path, "by SSH");
    buffer_printf(&script.log, "enter %s\n", spec->tag.path);
    struct way *way = xcalloc(1, sizeof *way);
    way->base = (struct access){&way_ops, "lab/kvm"};
    *ret = &way->base;
    return 0;
}

static int check_any(struct hypervisor *hv, struct capability *ret, const struct context *ctx, struct error *err) {
    (void)hv, (void)ctx, (void)err;
    *ret = (struct capability){.can_nest = !script.cannot_nest, .flag = "vmx", .detail = "as it says"};
    snprintf(ret->reason, sizeof ret->reason, "%s", script.cannot_nest ? script.reason : "");
    return 0;
}

static const struct driver near = {
    .name = "near", .open = open_any, .close = close_any, .address = address_any, .connect = connect_kvm};
static const struct driver far = {.name = "far",
                                  .features = DRIVER_BY_ADDRESS,
                                  .open = open_any,
                                  .close = close_any,
                                  .address = address_any,
                                  .check = check_any};

/* --- the fixture --- */

struct fixture {
    struct planned p;
    struct reach *reach;
    struct secret secret;
    uint32_t kvm, esx, web, top, topweb;
    struct context ctx;
    struct error err;
};

static int set_up(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    script = (struct script){.reason = "host-not-capable"};
    plan_prepare(&f->p, lab_text, "");
    struct inventory *inv = f->p.inv;
    f->kvm = inventory_find(inv, "lab/kvm");
    f->esx = inventory_find(inv, "lab/kvm/esx");
    f->web = inventory_find(inv, "lab/kvm/esx/web");
    f->top = inventory_find(inv, "lab/top");
    f->topweb = inventory_find(inv, "lab/top/web");
    inv->hosts[0].driver = inv->rows[f->kvm].opens_as = &near;
    inv->rows[f->esx].opens_as = inv->rows[f->top].opens_as = &far;
    f->ctx = context_timeout(NULL, 10000);
    assert_int_equal(secret_new(&f->secret, NULL), 0);
    assert_int_equal(reach_open(inv, "/home", &f->secret, NULL, &f->reach, NULL), 0);
    reach_ask(f->reach, &asker);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    reach_close(f->reach);
    plan_release(&f->p);
    buffer_free(&script.log);
    free(f);
    return 0;
}

static struct hypervisor *inside(struct fixture *f, uint32_t row) {
    struct hypervisor *hv = NULL;
    const struct driver *driver;
    if (reach_inside(f->reach, row, &hv, &driver, &f->ctx, &f->err))
        fail_msg("%s: %s", f->err.subject, f->err.cause);
    return hv;
}

static void logged(const char *text) {
    assert_string_equal(buffer_str(&script.log), text);
    buffer_clear(&script.log);
}

/* --- the tests --- */

static void what_is_spoken_to_at_its_address_is_opened_from_around_it(void **state) {
    struct fixture *f = *state;
    inside(f, f->esx);
    logged("open host local at - via localhost\n"
           "enter lab/kvm\n"
           "open lab/kvm at - via lab/kvm\n"
           "open lab/kvm/esx at 10.0.0.11 via lab/kvm\n");
    assert_string_equal(script.last.lab_id, f->p.inv->lab_id);
    assert_string_equal(script.last.lab_name, "lab");
    assert_string_equal(script.last.home, "/home");
    assert_ptr_equal(script.last.asker, &asker);
    assert_int_equal(script.last.nparams, 1);
    assert_string_equal(script.last.params[0].key, "units");
    assert_string_equal(script.last.params[0].value, "3");
    assert_int_equal(script.at.port, 22);
    inside(f, f->esx); /* it is open */
    logged("");
    inside(f, f->top);
    logged("open lab/top at 10.0.0.7 via localhost\n");
    char address[80];
    reach_address(f->reach, f->esx, address);
    assert_string_equal(address, "10.0.0.11:22");
}

static void its_machines_are_dialled_from_where_it_is_dialled(void **state) {
    struct fixture *f = *state;
    struct access *access;
    assert_int_equal(reach_access(f->reach, f->web, &access, &f->ctx, &f->err), -1);
    assert_int_equal(f->err.code, ERR_CONNECT_REFUSED);
    assert_non_null(strstr(buffer_str(&script.log), "open lab/kvm/esx at 10.0.0.11 via lab/kvm\n"
                                                    "dial 10.0.0.15:22 from lab/kvm\n"));
    /* The machine itself, over SSH, from the same place. */
    buffer_clear(&script.log);
    error_clear(&f->err);
    assert_int_equal(reach_access(f->reach, f->esx, &access, &f->ctx, &f->err), -1);
    logged("dial 10.0.0.11:22 from lab/kvm\n");
}

static void on_the_first_level_that_is_here(void **state) {
    struct fixture *f = *state;
    struct access *access;
    assert_int_equal(reach_access(f->reach, f->topweb, &access, &f->ctx, &f->err), -1);
    assert_int_equal(f->err.code, ERR_CONNECT_REFUSED);
    logged("open host local at - via localhost\nopen lab/top at 10.0.0.7 via localhost\n");
}

static void what_was_opened_last_is_closed_first(void **state) {
    struct fixture *f = *state;
    inside(f, f->esx);
    reach_set_accelerated(f->reach, f->esx,
                          false); /* its handle is dropped, and must not outlive what it goes through */
    inside(f, f->esx);
    buffer_clear(&script.log);
    reach_close(f->reach);
    f->reach = NULL;
    logged("close lab/kvm/esx\nclose lab/kvm/esx\nclose lab/kvm\nleave lab/kvm\nclose host local\n");
}

static void a_slow_one_is_opened_as_such(void **state) {
    struct fixture *f = *state;
    inside(f, f->top);
    reach_set_accelerated(f->reach, f->top, true);
    buffer_clear(&script.log);
    inside(f, f->top);
    logged("");
    reach_set_accelerated(f->reach, f->top, false);
    inside(f, f->top);
    logged("open lab/top at 10.0.0.7 via localhost, slow\n");
}

static void when_the_way_is_lost_it_is_opened_anew(void **state) {
    struct fixture *f = *state;
    struct hypervisor *before = inside(f, f->esx);
    ((struct way *)script.last.access)->dead = true;
    buffer_clear(&script.log);
    assert_ptr_not_equal(inside(f, f->esx), before);
    logged("enter lab/kvm\nopen lab/kvm at - via lab/kvm\nopen lab/kvm/esx at 10.0.0.11 via lab/kvm\n");
}

static void what_is_forgotten_is_opened_anew(void **state) {
    struct fixture *f = *state;
    inside(f, f->esx);
    inside(f, f->top);
    buffer_clear(&script.log);
    reach_forget(f->reach, f->kvm);
    inside(f, f->top);
    logged("");
    inside(f, f->esx);
    logged("enter lab/kvm\nopen lab/kvm at - via lab/kvm\nopen lab/kvm/esx at 10.0.0.11 via lab/kvm\n");
}

static void waiting_repeats_what_may_come(void **state) {
    struct fixture *f = *state;
    struct hypervisor *hv = NULL;
    script.refusals = 2;
    assert_int_equal(reach_wait_inside(f->reach, f->top, &hv, &f->ctx, &f->err), 0);
    assert_string_equal(hv->subject, "lab/top");
}

static void waiting_ends_with_time_and_says_what_the_last_try_said(void **state) {
    struct fixture *f = *state;
    struct hypervisor *hv;
    script.refusals = 1000000;
    f->ctx = context_timeout(NULL, 500);
    assert_int_equal(reach_wait_inside(f->reach, f->top, &hv, &f->ctx, &f->err), -1);
    assert_int_equal(f->err.code, ERR_TIMEOUT);
    assert_string_equal(f->err.subject, "lab/top");
    assert_string_equal(f->err.cause,
                        "it did not answer at its address in time; the last try said: nothing answers at 10.0.0.7");
}

static void waiting_ends_at_once_when_nothing_can_come(void **state) {
    struct fixture *f = *state;
    struct hypervisor *hv;
    script.open_error = ERR_AUTH;
    assert_int_equal(reach_wait_inside(f->reach, f->top, &hv, &f->ctx, &f->err), -1);
    assert_int_equal(f->err.code, ERR_AUTH);
    error_clear(&f->err);
    script.died = true;
    assert_int_equal(reach_wait_inside(f->reach, f->top, &hv, &f->ctx, &f->err), -1);
    assert_int_equal(f->err.code, ERR_DIED);
}

static void prove(struct fixture *f, bool exposed, struct evidence *e) {
    assert_int_equal(reach_prove(f->reach, f->p.inv, f->top, exposed, e, &f->ctx, &f->err), 0);
    assert_int_equal(e->nprobes, 2);
    assert_string_equal(e->probes[0].name, "exposed");
    assert_string_equal(e->probes[1].name, "hypervisor-api");
    assert_string_equal(e->probes[1].output, "as it says");
}

static void it_proves_itself_by_what_it_says(void **state) {
    struct fixture *f = *state;
    struct evidence e;
    prove(f, true, &e);
    assert_true(e.verified && !e.reason && e.probes[0].ok && e.probes[1].ok);
    assert_string_equal(e.flag, "vmx");
    evidence_free(&e);
    prove(f, false, &e);
    assert_false(e.verified);
    assert_string_equal(e.reason, "vhv-not-set");
    evidence_free(&e);
    script.cannot_nest = true;
    prove(f, true, &e);
    assert_string_equal(e.reason, "host-not-capable");
    assert_string_equal(e.flag, "");
    assert_true(e.probes[0].ok && !e.probes[1].ok);
    evidence_free(&e);
    script.reason = "of its own"; /* evidence has known reasons only */
    prove(f, true, &e);
    assert_string_equal(e.reason, "hypervisor-probe-failed");
    evidence_free(&e);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_spoken_to_at_its_address_is_opened_from_around_it),
        TEST(its_machines_are_dialled_from_where_it_is_dialled),
        TEST(on_the_first_level_that_is_here),
        TEST(what_was_opened_last_is_closed_first),
        TEST(a_slow_one_is_opened_as_such),
        TEST(when_the_way_is_lost_it_is_opened_anew),
        TEST(what_is_forgotten_is_opened_anew),
        TEST(waiting_repeats_what_may_come),
        TEST(waiting_ends_with_time_and_says_what_the_last_try_said),
        TEST(waiting_ends_at_once_when_nothing_can_come),
        TEST(it_proves_itself_by_what_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
