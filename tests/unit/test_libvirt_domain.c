/* Domain XML: what a machine becomes, what is read back, and what a hostile hypervisor may answer instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/libvirt/libvirt.h"

/* For fields that elsewhere own their text. */
#define OWNED(text) ((char *)(text))

static struct hypervisor hypervisor(bool accelerated) {
    return (struct hypervisor){.subject = OWNED("lab/kvm1"),
                               .directory = OWNED("/srv/nestor"),
                               .network = OWNED("labnet"),
                               .accelerated = accelerated};
}

static const struct image disk_image = {.sha256 = "d15c", .format = OWNED("qcow2"), .boot = BOOT_DISK};

static struct machine_spec machine(const struct image *image, bool expose) {
    return (struct machine_spec){.tag = {"0123456789abcdef", "lab/kvm1/web1"},
                                 .name = "lab.kvm1.web1-01234567",
                                 .uuid = "6f1d4c1e-0000-8000-8000-000000000001",
                                 .mac = "52:54:00:12:34:56",
                                 .cpus = 2,
                                 .memory = 256 << 20,
                                 .expose = expose,
                                 .image = image,
                                 .digest = "d19e57"};
}

static struct domain_info parsed(const char *xml, struct arena *arena) {
    struct domain_info info = {0};
    struct error err = {0};
    if (domain_parse(xml, strlen(xml), arena, &info, &err))
        fail_msg("%s", err.cause);
    return info;
}

/* --- writing --- */

#define START(type)                                                                                                    \
    "<?xml version=\"1.0\"?>\n"                                                                                        \
    "<domain type=\"" type "\"><name>lab.kvm1.web1-01234567</name><uuid>6f1d4c1e-0000-8000-8000-000000000001</uuid>"   \
    "<metadata><nestor:machine xmlns:nestor=\"urn:nestor:machine:1\" lab=\"0123456789abcdef\""                         \
    " path=\"lab/kvm1/web1\" digest=\"d19e57\"/></metadata>"                                                           \
    "<memory unit=\"bytes\">268435456</memory><vcpu>2</vcpu>"
#define FEATURES "<features><acpi/><apic/></features>"
#define REST                                                                                                           \
    "<clock offset=\"utc\"/><on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot>"                          \
    "<on_crash>destroy</on_crash><devices>"                                                                            \
    "<disk type=\"file\" device=\"disk\"><driver name=\"qemu\" type=\"qcow2\"/>"                                       \
    "<source file=\"/srv/nestor/lab.kvm1.web1-01234567/disk.qcow2\"/><target dev=\"vda\" bus=\"virtio\"/></disk>"      \
    "<disk type=\"file\" device=\"disk\"><driver name=\"qemu\" type=\"raw\"/>"                                         \
    "<source file=\"/srv/nestor/lab.kvm1.web1-01234567/seed.img\"/><target dev=\"vdb\" bus=\"virtio\"/><readonly/>"    \
    "</disk><interface type=\"network\"><mac address=\"52:54:00:12:34:56\"/><source network=\"labnet\"/>"              \
    "<model type=\"virtio\"/></interface>"                                                                             \
    "<serial type=\"file\"><source path=\"/srv/nestor/lab.kvm1.web1-01234567/console.log\"/><target port=\"0\"/>"      \
    "</serial><rng model=\"virtio\"><backend model=\"random\">/dev/urandom</backend></rng>"                            \
    "<memballoon model=\"none\"/></devices></domain>\n"

static void machine_that_boots_its_disk(void **state) {
    (void)state;
    struct hypervisor hv = hypervisor(true);
    struct machine_spec spec = machine(&disk_image, false);
    cleanup_free char *xml = domain_xml(&hv, &spec);
    assert_string_equal(
        xml, START("kvm") "<os><type arch=\"x86_64\" machine=\"pc\">hvm</type><boot dev=\"hd\"/></os>" FEATURES
                          "<cpu mode=\"host-passthrough\"><feature policy=\"disable\" name=\"svm\"/>"
                          "<feature policy=\"disable\" name=\"vmx\"/></cpu>" REST);
}

static void emulated_machine_that_boots_a_kernel_and_nests(void **state) {
    (void)state;
    static const struct image image = {.sha256 = "d15c",
                                       .format = OWNED("qcow2"),
                                       .boot = BOOT_KERNEL,
                                       .kernel = OWNED("/images/vmlinuz"),
                                       .initrd = OWNED("/images/initrd"),
                                       .cmdline = OWNED("root=LABEL=\"a&b\" <quiet>")};
    struct hypervisor hv = hypervisor(false);
    struct machine_spec spec = machine(&image, true);
    cleanup_free char *xml = domain_xml(&hv, &spec);
    assert_string_equal(xml, START("qemu") "<os><type arch=\"x86_64\" machine=\"pc\">hvm</type>"
                                           "<kernel>/srv/nestor/base/d15c.kernel</kernel>"
                                           "<initrd>/srv/nestor/base/d15c.initrd</initrd>"
                                           "<cmdline>root=LABEL=\"a&amp;b\" &lt;quiet&gt;</cmdline></os>" FEATURES
                                           "<cpu mode=\"maximum\"><feature policy=\"disable\" name=\"la57\"/>"
                                           "<feature policy=\"require\" name=\"svm\"/>"
                                           "<feature policy=\"require\" name=\"npt\"/></cpu>" REST);
}

/* --- reading back --- */

static void what_was_written_is_read_back(void **state) {
    (void)state;
    struct arena arena = {0};
    for (int i = 0; i < 4; i++) {
        bool accelerated = i & 1, expose = i & 2;
        struct hypervisor hv = hypervisor(accelerated);
        struct machine_spec spec = machine(&disk_image, expose);
        cleanup_free char *xml = domain_xml(&hv, &spec);
        struct domain_info info = parsed(xml, &arena);
        assert_string_equal(info.name, spec.name);
        assert_string_equal(info.lab_id, spec.tag.lab_id);
        assert_string_equal(info.path, spec.tag.path);
        assert_string_equal(info.digest, spec.digest);
        assert_int_equal(info.exposed, expose);
        assert_false(info.running);
    }
    arena_free(&arena);
}

/* Without the declaration: libxml2 adds the encoding to what it has parsed. */
static size_t domain_len(const char *xml) { return strlen(strstr(xml, "<domain")); }

static void nesting_is_switched_on_and_off_and_nothing_else(void **state) {
    (void)state;
    struct arena arena = {0};
    for (int i = 0; i < 2; i++) {
        struct hypervisor hv = hypervisor(i);
        struct error err = {0};
        struct machine_spec off = machine(&disk_image, false), on = machine(&disk_image, true);
        cleanup_free char *before = domain_xml(&hv, &off), *wanted = domain_xml(&hv, &on), *after = NULL, *back = NULL;
        assert_int_equal(domain_set_exposed(&hv, before, strlen(before), true, &after, &err), 0);
        assert_true(parsed(after, &arena).exposed);
        assert_int_equal(domain_len(after), domain_len(wanted)); /* the same elements; the CPU now stands last */
        assert_int_equal(domain_set_exposed(&hv, after, strlen(after), false, &back, &err), 0);
        assert_false(parsed(back, &arena).exposed);
        assert_int_equal(domain_len(back), domain_len(before));
        assert_string_equal(parsed(back, &arena).digest, off.digest);
    }
    arena_free(&arena);
}

#define TAG                                                                                                            \
    "<name>n</name><metadata><nestor:machine xmlns:nestor=\"urn:nestor:machine:1\" lab=\"l\" path=\"p\" digest=\"\"/>" \
    "</metadata>"

/* As virsh writes them: other quotes, other order, more attributes. */
static void exposure_is_read_from_what_others_write_too(void **state) {
    (void)state;
    static const struct {
        const char *cpu;
        bool exposed;
    } cases[] = {
        {"", false},
        {"<cpu/>", false},
        {"<cpu mode='host-passthrough' check='none' migratable='on'/>", true},
        {"<cpu mode='host-model'/>", false},
        {"<cpu mode='custom'><model>EPYC</model></cpu>", false},
        {"<cpu mode='custom'><model>EPYC</model><feature policy='require' name='svm'/></cpu>", true},
        {"<cpu mode='host-passthrough'><feature name='vmx' policy='disable'/></cpu>", false},
        {"<cpu mode='host-passthrough'><feature name='svm' policy='forbid'/></cpu>", false},
        {"<cpu mode='host-passthrough'><feature name='x2apic' policy='disable'/></cpu>", true},
        {"<cpu mode='maximum'><feature name='svm' policy='force'/></cpu>", true},
        {"<cpu mode='maximum'><!-- svm --></cpu>", false},
    };
    struct arena arena = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup_free char *xml = xasprintf("<domain type='kvm'>\n  " TAG "%s</domain>\n", cases[i].cpu);
        if (parsed(xml, &arena).exposed != cases[i].exposed)
            fail_msg("read wrongly: %s", cases[i].cpu);
    }
    arena_free(&arena);
}

static void only_a_running_domain_has_an_id(void **state) {
    (void)state;
    struct arena arena = {0};
    assert_true(parsed("<domain type='kvm' id='3'>" TAG "</domain>", &arena).running);
    assert_false(parsed("<domain type='kvm'>" TAG "</domain>", &arena).running);
    arena_free(&arena);
}

/* --- refusing --- */

static void assert_refused(const char *xml, size_t len, const char *cause) {
    static const struct domain_info untouched = {.name = "untouched"};
    struct arena arena = {0};
    struct domain_info info = untouched;
    struct error err = {0};
    if (domain_parse(xml, len, &arena, &info, &err) != -1 || err.code != ERR_PROTOCOL || strcmp(err.cause, cause) != 0)
        fail_msg("%.80s: %s: %s", xml, error_code_name(err.code), err.cause);
    assert_string_equal(info.name, "untouched");
    arena_free(&arena);
}

static const char no_domain[] = "virsh gave something that is not a domain description";
static const char not_ours[] = "the domain does not carry nestor's tag";

static void what_is_no_domain_is_refused(void **state) {
    (void)state;
    static const char *const cases[] = {
        "",
        "error: failed to connect",
        "<network><name>n</name></network>",
        "<domain type='kvm'><name>n</name>",
        "<domain/><domain/>",
        "<domain \x01='x'/>",
        "<domain>\xff\xfe</domain>",
        "<domain>&undefined;</domain>",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(cases[i], strlen(cases[i]), no_domain);
    assert_refused("<domain>\0</domain>", 18, no_domain);
}

static void document_types_are_refused_whatever_they_define(void **state) {
    (void)state;
    static const char *const types[] = {
        "<!DOCTYPE domain>",
        "<!DOCTYPE domain SYSTEM \"http://127.0.0.1:9/x.dtd\">",
        "<!DOCTYPE domain [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>",
        "<!DOCTYPE domain [<!ENTITY % p SYSTEM \"file:///etc/passwd\"> %p;]>",
        "<!DOCTYPE domain [<!ATTLIST domain id CDATA \"1\">]>",
        "<!DOCTYPE domain [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">"
        "<!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;\">"
        "<!ENTITY e \"&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;\"><!ENTITY f \"&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;\">]>",
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        cleanup_free char *plain = xasprintf("%s<domain>" TAG "</domain>", types[i]);
        cleanup_free char *used = xasprintf("%s<domain>" TAG "<title>&e;</title></domain>", types[i]);
        cleanup_free char *attribute = xasprintf("%s<domain id=\"&f;\">" TAG "</domain>", types[i]);
        assert_refused(plain, strlen(plain), no_domain);
        assert_refused(used, strlen(used), no_domain);
        assert_refused(attribute, strlen(attribute), no_domain);
    }
}

static char *nested_deep(const char *open, const char *close, size_t depth) {
    struct buffer b = {0};
    buffer_puts(&b, "<domain>" TAG);
    for (size_t i = 0; i < depth; i++)
        buffer_puts(&b, open);
    for (size_t i = 0; i < depth; i++)
        buffer_puts(&b, close);
    buffer_puts(&b, "</domain>");
    return buffer_steal(&b);
}

static void the_huge_and_the_deep_are_refused(void **state) {
    (void)state;
    cleanup_free char *deep = nested_deep("<a>", "</a>", 100000), *wide = nested_deep("<a/>", "", 2 << 20);
    assert_refused(deep, strlen(deep), no_domain);
    assert_true(strlen(wide) > 4 << 20);
    assert_refused(wide, strlen(wide), no_domain);
}

static void domains_of_others_are_not_ours(void **state) {
    (void)state;
    static const char *const cases[] = {
        "<domain><name>lab.kvm1.web1-01234567</name></domain>",
        "<domain><metadata/></domain>",
        "<domain><metadata><machine lab=\"l\" path=\"p\"/></metadata></domain>",
        "<domain><metadata><x:machine xmlns:x=\"urn:other\" lab=\"l\" path=\"p\"/></metadata></domain>",
        "<domain><metadata><n:lab xmlns:n=\"urn:nestor:machine:1\"/></metadata></domain>",
        "<domain><description>" TAG "</description></domain>",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(cases[i], strlen(cases[i]), not_ours);
}

static void nesting_is_not_switched_in_what_is_no_domain(void **state) {
    (void)state;
    struct hypervisor hv = hypervisor(true);
    struct error err = {0};
    char *changed = NULL;
    assert_int_equal(domain_set_exposed(&hv, "<x/>", 4, true, &changed, &err), -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_string_equal(err.cause, no_domain);
    assert_null(changed);
}

static void nesting_is_switched_whichever_cpu_is_read(void **state) {
    (void)state;
    static const char xml[] = "<domain>" TAG "<cpu mode='host-passthrough'/><cpu mode='custom'/></domain>";
    struct hypervisor hv = hypervisor(true);
    struct error err = {0};
    for (int on = 0; on < 2; on++) {
        struct arena arena = {0};
        cleanup_free char *changed = NULL;
        assert_int_equal(domain_set_exposed(&hv, xml, strlen(xml), on, &changed, &err), 0);
        assert_int_equal(parsed(changed, &arena).exposed, on);
        arena_free(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nesting_is_switched_whichever_cpu_is_read),
        cmocka_unit_test(machine_that_boots_its_disk),
        cmocka_unit_test(emulated_machine_that_boots_a_kernel_and_nests),
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(nesting_is_switched_on_and_off_and_nothing_else),
        cmocka_unit_test(exposure_is_read_from_what_others_write_too),
        cmocka_unit_test(only_a_running_domain_has_an_id),
        cmocka_unit_test(what_is_no_domain_is_refused),
        cmocka_unit_test(document_types_are_refused_whatever_they_define),
        cmocka_unit_test(the_huge_and_the_deep_are_refused),
        cmocka_unit_test(domains_of_others_are_not_ours),
        cmocka_unit_test(nesting_is_not_switched_in_what_is_no_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
