#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan_fixture.h"
#include "ui/ui.h"
#include "ui_capture.h"

static const char spec[] = "lab: lab\n"
                           "hosts: { local: { driver: fake } }\n"
                           "machines:\n"
                           "  kvm1:\n"
                           "    template: debian-kvm\n"
                           "    hypervisor: fake\n"
                           "    cpus: 2\n"
                           "    memory: 1GiB\n"
                           "    machines:\n"
                           "      web1: { template: tiny, memory: 128MiB }\n"
                           "  kvm2: { template: tiny }\n"
                           "  kvm3: { template: tiny }\n";

struct printing {
    struct planned p;
    bool color;
};

static void print(void *data, FILE *out) {
    struct printing *v = data;
    plan_print(v->p.plan, v->color, out);
}

static char *printed(const char *machines, const char *verb, bool color) {
    struct printing v = {.color = color};
    plan_prepare(&v.p, strcmp(verb, "down") == 0 ? NULL : spec, machines);
    plan_render(&v.p, verb);
    char *text = ui_capture(print, &v);
    plan_release(&v.p);
    return text;
}

static void expect(const char *machines, const char *verb, const char *text) {
    cleanup_free char *got = printed(machines, verb, false);
    assert_string_equal(got, text);
}

static void a_first_plan_tells_what_is_made_of_what(void **state) {
    (void)state;
    ui_speak_utf8();
    expect("", "up",
           "  +   lab/kvm1       create  not there  debian-kvm, 2 CPUs, 1GiB, fake, nesting required\n"
           "  +   lab/kvm1/web1  create  not there  tiny, 1 CPU, 128MiB\n"
           "  +   lab/kvm2       create  not there  tiny, 1 CPU, 512MiB\n"
           "  +   lab/kvm3       create  not there  tiny, 1 CPU, 512MiB\n"
           "\n"
           "Plan: 4 to create, 0 to start, 0 to replace, 0 to remove.\n");
}

static void each_change_has_its_sign_its_word_and_its_reason(void **state) {
    (void)state;
    expect("lab/kvm1 on unready\nlab/kvm1/web1 on\nlab/kvm2 off\nlab/kvm3 on digest=other\nlab/old on", "up",
           "  ?   lab/kvm1  check    not proved ready yet\n"
           "  ~   lab/kvm2  start    stopped\n"
           "  -/+ lab/kvm3  replace  its configuration has changed  tiny, 1 CPU, 512MiB\n"
           "  -   lab/old   remove   no longer in the lab file\n"
           "\n"
           "Plan: 0 to create, 1 to start, 1 to replace, 1 to remove, 1 to check.\n");
}

static void a_host_that_is_left_is_told(void **state) {
    (void)state;
    struct printing v = {.color = false};
    plan_prepare(&v.p, "lab: lab\nhosts: { other: { driver: fake } }\nmachines:\n  a: { template: tiny }\n",
                 "lab/a on\nlab/old on");
    plan_render(&v.p, "up");
    cleanup_free char *text = ui_capture(print, &v);
    assert_string_equal(text, "  -   lab/old  remove  no longer in the lab file\n"
                              "  -   host local  forget  no longer in the lab file\n"
                              "\n"
                              "Plan: 0 to create, 0 to start, 0 to replace, 1 to remove, 1 host to forget.\n");
    plan_release(&v.p);
}

static void nothing_to_do_is_said(void **state) {
    (void)state;
    expect("lab/kvm1 on\nlab/kvm1/web1 on\nlab/kvm2 on\nlab/kvm3 on", "up",
           "Nothing to do: lab is as its lab file says (4 machines).\n");
}

static void down_counts_only_what_goes(void **state) {
    (void)state;
    expect("lab/kvm1 on opens=fake\nlab/kvm1/web1 on", "down",
           "  -   lab/kvm1       remove  down\n"
           "  -   lab/kvm1/web1  remove  goes with its hypervisor\n"
           "\n"
           "Plan: 2 to remove.\n");
}

static void colour_only_adds(void **state) {
    (void)state;
    cleanup_free char *plain = printed("", "up", false), *coloured = printed("", "up", true);
    cleanup_buffer struct buffer stripped = {0};
    for (const char *c = coloured; *c; c++)
        if (*c == '\033')
            c += strcspn(c, "m");
        else
            buffer_putc(&stripped, *c);
    assert_non_null(strchr(coloured, '\033'));
    assert_string_equal(buffer_str(&stripped), plain);
    ui_assert_harmless(plain);
}

static void a_long_plan_has_its_summary_above_and_below(void **state) {
    (void)state;
    cleanup_buffer struct buffer many = {0};
    struct printing v = {0};
    buffer_puts(&many,
                "lab: lab\nhosts: { local: { driver: fake } }\nmachines:\n  m: { template: tiny, count: 150 }\n");
    plan_prepare(&v.p, buffer_str(&many), "");
    plan_render(&v.p, "up");
    cleanup_free char *text = ui_capture(print, &v);
    static const char summary[] = "Plan: 150 to create, 0 to start, 0 to replace, 0 to remove.\n";
    assert_int_equal(strncmp(text, summary, strlen(summary)), 0);
    assert_string_equal(text + strlen(text) - strlen(summary), summary);
    plan_release(&v.p);
}

/* --- JSON --- */

static void json_has_machines_steps_and_what_each_waits_for(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, spec, "lab/kvm1 on\nlab/kvm1/web1 absent\nlab/kvm2 on\nlab/kvm3 on");
    plan_render(&p, "up");
    json_t *json = plan_json(p.plan), *step = NULL;
    assert_string_equal(json_string_value(json_object_get(json, "lab")), "lab");
    assert_string_equal(json_string_value(json_object_get(json, "verb")), "up");
    assert_true(json_is_true(json_object_get(json, "changes")));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "summary"), "create")), 1);
    json_t *machines = json_object_get(json, "machines"), *steps = json_object_get(json, "steps");
    assert_int_equal(json_array_size(machines), 4);
    json_t *web1 = json_array_get(machines, 1);
    assert_string_equal(json_string_value(json_object_get(web1, "path")), "lab/kvm1/web1");
    assert_int_equal(json_integer_value(json_object_get(web1, "level")), 2);
    assert_string_equal(json_string_value(json_object_get(web1, "change")), "create");
    assert_string_equal(json_string_value(json_object_get(web1, "reason")), "it has vanished");
    assert_string_equal(json_string_value(json_object_get(json_array_get(machines, 2), "change")), "none");
    assert_true(json_is_null(json_object_get(json_array_get(machines, 2), "reason")));
    assert_int_equal(json_array_size(steps), p.plan->nsteps);
    for (size_t i = 0; i < json_array_size(steps); i++) {
        step = json_array_get(steps, i);
        assert_int_equal(json_integer_value(json_object_get(step, "id")), i);
        assert_int_equal(json_array_size(json_object_get(step, "waits_for")), p.plan->steps[i].ndeps);
        for (size_t k = 0; k < p.plan->steps[i].ndeps; k++)
            assert_true(json_integer_value(json_array_get(json_object_get(step, "waits_for"), k)) < (json_int_t)i);
    }
    assert_string_equal(json_string_value(json_object_get(step, "step")), "reach");
    assert_string_equal(json_string_value(json_object_get(step, "on")), "lab/kvm1/web1");
    json_decref(json);
    plan_release(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_first_plan_tells_what_is_made_of_what),
        cmocka_unit_test(each_change_has_its_sign_its_word_and_its_reason),
        cmocka_unit_test(a_host_that_is_left_is_told),
        cmocka_unit_test(nothing_to_do_is_said),
        cmocka_unit_test(down_counts_only_what_goes),
        cmocka_unit_test(colour_only_adds),
        cmocka_unit_test(a_long_plan_has_its_summary_above_and_below),
        cmocka_unit_test(json_has_machines_steps_and_what_each_waits_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
