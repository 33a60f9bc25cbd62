/* The step that makes a machine: what its errors are about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the headers it needs */
#include <cmocka.h>

#include <stdlib.h>

#include "nestor/reach.h"
#include "plan_fixture.h"
#include "run/steps.h"

static int open_any(const struct hypervisor_config *config, struct hypervisor **ret, const struct context *ctx,
                    struct error *err) {
    (void)config, (void)ctx, (void)err;
    *ret = xmalloc(1);
    return 0;
}

static void close_any(struct hypervisor *hv) { free(hv); }

static const struct driver any = {
    .name = "any", .features = DRIVER_TEMPLATES, .open = open_any, .close = close_any}; /* and makes nothing */

static void what_a_machine_cannot_be_made_of_is_told_with_its_whole_path(void **state) {
    (void)state;
    struct planned p;
    struct secret secret;
    struct reach *reach;
    plan_prepare(&p,
                 "lab: lab\nhosts: { local: { driver: fake-remote } }\n"
                 "machines: { web1: { template: t, user-data: \"#cloud-config\" } }\n",
                 "");
    p.inv->hosts[0].driver = &any;
    struct machine wanted = *p.inv->rows[0].wanted;
    wanted.user_data = "packages: [vim]"; /* no lab file gets that far with it */
    p.inv->rows[0].wanted = &wanted;
    assert_int_equal(secret_new(&secret, NULL), 0);
    assert_int_equal(reach_open(p.inv, "/home", &secret, NULL, &reach, NULL), 0);
    struct context ctx = context_timeout(NULL, 10000);
    struct image_slot slot = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct work work = {.inv = p.inv, .reach = reach, .secret = &secret, .ctx = &ctx, .images = &slot};
    assert_int_equal(keypair_derive(&secret, "user", "nestor", &work.user_key, NULL), 0);
    struct step step = {.kind = STEP_CREATE, .row = 0, .host = 0, .template = wanted.template};
    struct step_result result = {0};
    assert_int_equal(step_perform(&work, &step, &result), -1);
    assert_int_equal(result.error->code, ERR_USAGE);
    assert_string_equal(result.error->subject, "lab/web1");
    assert_string_equal(result.error->context, "creating it");
    assert_string_equal(result.error->cause, "the user-data does not begin with a line cloud-init knows");
    step_result_free(&result);
    keypair_free(&work.user_key);
    image_free(slot.image);
    reach_close(reach);
    plan_release(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_machine_cannot_be_made_of_is_told_with_its_whole_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
