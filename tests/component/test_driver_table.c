/* The table of drivers, and the helpers that belong to all of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the headers it needs */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "nestor/buffer.h"
#include "nestor/driver.h"

static void check_one(void *data, const struct driver *driver) {
    size_t *n = data;
    ++*n;
    assert_ptr_equal(driver_find(driver->name), driver); /* so no name stands there twice */
    assert_int_equal(driver->size, sizeof *driver);
    assert_int_equal(driver->api, DRIVER_API);
    for (const struct driver_param *p = driver->params; p->key; p++)
        assert_true(p->help && *p->help);
}

static void every_driver_is_found_by_its_name(void **state) {
    (void)state;
    size_t n = 0;
    driver_each(check_one, &n);
    assert_true(n >= 2);
    assert_string_equal(driver_find("fake")->name, "fake");
    assert_string_equal(driver_find("fault")->name, "fault");
    assert_null(driver_find("fak"));
    assert_null(driver_find(""));
}

static void parameters_have_fallbacks(void **state) {
    (void)state;
    const struct param params[] = {{.key = "a", .value = "1"}, {.key = "tls.ca", .value = "file"}};
    const struct hypervisor_config config = {.params = params, .nparams = 2};
    assert_string_equal(param_get(&config, "tls.ca", "none"), "file");
    assert_string_equal(param_get(&config, "tls", "none"), "none");
    assert_null(param_get(&config, "b", NULL));
}

static void every_power_has_a_name(void **state) {
    (void)state;
    assert_string_equal(power_name(POWER_ABSENT), "absent");
    assert_string_equal(power_name(POWER_OFF), "off");
    assert_string_equal(power_name(POWER_ON), "on");
    assert_string_equal(power_name(POWER_BROKEN), "broken");
    assert_string_equal(power_name((enum power)99), "unknown");
}

static void an_observation_is_freed_whole(void **state) {
    (void)state;
    observation_free(NULL);
    struct observation *o = xcalloc(1, sizeof *o); /* the leak checker is the assertion */
    o->items = arena_alloc(&o->arena, 3 * sizeof *o->items);
    observation_free(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_driver_is_found_by_its_name),
        cmocka_unit_test(parameters_have_fallbacks),
        cmocka_unit_test(every_power_has_a_name),
        cmocka_unit_test(an_observation_is_freed_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
