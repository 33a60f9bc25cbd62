/* What a good spec becomes. */
#include <string.h>

#include "spec_lab.h"

#define MIB (UINT64_C(1) << 20)

static void quickstart(void **state) {
    (void)state;
    cleanup_free char *text = spec_source_file("templates/labs/quickstart.yaml");
    struct lab *lab = spec_good(text);
    assert_string_equal(lab->name, "quickstart");
    assert_string_equal(lab->file, "labs/x.yaml");
    assert_string_equal(lab->text, text);
    assert_int_equal(lab->text_len, strlen(text));

    assert_int_equal(lab->nhosts, 1);
    assert_string_equal(lab->hosts[0].name, "local");
    assert_string_equal(lab->hosts[0].driver, "qemu");
    assert_int_equal(lab->hosts[0].nparams, 0);

    assert_int_equal(lab->ntemplates, 2);
    assert_string_equal(lab->templates[0].name, "debian-kvm");
    assert_string_equal(lab->templates[1].name, "tiny");
    assert_null(lab->templates[1].source);

    assert_int_equal(lab->nmachines, 3);
    const struct machine *kvm1 = &lab->machines[0], *web2 = &lab->machines[2];
    assert_string_equal(kvm1->path, "quickstart/kvm1");
    assert_string_equal(kvm1->name, "kvm1");
    assert_int_equal(kvm1->level, 1);
    assert_int_equal(kvm1->parent, LAB_NONE);
    assert_int_equal(kvm1->host, 0);
    assert_int_equal(kvm1->template, 0);
    assert_string_equal(kvm1->hypervisor, "libvirt");
    assert_int_equal(kvm1->cpus, 2);
    assert_int_equal(kvm1->memory, 1024 * MIB);
    assert_int_equal(kvm1->nesting, NESTING_REQUIRED);
    assert_int_equal(kvm1->ready, READY_SSH);
    assert_int_equal(kvm1->origin.line, 8);
    assert_int_equal(kvm1->origin.column, 3);

    assert_string_equal(web2->path, "quickstart/kvm1/web2");
    assert_string_equal(web2->name, "web2");
    assert_int_equal(web2->level, 2);
    assert_int_equal(web2->parent, 0);
    assert_int_equal(web2->template, 1);
    assert_null(web2->hypervisor);
    assert_int_equal(web2->memory, 128 * MIB);
    assert_int_equal(web2->nesting, NESTING_OFF);
    lab_free(lab);
}

static void what_is_not_said(void **state) {
    (void)state;
    struct lab *lab = spec_good("lab: x\nmachines: { a: { template: t } }\n");
    assert_int_equal(lab->nhosts, 1);
    assert_string_equal(lab->hosts[0].name, "local");
    assert_string_equal(lab->hosts[0].driver, "qemu");
    assert_int_equal(lab->hosts[0].origin.line, 0);
    assert_string_equal(lab->templates[0].format, "qcow2");
    const struct machine *a = &lab->machines[0];
    assert_int_equal(a->cpus, 1);
    assert_int_equal(a->memory, 512 * MIB);
    assert_int_equal(a->disk, 0);
    assert_int_equal(a->nesting, NESTING_OFF);
    assert_int_equal(a->ready, READY_SSH);
    assert_string_equal(a->ssh_user, "root");
    assert_int_equal(a->ssh_port, 22);
    assert_int_equal(a->boot_timeout_s, 0);
    assert_int_equal(a->stop_timeout_s, 0);
    assert_null(a->user_data);
    assert_int_equal(a->parallel, 0);
    lab_free(lab);
}

static void what_is_said(void **state) {
    (void)state;
    struct lab *lab = spec_good("lab: x\nmachines:\n  a:\n    template: t\n    hypervisor: kvm\n    parallel: 7\n"
                                "    cpus: 256\n    memory: 64TiB\n    disk: 20GB\n    nesting: preferred\n"
                                "    ssh: { user: me, port: 2222 }\n    timeouts: { boot: 5m, stop: 90 }\n");
    const struct machine *a = &lab->machines[0];
    assert_string_equal(a->hypervisor, "kvm");
    assert_int_equal(a->parallel, 7);
    assert_int_equal(a->cpus, 256);
    assert_int_equal(a->memory, UINT64_C(64) << 40);
    assert_int_equal(a->disk, UINT64_C(20000000000));
    assert_int_equal(a->nesting, NESTING_PREFERRED);
    assert_string_equal(a->ssh_user, "me");
    assert_int_equal(a->ssh_port, 2222);
    assert_int_equal(a->boot_timeout_s, 300);
    assert_int_equal(a->stop_timeout_s, 90);
    lab_free(lab);
}

static void defaults_hold_at_every_level(void **state) {
    (void)state;
    struct lab *lab = spec_good(
        "lab: x\n"
        "defaults:\n"
        "  template: t\n"
        "  cpus: 2\n"
        "  memory: 256MiB\n"
        "  disk: 2GiB\n"
        "  nesting: preferred\n"
        "  ssh: { user: me, port: 2222 }\n"
        "  timeouts: { boot: 5m, stop: 10s }\n"
        "machines:\n"
        "  kvm:\n"
        "    hypervisor: libvirt\n"
        "    memory: 1GiB\n"
        "    machines:\n"
        "      plain:\n"
        "      own: { template: u, cpus: 1, disk: 3GiB, ready: address, ssh: { port: 22 }, timeouts: { stop: 1s } }\n");
    const struct machine *kvm = spec_machine(lab, "x/kvm"), *plain = spec_machine(lab, "x/kvm/plain"),
                         *own = spec_machine(lab, "x/kvm/own");
    assert_int_equal(kvm->cpus, 2);
    assert_int_equal(kvm->memory, 1024 * MIB);
    assert_int_equal(kvm->nesting, NESTING_PREFERRED);
    assert_int_equal(plain->cpus, 2);
    assert_int_equal(plain->memory, 256 * MIB);
    assert_int_equal(plain->disk, 2048 * MIB);
    assert_int_equal(plain->nesting, NESTING_OFF); /* the default speaks of hypervisors */
    assert_string_equal(plain->ssh_user, "me");
    assert_int_equal(plain->ssh_port, 2222);
    assert_int_equal(plain->boot_timeout_s, 300);
    assert_string_equal(lab->templates[own->template].name, "u");
    assert_int_equal(own->cpus, 1);
    assert_int_equal(own->disk, 3072 * MIB);
    assert_int_equal(own->ready, READY_ADDRESS);
    assert_string_equal(own->ssh_user, "me"); /* filled in key by key */
    assert_int_equal(own->ssh_port, 22);
    assert_int_equal(own->boot_timeout_s, 300);
    assert_int_equal(own->stop_timeout_s, 1);
    lab_free(lab);
}

static void the_login_is_the_nearest(void **state) {
    (void)state;
    struct lab *lab =
        spec_good("lab: x\ntemplates: { t: { source: d, user: image } }\nmachines:\n"
                  "  a: { template: t }\n  b: { template: t, ssh: { user: own } }\n  c: { template: u }\n");
    assert_string_equal(lab->machines[0].ssh_user, "image");
    assert_string_equal(lab->machines[1].ssh_user, "own");
    assert_string_equal(lab->machines[2].ssh_user, "root");
    lab_free(lab);
    lab = spec_good("lab: x\ndefaults: { ssh: { user: all } }\ntemplates: { t: { source: d, user: image } }\n"
                    "machines: { a: { template: t } }\n");
    assert_string_equal(lab->machines[0].ssh_user, "all");
    lab_free(lab);
}

static void counts_expand_in_order(void **state) {
    (void)state;
    struct lab *lab =
        spec_good("lab: x\ndefaults: { template: t, memory: 128MiB }\nmachines:\n"
                  "  first:\n"
                  "  kvm: { count: 2, hypervisor: libvirt, memory: 1GiB, machines: { w: { count: 2 }, v: } }\n"
                  "  last: { count: 1 }\n");
    static const struct {
        const char *path, *name;
        uint32_t level, parent;
    } rows[] = {
        {"x/first", "first", 1, LAB_NONE},   {"x/kvm-1", "kvm-1", 1, LAB_NONE}, {"x/kvm-1/w-1", "w-1", 2, 1},
        {"x/kvm-1/w-2", "w-2", 2, 1},        {"x/kvm-1/v", "v", 2, 1},          {"x/kvm-2", "kvm-2", 1, LAB_NONE},
        {"x/kvm-2/w-1", "w-1", 2, 5},        {"x/kvm-2/w-2", "w-2", 2, 5},      {"x/kvm-2/v", "v", 2, 5},
        {"x/last-1", "last-1", 1, LAB_NONE},
    };
    assert_int_equal(lab->nmachines, sizeof rows / sizeof *rows);
    for (size_t i = 0; i < lab->nmachines; i++) {
        const struct machine *m = &lab->machines[i];
        assert_string_equal(m->path, rows[i].path);
        assert_string_equal(m->name, rows[i].name);
        assert_int_equal(m->level, rows[i].level);
        assert_int_equal(m->parent, rows[i].parent);
    }
    assert_int_equal(lab->machines[5].origin.line, 5);
    lab_free(lab);
}

static void a_branch_stays_on_its_host(void **state) {
    (void)state;
    struct lab *lab = spec_good("lab: x\nhosts: { one: { driver: qemu }, two: { driver: libvirt } }\n"
                                "defaults: { template: t, memory: 1GiB }\nmachines:\n"
                                "  a: { host: two, hypervisor: libvirt, memory: 4GiB, machines: { b: { hypervisor: "
                                "libvirt, memory: 2GiB, machines: { c: } } } }\n"
                                "  d: { host: one }\n");
    assert_int_equal(spec_machine(lab, "x/a")->host, 1);
    assert_int_equal(spec_machine(lab, "x/a/b")->host, 1);
    assert_int_equal(spec_machine(lab, "x/a/b/c")->host, 1);
    assert_int_equal(spec_machine(lab, "x/a/b/c")->level, 3);
    assert_int_equal(spec_machine(lab, "x/d")->host, 0);
    lab_free(lab);
}

static void aliases_and_merges(void **state) {
    (void)state;
    struct lab *lab = spec_good("lab: x\n"
                                "x-small: &small { template: t, memory: 64MiB }\n"
                                "x-fast: &fast { cpus: 4, memory: 128MiB }\n"
                                "machines:\n"
                                "  a: *small\n"
                                "  b: { <<: *small, cpus: 2 }\n"
                                "  c: { memory: 32MiB, <<: [*fast, *small] }\n"
                                "  d: { <<: { <<: *fast, template: u } }\n");
    const struct machine *a = spec_machine(lab, "x/a"), *b = spec_machine(lab, "x/b"), *c = spec_machine(lab, "x/c"),
                         *d = spec_machine(lab, "x/d");
    assert_int_equal(a->memory, 64 * MIB);
    assert_int_equal(b->memory, 64 * MIB);
    assert_int_equal(b->cpus, 2);
    assert_int_equal(c->memory, 32 * MIB); /* the map's own key wins, then the first merged map's */
    assert_int_equal(c->cpus, 4);
    assert_string_equal(lab->templates[c->template].name, "t");
    assert_int_equal(d->cpus, 4);
    assert_string_equal(lab->templates[d->template].name, "u");
    lab_free(lab);
}

static void templates_are_told_per_host_and_of_what_nests_first(void **state) {
    (void)state;
    struct lab *lab = spec_good("lab: x\n"
                                "hosts: { one: { driver: qemu }, two: { driver: libvirt } }\n"
                                "defaults: { memory: 1GiB }\n"
                                "machines:\n"
                                "  plain: { host: one, template: p }\n"
                                "  gh: { host: one, template: a, count: 3, hypervisor: libvirt,\n"
                                "        machines: { deep: { template: d, memory: 64MiB, nesting: exposed } } }\n"
                                "  same: { host: one, template: a, nesting: exposed }\n"
                                "  says: { host: one, template: b, nesting: exposed }\n"
                                "  far: { host: two, template: p }\n");
    struct arena arena = {0};
    size_t n, nesting;
    const char *const *names = lab_templates_on(lab, 0, &arena, &n, &nesting);
    lab_free(lab);
    assert_int_equal(n, 3);
    assert_int_equal(nesting, 2);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[1], "b");
    assert_string_equal(names[2], "p");
    arena_free(&arena);
}

static void a_host_on_which_nothing_nests_has_none_of_the_first(void **state) {
    (void)state;
    struct lab *lab = spec_good("lab: x\nmachines: { a: { template: t } }\n");
    struct arena arena = {0};
    size_t n, nesting;
    lab_templates_on(lab, 0, &arena, &n, &nesting);
    assert_int_equal(n, 1);
    assert_int_equal(nesting, 0);
    lab_free(lab);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quickstart),
        cmocka_unit_test(what_is_not_said),
        cmocka_unit_test(what_is_said),
        cmocka_unit_test(defaults_hold_at_every_level),
        cmocka_unit_test(templates_are_told_per_host_and_of_what_nests_first),
        cmocka_unit_test(a_host_on_which_nothing_nests_has_none_of_the_first),
        cmocka_unit_test(the_login_is_the_nearest),
        cmocka_unit_test(counts_expand_in_order),
        cmocka_unit_test(a_branch_stays_on_its_host),
        cmocka_unit_test(aliases_and_merges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
