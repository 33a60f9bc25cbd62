/* The rules of hosts, guest hypervisors, counts and paths. */
#include <string.h>

#include "spec_lab.h"

#define KVM "template: t, hypervisor: libvirt, memory: 1GiB"
#define INSIDE "machines: { b: { template: t } }"
#define A(keys) "lab: x\nmachines:\n  a: { " keys " }\n"
#define HOSTS "lab: x\nhosts: { one: { driver: qemu }, two: { driver: libvirt } }\n"

static void hosts(void **state) {
    (void)state;
    assert_refused(HOSTS "machines: { a: { template: t } }\n",
                   "3:13: error: 'a' needs 'host': there are several hosts; the first is 'one'");
    assert_refused(HOSTS "machines: { a: { template: t, host: tow } }\n",
                   "3:37: error: there is no host 'tow'; did you mean 'two'?");
    assert_refused(HOSTS "machines: { a: { template: t, host: mars } }\n",
                   "3:37: error: there is no host 'mars'; the hosts are one, two");
    assert_refused(A("template: t, host: elsewhere"), "3:27: error: there is no host 'elsewhere'; the hosts are local");
    assert_refused(
        A(KVM ", machines: { b: { template: t, host: local } }"),
        "3:92: error: 'b' cannot have a 'host': it runs in 'a'; only machines of the first level have a host");
}

static void an_unused_host_is_a_warning(void **state) {
    (void)state;
    static const char *const findings[] = {"2:10: warning: no machine runs on the host 'one'"};
    lab_free(spec_warned(HOSTS "machines: { a: { template: t, host: two } }\n", findings, 1));
}

static void drivers(void **state) {
    (void)state;
    assert_refused("lab: x\nhosts: { h: { driver: libvrt } }\nmachines: { a: { template: t } }\n",
                   "2:23: error: 'driver' cannot be 'libvrt': there is no such driver; did you mean 'libvirt'?");
    assert_refused(
        "lab: x\nhosts: { h: { driver: hyper-v } }\nmachines: { a: { template: t } }\n",
        "2:23: error: 'driver' cannot be 'hyper-v': there is no such driver; choose one of qemu, libvirt, kvm, "
        "metal, remote");
    assert_refused("lab: x\nhosts: { h: { driver: inner } }\nmachines: { a: { template: t } }\n",
                   "2:23: error: 'driver' cannot be 'inner': it cannot be a host; choose one of qemu, libvirt, kvm, "
                   "metal, remote");
    assert_refused(
        A("template: t, hypervisor: qemu"),
        "3:33: error: 'hypervisor' cannot be 'qemu': it cannot be a guest hypervisor; choose one of libvirt, "
        "kvm, inner, remote");
}

#define HOST(keys) "lab: x\nhosts: { h: { " keys " } }\nmachines: { a: { template: t } }\n"

static void driver_parameters(void **state) {
    (void)state;
    assert_refused(HOST("driver: kvm, url: x"),
                   "2:28: error: unknown key 'url': it is no parameter of the driver 'kvm'; did you mean 'uri'?");
    assert_refused(
        HOST("driver: kvm, tls: { cert: x }"),
        "2:35: error: unknown key 'tls.cert': it is no parameter of the driver 'kvm'; the keys of this host are "
        "driver, parallel, uri, tls.ca, tls.verify");
    assert_refused(HOST("driver: kvm, tls: { ca: x }, tls.ca: y"), "2:44: error: 'tls.ca' is given twice");
    assert_refused(HOST("driver: kvm, uri: [a, b]"), "2:33: error: 'uri' must be a single value, not a list");
    assert_refused(HOST("driver: metal"),
                   "2:10: error: the host 'h' needs the key 'address'; Its address, for example 10.0.0.1.");
    assert_refused(HOST("driver: qemu, drivr: x"),
                   "2:29: error: unknown key 'drivr': it is no parameter of the driver 'qemu'; did you mean 'driver'?");
}

static void driver_parameters_are_flattened(void **state) {
    (void)state;
    struct lab *lab = spec_good(HOST("driver: kvm, tls: { ca: f.pem, verify: no }, uri: \"a b\", parallel: 3"));
    const struct host *h = &lab->hosts[0];
    assert_string_equal(h->name, "h");
    assert_string_equal(h->driver, "kvm");
    assert_int_equal(h->parallel, 3);
    assert_int_equal(h->origin.line, 2);
    assert_int_equal(h->origin.column, 10);
    assert_int_equal(h->nparams, 3);
    assert_string_equal(h->params[0].key, "tls.ca");
    assert_string_equal(h->params[0].value, "f.pem");
    assert_int_equal(h->params[0].origin.column, 35);
    assert_string_equal(h->params[1].key, "tls.verify");
    assert_string_equal(h->params[1].value, "no");
    assert_string_equal(h->params[2].key, "uri");
    assert_string_equal(h->params[2].value, "a b");
    lab_free(lab);
}

static void a_machine_needs_a_template(void **state) {
    (void)state;
    assert_refused(A("cpus: 1"),
                   "3:3: error: 'a' needs a 'template'; say which here, or for all machines under 'defaults'");
    assert_refused("lab: x\nmachines: { a: }\n",
                   "2:13: error: 'a' needs a 'template'; say which here, or for all machines under 'defaults'");
}

static void a_lab_needs_machines(void **state) {
    (void)state;
    assert_refused("lab: x\nmachines: {}\n", "2:1: error: the lab has no machines");
    assert_refused("lab: x\nmachines:\n", "2:1: error: the lab has no machines");
}

static void only_hypervisors_hold_machines(void **state) {
    (void)state;
    assert_refused(A("template: t, " INSIDE),
                   "3:21: error: 'a' has 'machines' but no 'hypervisor'; say which hypervisor it "
                   "is inside, for example 'hypervisor: libvirt'");
    assert_refused(A("template: t, parallel: 2"), "3:31: error: 'a' has 'parallel' but no 'hypervisor'; say which "
                                                  "hypervisor it is inside, for example 'hypervisor: libvirt'");
}

static void a_hypervisor_nests(void **state) {
    (void)state;
    static const char hint[] = "remove 'nesting: off', or 'hypervisor' if it is to be a plain guest";
    cleanup_free char *own = xasprintf("3:65: error: 'a' is a guest hypervisor, and 'nesting' is 'off'; %s", hint);
    assert_refused(A(KVM ", nesting: off"), own);
    cleanup_free char *inherited =
        xasprintf("2:22: error: 'a' is a guest hypervisor, and 'nesting' is 'off'; %s", hint);
    assert_refused("lab: x\ndefaults: { nesting: off }\nmachines: { a: { " KVM " } }\n", inherited);
}

static void what_is_opened_must_be_reached(void **state) {
    (void)state;
    static const char inside[] = "3:63: error: 'a' has machines inside, which are made over SSH: 'ready' cannot be "
                                 "'address'; remove 'ready', or say 'ready: ssh' for this machine";
    static const char proof[] =
        "3:63: error: the nesting of 'a' is proven over SSH: 'ready' cannot be 'running'; remove "
        "'ready', or say 'nesting: exposed' to go without the proof";
    assert_refused(A(KVM ", ready: address, " INSIDE), inside);
    assert_refused(A(KVM ", ready: address, nesting: exposed, " INSIDE), inside);
    assert_refused(A(KVM ", ready: running"), proof);
    assert_refused(A(KVM ", ready: running, nesting: preferred"), proof);
    assert_refused(
        "lab: x\ndefaults: { ready: running }\nmachines: { a: { template: t, nesting: required } }\n",
        "2:20: error: the nesting of 'a' is proven over SSH: 'ready' cannot be 'running'; remove 'ready', or say "
        "'nesting: exposed' to go without the proof");
}

static void without_proof_any_readiness_will_do(void **state) {
    (void)state;
    struct lab *lab = spec_good("lab: x\nmachines:\n  a: { " KVM ", nesting: exposed, ready: running }\n"
                                "  b: { template: t, nesting: exposed, ready: address }\n"
                                "  c: { template: t, ready: running }\n"
                                "  d: { template: t, nesting: required }\n");
    assert_int_equal(spec_machine(lab, "x/a")->ready, READY_RUNNING);
    assert_int_equal(spec_machine(lab, "x/a")->nesting, NESTING_EXPOSED);
    assert_int_equal(spec_machine(lab, "x/b")->ready, READY_ADDRESS);
    assert_int_equal(spec_machine(lab, "x/b")->nesting, NESTING_EXPOSED);
    assert_int_equal(spec_machine(lab, "x/c")->nesting, NESTING_OFF);
    assert_int_equal(spec_machine(lab, "x/d")->nesting, NESTING_REQUIRED);
    lab_free(lab);
}

static void counted_names_collide(void **state) {
    (void)state;
    assert_refused("lab: x\ndefaults: { template: t }\nmachines:\n  kvm: { count: 2 }\n  kvm-1: {}\n",
                   "5:3: error: there are two machines 'kvm-1'; 'kvm' at 4:3 makes it too, by its count");
    assert_refused("lab: x\ndefaults: { template: t }\nmachines:\n  kvm-2: {}\n  kvm: { count: 2 }\n",
                   "5:3: error: there are two machines 'kvm-2'; 'kvm-2' at 4:3 makes it too");
    assert_refused(
        "lab: x\ndefaults: { template: t }\nmachines:\n  k: { hypervisor: libvirt, memory: 4GiB, machines: { w: "
        "{ count: 3 }, w-3: } }\n",
        "4:72: error: there are two machines 'w-3'; 'w' at 4:55 makes it too, by its count");
    /* kvm-1 and kvm-1-1: near, but not the same. */
    lab_free(
        spec_good("lab: x\ndefaults: { template: t }\nmachines:\n  kvm: { count: 2 }\n  kvm-1-1: {}\n  kvm-3: {}\n"));
}

static void names_and_paths_have_a_length(void **state) {
    (void)state;
#define NAME40 "abcdefghij-abcdefghij-abcdefghij-abcdefg"
    assert_refused("lab: x\nmachines: { " NAME40 ": { template: t, count: 10 } }\n",
                   "2:77: error: the name '" NAME40 "-10' is 43 characters long, and 42 is the most");
    lab_free(spec_good("lab: x\nmachines: { " NAME40 ": { template: t, count: 9 } }\n"));
    static const char levels[] =
        "lab: " NAME40 "\ndefaults: { template: t, memory: 1GiB }\nmachines:\n"
        "  " NAME40 ":\n    hypervisor: libvirt\n    memory: 8GiB\n    machines:\n"
        "      " NAME40 ":\n        hypervisor: libvirt\n        memory: 4GiB\n        machines:\n"
        "          " NAME40 ":\n            hypervisor: libvirt\n            memory: 2GiB\n            machines:\n";
    cleanup_free char *fits = xasprintf("%s              %.36s: {}\n", levels, NAME40);
    lab_free(spec_good(fits));
    cleanup_free char *longer = xasprintf(
        "%s              %.37s: { hypervisor: libvirt, machines: { a: { memory: 512MiB } } }\n", levels, NAME40);
    assert_refused(longer,
                   "16:15: error: the path of 'abcdefghij-abcdefghij-abcdefghij-abcd' is 201 characters long, and "
                   "200 is the most; use shorter names for it and for what it stands in");
}

static void levels_are_limited(void **state) {
    (void)state;
    cleanup_buffer struct buffer text = {0};
    buffer_puts(&text, "lab: x\ndefaults: { template: t }\n");
    for (int i = 0; i < 33; i++)
        buffer_printf(&text, "%smachines: { m: { hypervisor: libvirt, memory: %dGiB%s", i ? " " : "", 64 - i,
                      i < 32 ? "," : "");
    for (int i = 0; i < 33; i++)
        buffer_puts(&text, " } }");
    buffer_putc(&text, '\n');
    struct lab *lab = NULL;
    struct diagnostics diags = {0};
    struct error err = {0};
    assert_int_equal(spec_parse("x", buffer_str(&text), text.len, &spec_test_drivers, NULL, &lab, &diags, &err), -1);
    assert_string_equal(err.cause, "machines stand in each other more than 32 levels deep");
    assert_int_equal(diags.nerrors, 1);
    diagnostics_free(&diags);
}

static void machines_are_limited(void **state) {
    (void)state;
    assert_refused("lab: x\nmachines:\n  a: { " KVM ", count: 10000, machines: { b: { template: t, count: 10, memory: "
                   "16MiB } } }\n",
                   "2:1: error: the lab has more than 100000 machines");
    struct lab *lab =
        spec_good("lab: x\nmachines:\n  a: { " KVM ", count: 10000, machines: { b: { template: t, count: 9, "
                  "memory: 16MiB } } }\n");
    assert_int_equal(lab->nmachines, 100000);
    assert_string_equal(lab->machines[99999].path, "x/a-10000/b-9");
    lab_free(lab);
}

static void tight_memory_is_a_warning(void **state) {
    (void)state;
    static const char *const findings[] = {
        "3:56: warning: the machines in 'a' have 1152MiB of memory together, and it has 1GiB itself"};
    lab_free(spec_warned(A(KVM ", machines: { b: { template: t, count: 9, memory: 128MiB } }"), findings, 1));
    lab_free(spec_good(A(KVM ", machines: { b: { template: t, count: 8, memory: 128MiB } }")));
}

static void what_can_never_start_is_an_error(void **state) {
    (void)state;
    assert_refused(A(KVM ", machines: { b: { template: t, memory: 1GiB } }"),
                   "3:94: error: 'b' can never start: it wants 1GiB of memory, and 'a', which it runs in, has 1GiB; "
                   "give 'a' more 'memory', or 'b' less");
    assert_refused("lab: x\ndefaults: { template: t, memory: 2GiB }\nmachines:\n  a: { " KVM ", machines: { b: } }\n",
                   "4:68: error: 'b' can never start: it wants 2GiB of memory, and 'a', which it runs in, has 1GiB; "
                   "give 'a' more 'memory', or 'b' less");
    lab_free(spec_good(A(KVM ", machines: { b: { template: t, memory: 1023MiB } }")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts),
        cmocka_unit_test(an_unused_host_is_a_warning),
        cmocka_unit_test(drivers),
        cmocka_unit_test(driver_parameters),
        cmocka_unit_test(driver_parameters_are_flattened),
        cmocka_unit_test(a_machine_needs_a_template),
        cmocka_unit_test(a_lab_needs_machines),
        cmocka_unit_test(only_hypervisors_hold_machines),
        cmocka_unit_test(a_hypervisor_nests),
        cmocka_unit_test(what_is_opened_must_be_reached),
        cmocka_unit_test(without_proof_any_readiness_will_do),
        cmocka_unit_test(counted_names_collide),
        cmocka_unit_test(names_and_paths_have_a_length),
        cmocka_unit_test(levels_are_limited),
        cmocka_unit_test(machines_are_limited),
        cmocka_unit_test(tight_memory_is_a_warning),
        cmocka_unit_test(what_can_never_start_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
