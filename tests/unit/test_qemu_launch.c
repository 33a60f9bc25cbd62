/* QEMU's command line, argument for argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/qemu/qemu_priv.h"

static const struct accel tcg = {.kvm = false, .flag = "svm", .reason = ""};
static const struct accel kvm = {.kvm = true, .flag = "vmx", .reason = ""};

static struct hypervisor make_hypervisor(const char *cpu) {
    return (struct hypervisor){.binary = (char *)"qemu-system-x86_64", .machine = (char *)"q35", .cpu = (char *)cpu};
}

static struct vm make_vm(const char *dir, bool expose, const char *kernel) {
    return (struct vm){
        .dir = (char *)dir,
        .rec = {.name = "lab.kvm1-00112233",
                .uuid = "11111111-2222-8333-8444-555555555555",
                .mac = "52:54:00:01:02:03",
                .kernel = kernel,
                .initrd = kernel[0] ? "/img/initrd, new.img" : "",
                .cmdline = "root=/dev/vda rw console=ttyS0,115200",
                .cpus = 2,
                .memory = 1073741824,
                .ssh_port = 22,
                .expose = expose},
    };
}

static void check_argv(const struct hypervisor *hv, const struct vm *vm, const struct accel *accel,
                       const char *const *expected) {
    cleanup_launch struct launch l = {.n = 0};
    launch_build(&l, hv, vm, accel);
    size_t i = 0;
    for (; expected[i] && l.argv[i]; i++)
        assert_string_equal(l.argv[i], expected[i]);
    assert_null(expected[i]);
    assert_null(l.argv[i]);
    assert_int_equal(l.n, i);
}

static void emulated_with_svm_from_the_disk(void **state) {
    (void)state;
    struct hypervisor hv = make_hypervisor("");
    struct vm vm = make_vm("/h/qemu/1a/lab.kvm1", true, "");
    static const char *const expected[] = {
        "qemu-system-x86_64",
        "-name",
        "guest=lab.kvm1-00112233,process=lab.kvm1-00112233,debug-threads=on",
        "-uuid",
        "11111111-2222-8333-8444-555555555555",
        "-pidfile",
        "/h/qemu/1a/lab.kvm1/pidfile",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-S",
        "-chardev",
        "socket,id=qmp,path=qmp.sock,server=on,wait=off",
        "-mon",
        "chardev=qmp,mode=control",
        "-machine",
        "q35,graphics=off",
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "max,-la57,+svm,+npt",
        "-smp",
        "cpus=2",
        "-m",
        "size=1073741824B",
        "-device",
        "virtio-rng-pci",
        "-blockdev",
        "{\"discard\":\"unmap\",\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\","
        "\"filename\":\"/h/qemu/1a/lab.kvm1/disk.qcow2\"},\"node-name\":\"disk\"}",
        "-device",
        "virtio-blk-pci,drive=disk,bootindex=1",
        "-blockdev",
        "{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"/h/qemu/1a/lab.kvm1/seed.img\"},"
        "\"node-name\":\"seed\",\"read-only\":true}",
        "-device",
        "virtio-blk-pci,drive=seed",
        "-netdev",
        "user,id=net0,ipv6=off",
        "-device",
        "virtio-net-pci,netdev=net0,romfile=,mac=52:54:00:01:02:03",
        "-chardev",
        "file,id=console,append=off,path=/h/qemu/1a/lab.kvm1/console.log",
        "-serial",
        "chardev:console",
        NULL,
    };
    check_argv(&hv, &vm, &tcg, expected);
}

/* The value of the n-th argument of that name. */
static const char *value_of(const struct launch *l, const char *option, int nth) {
    for (size_t i = 0; i + 1 < l->n; i++)
        if (strcmp(l->argv[i], option) == 0 && nth-- == 0)
            return l->argv[i + 1];
    fail_msg("no %s", option);
    return NULL;
}

static void boots_a_kernel_directly(void **state) {
    (void)state;
    struct hypervisor hv = make_hypervisor("");
    struct vm vm = make_vm("/h/x", false, "/img/vmlinuz");
    cleanup_launch struct launch l = {.n = 0};
    launch_build(&l, &hv, &vm, &tcg);
    /* Whole arguments, not option lists: a comma stays a comma. */
    assert_string_equal(value_of(&l, "-kernel", 0), "/img/vmlinuz");
    assert_string_equal(value_of(&l, "-initrd", 0), "/img/initrd, new.img");
    assert_string_equal(value_of(&l, "-append", 0), "root=/dev/vda rw console=ttyS0,115200");
}

static void each_accelerator_has_its_cpu(void **state) {
    (void)state;
    static const struct {
        const struct accel *accel;
        bool expose;
        const char *extra, *cpu, *accel_value;
    } cases[] = {
        {&tcg, true, "", "max,-la57,+svm,+npt", "tcg,thread=multi"},
        {&tcg, false, "", "max,-la57,-svm", "tcg,thread=multi"},
        {&tcg, true, "-x2apic,+avx2", "max,-la57,+svm,+npt,-x2apic,+avx2", "tcg,thread=multi"},
        {&kvm, true, "", "host", "kvm"},
        {&kvm, false, "", "host,-svm,-vmx", "kvm"},
        {&kvm, false, "+avx2", "host,-svm,-vmx,+avx2", "kvm"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hypervisor hv = make_hypervisor(cases[i].extra);
        struct vm vm = make_vm("/h/x", cases[i].expose, "");
        cleanup_launch struct launch l = {.n = 0};
        launch_build(&l, &hv, &vm, cases[i].accel);
        assert_string_equal(value_of(&l, "-cpu", 0), cases[i].cpu);
        assert_string_equal(value_of(&l, "-accel", 0), cases[i].accel_value);
    }
}

static void no_name_becomes_an_option(void **state) {
    (void)state;
    struct hypervisor hv = make_hypervisor("");
    struct vm vm = make_vm("/a,b/\"c\\", true, "");
    vm.rec.name = "x,debug-threads=off";
    vm.rec.mac = "52:54:00:01:02:03,drive=seed";
    cleanup_launch struct launch l = {.n = 0};
    launch_build(&l, &hv, &vm, &tcg);
    assert_string_equal(value_of(&l, "-name", 0),
                        "guest=x,,debug-threads=off,process=x,,debug-threads=off,debug-threads=on");
    assert_string_equal(value_of(&l, "-chardev", 1), "file,id=console,append=off,path=/a,,b/\"c\\/console.log");
    assert_string_equal(value_of(&l, "-pidfile", 0), "/a,b/\"c\\/pidfile");
    assert_non_null(strstr(value_of(&l, "-blockdev", 0), "\"filename\":\"/a,b/\\\"c\\\\/disk.qcow2\""));
    assert_string_equal(value_of(&l, "-device", 3),
                        "virtio-net-pci,netdev=net0,romfile=,mac=52:54:00:01:02:03,,drive=seed");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(emulated_with_svm_from_the_disk),
        cmocka_unit_test(boots_a_kernel_directly),
        cmocka_unit_test(each_accelerator_has_its_cpu),
        cmocka_unit_test(no_name_becomes_an_option),
    };
    return cmocka_run_group_tests_name("qemu launch", tests, NULL, NULL);
}
