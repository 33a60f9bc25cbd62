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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quickstart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
