/* vcsim and the proxy as tests in C have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nestor/buffer.h"
#include "vcsim.h"

static struct vcsim v;

static int setup(void **state) {
    (void)state;
    vcsim_start(&v, false, NULL);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    vcsim_stop(&v);
    return 0;
}

static void a_template_is_made_and_seen(void **state) {
    (void)state;
    free(vcsim_run(&v, "vcsim_template gh-template template"));
    json_t *machines = vcsim_machines(&v);
    assert_int_equal(json_array_size(machines), 1);
    json_t *machine = json_array_get(machines, 0);
    assert_string_equal(json_string_value(json_object_get(machine, "name")), "gh-template");
    assert_string_equal(json_string_value(json_object_get(machine, "power")), "poweredOff");
    assert_true(json_is_true(json_object_get(machine, "template")));
    json_decref(machines);
    assert_int_equal(vcsim_count_machines(&v, "gh-"), 1);
    assert_int_equal(vcsim_count_machines(&v, "web"), 0);
}

static void calls_through_the_proxy_are_recorded_and_can_fail(void **state) {
    (void)state;
    struct vcsim_proxy p;
    vcsim_proxy_start(&p, &v, "--set 'HostSystem * capability.nestedHVSupported true'");
    struct vcsim through = v; /* for govc */
    through.server = p.server;
    cleanup_free char *read =
        vcsim_run(&through, "govc object.collect -s -type h / capability.nestedHVSupported | sort -u");
    assert_string_equal(read, "true\n");
    assert_int_equal(vcsim_count_calls(&p, "Login"), 1);
    vcsim_control(&p, "Login fault=InvalidLogin times=1\n");
    cleanup_free char *refused = vcsim_run(&through, "govc about -l 2>&1 || echo failed");
    assert_non_null(strstr(refused, "failed"));
    json_t *calls = vcsim_calls(&p, "Login");
    assert_int_equal(json_array_size(calls), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(calls, 1), "fault")), "InvalidLogin");
    json_decref(calls);
    vcsim_proxy_stop(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_template_is_made_and_seen),
        cmocka_unit_test(calls_through_the_proxy_are_recorded_and_can_fail),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
