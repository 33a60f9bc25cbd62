/* The rows as a tree. What is decided from them is in test_plan.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "plan_fixture.h"

static const char deep[] = "lab: lab\n"
                           "hosts: { local: { driver: fake } }\n"
                           "defaults: { template: tiny }\n"
                           "machines:\n"
                           "  kvm1:\n"
                           "    hypervisor: fake\n"
                           "    memory: 2GiB\n"
                           "    machines:\n"
                           "      mid: { hypervisor: fake, memory: 1GiB, machines: { leaf1: , leaf2: } }\n"
                           "      web1:\n"
                           "  kvm2: { hypervisor: fake, memory: 2GiB, machines: { web1: } }\n";

/* The names of the branch in the order of the walk. */
static const char *walk(struct planned *p, const char *top) {
    uint32_t around = inventory_find(p->inv, top);
    buffer_clear(&p->text);
    for (uint32_t r = around; r != LAB_NONE; r = inventory_next_within(p->inv, around, r))
        buffer_printf(&p->text, "%s ", p->inv->rows[r].path + strlen("lab/"));
    return buffer_str(&p->text);
}

static void a_branch_is_walked_parents_first(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, deep, "");
    assert_string_equal(walk(&p, "lab/kvm1"), "kvm1 kvm1/mid kvm1/mid/leaf1 kvm1/mid/leaf2 kvm1/web1 ");
    assert_string_equal(walk(&p, "lab/kvm1/mid"), "kvm1/mid kvm1/mid/leaf1 kvm1/mid/leaf2 ");
    assert_string_equal(walk(&p, "lab/kvm1/web1"), "kvm1/web1 ");
    assert_string_equal(walk(&p, "lab/kvm2"), "kvm2 kvm2/web1 ");
    plan_release(&p);
}

/* What left the spec and what nestor never made stand at the end of the rows, but belong to their hypervisor. */
static void what_came_later_is_in_its_branch(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, deep, "lab/kvm1/mid/old on\nlab/kvm1 on");
    uint32_t kvm1 = inventory_find(p.inv, "lab/kvm1");
    struct observed seen = {.lab_id = p.inv->lab_id, .path = "lab/kvm1/stray", .power = POWER_ON};
    struct observation o = {.items = &seen, .n = 1};
    inventory_apply(p.inv, kvm1, p.inv->rows[kvm1].host, &o);
    assert_string_equal(walk(&p, "lab/kvm1"),
                        "kvm1 kvm1/mid kvm1/mid/leaf1 kvm1/mid/leaf2 kvm1/mid/old kvm1/web1 kvm1/stray ");
    assert_int_equal(p.inv->rows[kvm1].nchildren, 3);
    assert_int_equal(p.inv->rows[inventory_find(p.inv, "lab/kvm1/web1")].seen, SEEN_ABSENT);
    assert_int_equal(p.inv->rows[inventory_find(p.inv, "lab/kvm1/stray")].seen, SEEN_ON);
    plan_release(&p);
}

/* A guest hypervisor is not trusted: what it tells must not become a step about what is not on it. */
static void what_cannot_be_on_a_hypervisor_is_passed_over(void **state) {
    (void)state;
    static const struct {
        const char *on, *path;
        bool accepted;
    } cases[] = {
        {"lab/kvm1", "lab/kvm1", false},     /* itself, and what it is on */
        {"lab/kvm1/mid", "lab/kvm1", false}, /* its parent */
        {"lab/kvm1", "lab/kvm2/web1", false},
        {"lab/kvm1", "lab/other", false},
        {"lab/kvm1", "lab/kvm1/mid/leaf1", false},
        {"lab/kvm1", "lab/kvm1/mid/other", false},
        {"lab/kvm1", "lab/kvm1/", false},
        {"lab/kvm1", "lab/kvm1x", false},
        {"lab/kvm1", "lab/kvm1/..", false},
        {"lab/kvm1", "lab/kvm1/Other", false},
        {"lab/kvm1", "lab/kvm1/\033[2J", false},
        {"lab/kvm1", "", false},
        {"lab/kvm1", "lab/kvm1/other", true},
        {NULL, "lab/kvm1/web1", false},
        {NULL, "other/web", false},
        {NULL, "lab", false},
        {NULL, "/", false},
        {NULL, "lab/other", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct planned p;
        plan_prepare(&p, deep, "lab/kvm1 on\nlab/kvm1/mid on\nlab/kvm1/mid/leaf1 on\nlab/kvm2/web1 off");
        uint32_t on = cases[i].on ? inventory_find(p.inv, cases[i].on) : LAB_NONE;
        struct observed seen[] = {{.lab_id = p.inv->lab_id, .path = cases[i].path, .power = POWER_BROKEN},
                                  {.lab_id = p.inv->lab_id, .path = cases[i].path, .power = POWER_BROKEN}};
        struct observation o = {.items = seen, .n = 2};
        size_t before = p.inv->nrows;
        inventory_apply(p.inv, on, 0, &o);
        if (p.inv->nrows != before + cases[i].accepted)
            fail_msg("%s on %s", cases[i].path, cases[i].on ? cases[i].on : "the host");
        for (uint32_t r = 0; r < before; r++)
            assert_int_not_equal(p.inv->rows[r].seen, SEEN_BROKEN);
        plan_release(&p);
    }
}

static void an_observation_touches_only_what_is_on_its_hypervisor(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, deep, "lab/kvm1 on\nlab/kvm2 on\nlab/kvm2/web1 on\nlab/kvm1/mid on\nlab/kvm1/mid/leaf1 on");
    uint32_t kvm1 = inventory_find(p.inv, "lab/kvm1");
    struct observation none = {0};
    inventory_apply(p.inv, kvm1, p.inv->rows[kvm1].host, &none);
    assert_int_equal(p.inv->rows[inventory_find(p.inv, "lab/kvm1/mid")].seen, SEEN_ABSENT);
    assert_int_equal(p.inv->rows[inventory_find(p.inv, "lab/kvm1/mid/leaf1")].seen, SEEN_ON);
    assert_int_equal(p.inv->rows[inventory_find(p.inv, "lab/kvm2/web1")].seen, SEEN_ON);
    inventory_apply(p.inv, LAB_NONE, 0, &none);
    assert_int_equal(p.inv->rows[kvm1].seen, SEEN_ABSENT);
    assert_int_equal(p.inv->rows[inventory_find(p.inv, "lab/kvm2")].seen, SEEN_ABSENT);
    assert_int_equal(p.inv->rows[inventory_find(p.inv, "lab/kvm2/web1")].seen, SEEN_ON);
    plan_release(&p);
}

static void what_could_not_be_asked_says_why(void **state) {
    (void)state;
    struct planned p;
    struct error why = {0};
    plan_prepare(&p, deep, "lab/kvm1 on\nlab/kvm1/mid unknown\nlab/kvm1/mid/leaf1 unknown\nlab/kvm2 on");
    uint32_t kvm1 = inventory_find(p.inv, "lab/kvm1"), leaf1 = inventory_find(p.inv, "lab/kvm1/mid/leaf1");
    assert_int_equal(inventory_unasked_around(p.inv, leaf1), LAB_NONE);
    error_set(&why, ERR_UNREACHABLE, "lab/kvm1", "no route");
    error_context(&why, "listing its machines");
    inventory_unasked(p.inv, kvm1, &why);
    assert_string_equal(p.inv->rows[kvm1].unasked, "listing its machines: no route");
    assert_int_equal(inventory_unasked_around(p.inv, leaf1), kvm1);
    assert_int_equal(inventory_unasked_around(p.inv, kvm1), LAB_NONE);
    assert_int_equal(inventory_unasked_around(p.inv, inventory_find(p.inv, "lab/kvm2/web1")), LAB_NONE);
    plan_release(&p);
}

/* --- the digest --- */

/* Of lab/a, with these keys on a host of this driver. */
static void digest_of(const char *driver, const char *keys, char out[17]) {
    struct planned p;
    cleanup_free char *text = xasprintf("lab: lab\nhosts: { local: { driver: %s } }\n"
                                        "machines: { a: { template: tiny, %s } }\n",
                                        driver, keys);
    plan_prepare(&p, text, "");
    memcpy(out, p.inv->rows[0].digest, 17);
    plan_release(&p);
}

/* Machines are compared with the digest they were made with: these are from before there were other keys. */
static void a_machine_made_before_keeps_its_digest(void **state) {
    (void)state;
    char digest[17];
    digest_of("fake", "cpus: 2, memory: 1GiB", digest);
    assert_string_equal(digest, "fc13ae3cabafe52f");
    digest_of("fake", "ssh: { user: me }, user-data: \"#cloud-config\\n\"", digest);
    assert_string_equal(digest, "f69106e6d596dae4");
    digest_of("qemu", "cpus: 2, memory: 1GiB, clone: linked", digest);
    assert_string_equal(digest, "fc13ae3cabafe52f");
}

static void what_is_chosen_is_part_of_the_digest(void **state) {
    (void)state;
    static const char *const keys[] = {
        "cpus: 1",
        "clone: full",
        "extra-config: { a: b }",
        "extra-config: { a: c }",
        "extra-config: { a: b, c: d }",
        "clone: full, extra-config: { a: b }",
        "user-data: \"#cloud-config\\na=b\"",
    };
    char digests[sizeof keys / sizeof *keys + 1][17];
    size_t n = sizeof keys / sizeof *keys;
    for (size_t i = 0; i < n; i++)
        digest_of("fake-remote", keys[i], digests[i]);
    digest_of("fake", keys[0], digests[n]); /* a template of the same name, but of this machine */
    for (size_t i = 0; i <= n; i++)
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(digests[i], digests[k]);
    char linked[17];
    digest_of("fake-remote", "clone: linked", linked);
    assert_string_equal(linked, digests[0]);
}

static void how_a_guest_hypervisor_is_spoken_to_is_not(void **state) {
    (void)state;
    char plain[17], with[17];
    digest_of("fake-remote", "hypervisor: fake-remote", plain);
    digest_of("fake-remote", "hypervisor: { driver: fake-remote, password: { env: A } }", with);
    assert_string_equal(plain, with);
}

/* Hosts may be asked in any order, and again. */
static void a_host_takes_what_is_asked_for_and_else_what_was_observed(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p,
                 "lab: lab\nhosts: { a: { driver: fake }, b: { driver: fake, parallel: 3 } }\nmachines:\n"
                 "  x: { template: tiny, host: a }\n  y: { template: tiny, host: b }\n",
                 "");
    struct observation seen = {.parallel = 48}, silent = {0};
    const uint32_t a = 0, b = 1;
    inventory_apply(p.inv, LAB_NONE, a, &silent);
    assert_int_equal(p.inv->hosts[a].parallel, p.inv->hosts[a].driver->parallel);
    inventory_apply(p.inv, LAB_NONE, a, &seen);
    inventory_apply(p.inv, LAB_NONE, b, &seen);
    assert_int_equal(p.inv->hosts[a].parallel, 48);
    assert_int_equal(p.inv->hosts[b].parallel, 3);
    plan_release(&p);
}

static void a_machine_on_another_host_has_one_row(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, "lab: lab\nhosts: { here: { driver: fake } }\nmachines: { a: { template: tiny } }\n", "lab/b on");
    struct observed items[] = {{.lab_id = p.inv->lab_id, .path = "lab/a", .power = POWER_OFF},
                               {.lab_id = p.inv->lab_id, .path = "lab/b", .power = POWER_ON},
                               {.lab_id = p.inv->lab_id, .path = "lab/stray", .power = POWER_ON}};
    struct observation all = {.items = items, .n = 3}, none = {0};
    const uint32_t here = 0, local = 1;
    for (int times = 0; times < 2; times++) {
        inventory_apply(p.inv, LAB_NONE, local, &all);
        inventory_apply(p.inv, LAB_NONE, here, &none);
        assert_int_equal(p.inv->nrows, 3);
        uint32_t a = inventory_find(p.inv, "lab/a");
        assert_int_equal(p.inv->rows[a].seen, SEEN_ABSENT);
        assert_int_equal(inventory_next_elsewhere(p.inv, a, LAB_NONE), local);
        assert_int_equal(p.inv->rows[a].elsewhere[local], SEEN_OFF);
        assert_int_equal(inventory_next_elsewhere(p.inv, a, local), LAB_NONE);
    }
    inventory_apply(p.inv, LAB_NONE, here, &all);
    inventory_apply(p.inv, LAB_NONE, local, &none);
    assert_int_equal(p.inv->nrows, 3);
    uint32_t a = inventory_find(p.inv, "lab/a"), b = inventory_find(p.inv, "lab/b");
    assert_int_equal(p.inv->rows[a].seen, SEEN_OFF);
    assert_int_equal(inventory_next_elsewhere(p.inv, a, LAB_NONE), LAB_NONE);
    assert_int_equal(p.inv->rows[b].seen, SEEN_ABSENT);
    assert_int_equal(inventory_next_elsewhere(p.inv, b, LAB_NONE), here);
    plan_release(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_branch_is_walked_parents_first),
        cmocka_unit_test(what_came_later_is_in_its_branch),
        cmocka_unit_test(a_host_takes_what_is_asked_for_and_else_what_was_observed),
        cmocka_unit_test(a_machine_on_another_host_has_one_row),
        cmocka_unit_test(an_observation_touches_only_what_is_on_its_hypervisor),
        cmocka_unit_test(what_cannot_be_on_a_hypervisor_is_passed_over),
        cmocka_unit_test(what_could_not_be_asked_says_why),
        cmocka_unit_test(a_machine_made_before_keeps_its_digest),
        cmocka_unit_test(what_is_chosen_is_part_of_the_digest),
        cmocka_unit_test(how_a_guest_hypervisor_is_spoken_to_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
