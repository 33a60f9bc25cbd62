/* What the spec can say because a driver has templates, secrets, an address, or advanced keys. */
#include <string.h>
#include <unistd.h>

#include "spec_lab.h"

#define FAR "lab: x\nhosts: { vc: { driver: remote, url: u, password: { env: VC_PASSWORD } } }\n"
#define A(keys) FAR "machines:\n  a: { " keys " }\n"
#define BOTH "lab: x\nhosts: { vc: { driver: remote, url: u, password: { env: P } }, here: { driver: qemu } }\n"

static const struct template *template_of(const struct lab *lab, const char *path) {
    return &lab->templates[spec_machine(lab, path)->template];
}

/* --- params that do not go together --- */

static void what_a_driver_has_against_its_params_is_told_where_they_are(void **state) {
    (void)state;
    static const char trusts[] = "password: { env: P }, tls: { insecure: perhaps }";
    cleanup_free char *host = xasprintf("lab: x\nhosts:\n  vc: { driver: remote, url: u, %s }\nmachines: { a: "
                                        "{ template: /T } }\n",
                                        trusts);
    cleanup_free char *guest = xasprintf(A("template: /T, memory: 4GiB, hypervisor: { driver: remote, %s }"), trusts);
    assert_refused(host, "3:3: error: the host 'vc': 'perhaps' is no answer; say true");
    assert_refused(guest, "4:36: error: the hypervisor 'remote': 'perhaps' inside is no answer; say true");
}

/* --- templates --- */

static void a_template_on_the_hypervisor_is_a_name_or_a_path(void **state) {
    (void)state;
    struct lab *lab = spec_good(FAR "defaults: { template: /DC0/vm/My Templates/gh-template }\n"
                                    "machines: { a: , b: { template: Upper_Case }, c: { count: 2 } }\n");
    assert_int_equal(lab->ntemplates, 2);
    assert_string_equal(template_of(lab, "x/a")->name, "/DC0/vm/My Templates/gh-template");
    assert_true(template_of(lab, "x/a")->on_host);
    assert_null(template_of(lab, "x/a")->source);
    assert_null(template_of(lab, "x/a")->format);
    assert_string_equal(template_of(lab, "x/b")->name, "Upper_Case");
    assert_ptr_equal(template_of(lab, "x/c-2"), template_of(lab, "x/a"));
    assert_string_equal(spec_machine(lab, "x/a")->ssh_user, "root");
    lab_free(lab);
}

static void one_name_here_and_there_is_two_templates(void **state) {
    (void)state;
    struct lab *lab = spec_good(BOTH "defaults: { template: tiny }\n"
                                     "machines: { a: { host: vc }, b: { host: here }, c: { host: vc } }\n");
    assert_int_equal(lab->ntemplates, 2);
    assert_true(template_of(lab, "x/a")->on_host);
    assert_false(template_of(lab, "x/b")->on_host);
    assert_ptr_equal(template_of(lab, "x/c"), template_of(lab, "x/a"));
    assert_string_equal(template_of(lab, "x/b")->name, "tiny");
    lab_free(lab);
    lab = spec_good(BOTH "defaults: { template: tiny }\nmachines: { b: { host: here }, a: { host: vc } }\n");
    assert_true(template_of(lab, "x/a")->on_host && !template_of(lab, "x/b")->on_host);
    lab_free(lab);
}

static void what_a_machine_runs_in_says_where_templates_are(void **state) {
    (void)state;
    struct lab *lab =
        spec_good("lab: x\nmachines:\n  esx: { template: esxi, memory: 4GiB, hypervisor: remote, machines: "
                  "{ a: { template: /ha-datacenter/vm/T 1 } } }\n");
    assert_false(template_of(lab, "x/esx")->on_host);
    assert_true(template_of(lab, "x/esx/a")->on_host);
    lab_free(lab);
    lab = spec_good(A("template: /T, hypervisor: libvirt, memory: 4GiB, machines: { b: { template: tiny } }"));
    assert_true(template_of(lab, "x/a")->on_host);
    assert_false(template_of(lab, "x/a/b")->on_host);
    lab_free(lab);
}

static void bad_templates_on_the_hypervisor(void **state) {
    (void)state;
    assert_refused(A("template: \"a\\tb\""), "4:18: error: 'template' holds a line break or another control character");
    char text[1200] = A("template: 1234567");
    memset(strstr(text, "1234567"), 'n', 501);
    strcpy(strstr(text, "nnn") + 501, " }\n");
    assert_refused(text, "4:18: error: the name of a template is longer than 500 bytes");
    strcpy(strstr(text, "nnn") + 500, " }\n");
    lab_free(spec_good(text));
    assert_refused(
        FAR "templates: { gh: { user: me } }\nmachines: { a: { template: gh } }\n",
        "4:28: error: the template 'gh' must be on the hypervisor already, as the driver 'remote' clones, and "
        "'templates' describes a file of this machine; give the entry at 3:14 another name, or remove it");
    assert_refused(
        "lab: x\nmachines: { a: { template: /DC0/vm/t } }\n",
        "2:28: error: '/DC0/vm/t' cannot be the name of a template; use 1 to 42 lower-case letters, digits and "
        "'-', with no '-' at either end");
    /* What is cloned on is wrong already: that is enough. */
    assert_refused("lab: x\nhosts: { h: { driver: remot } }\nmachines: { a: { template: /DC0/vm/t } }\n",
                   "2:23: error: 'driver' cannot be 'remot': there is no such driver; did you mean 'remote'?");
}

/* --- clone --- */

static void clones_are_linked_unless_asked_otherwise(void **state) {
    (void)state;
    struct lab *lab = spec_good(BOTH "defaults: { template: t, clone: full }\n"
                                     "machines:\n  a: { host: vc }\n  b: { host: vc, clone: linked }\n"
                                     "  c: { host: here }\n  d: { host: here, clone: linked }\n");
    assert_true(spec_machine(lab, "x/a")->full_clone);
    assert_false(spec_machine(lab, "x/b")->full_clone);
    assert_false(spec_machine(lab, "x/c")->full_clone); /* the default holds where there is a choice */
    assert_false(spec_machine(lab, "x/d")->full_clone);
    lab_free(lab);
    lab = spec_good(A("template: t"));
    assert_false(spec_machine(lab, "x/a")->full_clone);
    lab_free(lab);
    lab = spec_good(A("template: t, clone: full"));
    assert_true(spec_machine(lab, "x/a")->full_clone);
    lab_free(lab);
}

static void a_clone_the_driver_cannot_make_is_refused(void **state) {
    (void)state;
    assert_refused("lab: x\nmachines: { a: { template: t, clone: full } }\n",
                   "2:38: error: the driver 'qemu' always shares the disks of a template: 'clone' cannot be 'full'; "
                   "remove 'clone'");
    assert_refused(
        "lab: x\nhosts: { m: { driver: metal, address: a } }\nmachines: { a: { template: t, clone: linked } }\n",
        "3:38: error: the driver 'metal' always copies the disks of a template: 'clone' cannot be 'linked'; "
        "remove 'clone'");
    assert_refused(A("template: t, clone: thin"), "4:28: error: 'clone' cannot be 'thin'; choose one of linked, full");
    struct lab *lab = spec_good("lab: x\nhosts: { m: { driver: metal, address: a } }\n"
                                "machines: { a: { template: t, clone: full }, b: { template: t } }\n");
    assert_false(spec_machine(lab, "x/a")->full_clone); /* as any clone there: nothing was chosen */
    lab_free(lab);
}

/* --- extra-config --- */

static void extra_config_is_kept_as_it_is(void **state) {
    (void)state;
    struct lab *lab =
        spec_good(A("template: t, count: 2, extra-config: { SET.guest.ipAddress: 127.0.0.1, tools.sync: no, "
                    "n: 7, x-y: \" z \" }"));
    const struct machine *m = spec_machine(lab, "x/a-2");
    assert_int_equal(m->nextra, 4);
    assert_string_equal(m->extra[0].key, "SET.guest.ipAddress");
    assert_string_equal(m->extra[0].value, "127.0.0.1");
    assert_string_equal(m->extra[1].value, "no");
    assert_string_equal(m->extra[2].value, "7");
    assert_string_equal(m->extra[3].key, "x-y");
    assert_string_equal(m->extra[3].value, " z ");
    assert_ptr_equal(m->extra, spec_machine(lab, "x/a-1")->extra);
    lab_free(lab);
}

static void bad_extra_config(void **state) {
    (void)state;
    assert_refused(A("template: t, extra-config: { a: { b: c } }"),
                   "4:40: error: 'a' must be a single value, not a map");
    assert_refused(A("template: t, extra-config: { a: }"), "4:37: error: 'a' has no value");
    assert_refused(A("template: t, extra-config: [a]"),
                   "4:35: error: 'extra-config' must be a map of keys and values, not a list");
    assert_refused(A("template: t, extra-config: { a: \"b\\nc\" }"),
                   "4:40: error: 'a' holds a line break or another control character");
    assert_refused(A("template: t, extra-config: { \"a\\nb\": c }"),
                   "4:37: error: a key of 'extra-config' is empty or holds a control character");
    assert_refused(
        "lab: x\nmachines: { a: { template: t, extra-config: { a: b } } }\n",
        "2:31: error: the driver 'qemu' takes no 'extra-config'; remove it: 'a' runs on a hypervisor without "
        "such keys");
    assert_refused(
        A("template: t, extra-config: { a: b, NESTOR.lab: c, vhv.enable: \"TRUE\", nestor: d }"),
        "4:43: error: nestor sets 'NESTOR.lab' itself; remove it; cloud-init's data is given with 'user-data'",
        "4:58: error: nestor sets 'vhv.enable' itself; remove it; cloud-init's data is given with 'user-data'");
    cleanup_buffer struct buffer many = {0}, large = {0};
    buffer_puts(&many, FAR "machines: { a: { template: t, extra-config: { k: v");
    for (int i = 0; i < 100; i++)
        buffer_printf(&many, ", k%d: v", i);
    buffer_puts(&many, " } } }\n");
    assert_refused(buffer_str(&many), "3:45: error: 'extra-config' has 101 keys, and 100 is the most");
    buffer_puts(&large, FAR "machines: { a: { template: t, extra-config: { k: ");
    for (int i = 0; i < 65536; i++)
        buffer_putc(&large, 'v');
    buffer_puts(&large, " } } }\n");
    assert_refused(buffer_str(&large), "3:45: error: 'extra-config' is larger than 64KiB");
}

/* --- hypervisor: { driver: ... } --- */

static void a_guest_hypervisor_takes_parameters(void **state) {
    (void)state;
    struct lab *lab =
        spec_good(A("template: t, memory: 1GiB, hypervisor: { driver: remote, password: { env: ESX }, tls: { "
                    "insecure: true }, x-note: n }, machines: { b: { template: t } }"));
    const struct machine *m = spec_machine(lab, "x/a");
    assert_string_equal(m->hypervisor, "remote");
    assert_int_equal(m->nparams, 2); /* url, which a host must have, is not needed */
    assert_string_equal(m->params[0].key, "password.env");
    assert_string_equal(m->params[0].value, "ESX");
    assert_string_equal(m->params[1].key, "tls.insecure");
    assert_string_equal(m->params[1].value, "true");
    assert_int_equal(m->nesting, NESTING_REQUIRED);
    lab_free(lab);
}

static void bad_parameters_of_a_guest_hypervisor(void **state) {
    (void)state;
    assert_refused(A("template: t, hypervisor: { password: { env: P } }"),
                   "4:21: error: 'hypervisor' needs the key 'driver'");
    assert_refused(
        A("template: t, hypervisor: { driver: qemu }"),
        "4:43: error: 'driver' cannot be 'qemu': it cannot be a guest hypervisor; choose one of libvirt, kvm, "
        "inner, remote");
    assert_refused(
        A("template: t, hypervisor: { driver: remote, tls.c: x }"),
        "4:51: error: unknown key 'tls.c': it is no parameter of the driver 'remote'; did you mean 'tls.ca'?");
    assert_refused(A("template: t, hypervisor: { driver: remote, zzz: x }"),
                   "4:51: error: unknown key 'zzz': it is no parameter of the driver 'remote'; the keys of this "
                   "hypervisor are driver, url, password.env, password.file, tls.ca, tls.insecure");
    assert_refused(A("template: t, hypervisor: [remote]"),
                   "4:33: error: 'hypervisor' must be a single value, not a list");
}

/* --- secrets and paths --- */

#define HOST(keys) "lab: x\nhosts: { vc: { driver: remote, url: u, " keys " } }\nmachines: { a: { template: t } }\n"
#define HINT "; say where it is: password: { env: NAME } or password: { file: PATH }"

static void a_secret_must_not_stand_in_the_spec(void **state) {
    (void)state;
    assert_refused(HOST("password: hunter2"),
                   "2:40: error: 'password' is a secret, which must not stand in the spec" HINT);
    assert_refused(HOST("password: 12345"),
                   "2:40: error: 'password' is a secret, which must not stand in the spec" HINT);
    assert_refused(HOST("password: { env: \"hunter 2\" }"),
                   "2:52: error: 'password.env' must be the name of an environment variable" HINT);
    assert_refused(HOST("password: { env: 2hunter }"),
                   "2:52: error: 'password.env' must be the name of an environment variable" HINT);
    assert_refused(HOST("password: { env: A, file: b }"), "2:60: error: 'password' is given twice");
    assert_refused(HOST("password: { value: hunter2 }"),
                   "2:10: error: the host 'vc' needs the key 'password'; How to log in.",
                   "2:52: error: unknown key 'password.value': it is no parameter of the driver 'remote'; did you mean "
                   "'password.file'?");
}

/* What was written is not repeated: it is the password. */
static void a_url_with_a_password_must_not_stand_in_the_spec(void **state) {
    (void)state;
    assert_refused(
        "lab: x\nhosts: { vc: { driver: remote, url: \"https://me:hunter2@vc/sdk\", password: { env: A } } }\n"
        "machines: { a: { template: t } }\n",
        "2:32: error: 'url' has a password in it, which must not stand in the spec; take it out: a key of "
        "its own says where a password is, or a key of SSH makes it needless");
    lab_free(
        spec_good("lab: x\nhosts: { vc: { driver: remote, url: \"qemu+ssh://me@vc/system\", password: { env: A } } }\n"
                  "machines: { a: { template: t } }\n"));
}

static void files_are_seen_from_the_folder_of_the_spec(void **state) {
    (void)state;
    cleanup_free char *here = getcwd(NULL, 0);
    cleanup_free char *file = xasprintf("%s/labs/secrets/vc", here), *ca = xasprintf("%s/labs/ca.pem", here);
    struct lab *lab = spec_good(HOST("password: { file: secrets/vc }, tls: { ca: ca.pem }"));
    assert_int_equal(lab->hosts[0].nparams, 3);
    assert_string_equal(lab->hosts[0].params[1].key, "password.file");
    assert_string_equal(lab->hosts[0].params[1].value, file);
    assert_string_equal(lab->hosts[0].params[2].value, ca);
    lab_free(lab);
    lab = spec_good(HOST("password: { file: /run/vc }, tls: { ca: /etc/ca.pem, insecure: false }"));
    assert_string_equal(lab->hosts[0].params[1].value, "/run/vc");
    assert_string_equal(lab->hosts[0].params[2].value, "/etc/ca.pem");
    assert_string_equal(lab->hosts[0].params[3].value, "false");
    lab_free(lab);
}

/* --- readiness --- */

#define ESX "template: t, memory: 1GiB, hypervisor: remote"

static void an_address_is_enough_for_what_is_spoken_to_there(void **state) {
    (void)state;
    struct lab *lab = spec_good(FAR "defaults: { template: t }\nmachines:\n  a: { " ESX ", machines: { b: } }\n"
                                    "  c: { " ESX ", ready: ssh }\n  d: { " ESX ", ready: address, nesting: exposed }\n"
                                    "  e: { " ESX ", nesting: preferred }\n");
    assert_int_equal(spec_machine(lab, "x/a")->ready, READY_ADDRESS);
    assert_int_equal(spec_machine(lab, "x/a/b")->ready, READY_SSH);
    assert_int_equal(spec_machine(lab, "x/c")->ready, READY_SSH);
    assert_int_equal(spec_machine(lab, "x/d")->ready, READY_ADDRESS);
    assert_int_equal(spec_machine(lab, "x/e")->ready, READY_ADDRESS);
    lab_free(lab);
    assert_refused(A(ESX ", ready: running, machines: { b: { template: t } }"),
                   "4:62: error: 'a' has machines inside, which are made at its address: 'ready' cannot be 'running'; "
                   "remove 'ready', or say 'ready: address' for this machine");
    assert_refused(A(ESX ", ready: running"),
                   "4:62: error: the nesting of 'a' is proven at its address: 'ready' cannot be 'running'; remove "
                   "'ready', or say 'nesting: exposed' to go without the proof");
    lab_free(spec_good(A(ESX ", ready: running, nesting: exposed")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_driver_has_against_its_params_is_told_where_they_are),
        cmocka_unit_test(a_template_on_the_hypervisor_is_a_name_or_a_path),
        cmocka_unit_test(one_name_here_and_there_is_two_templates),
        cmocka_unit_test(what_a_machine_runs_in_says_where_templates_are),
        cmocka_unit_test(bad_templates_on_the_hypervisor),
        cmocka_unit_test(clones_are_linked_unless_asked_otherwise),
        cmocka_unit_test(a_clone_the_driver_cannot_make_is_refused),
        cmocka_unit_test(extra_config_is_kept_as_it_is),
        cmocka_unit_test(bad_extra_config),
        cmocka_unit_test(a_guest_hypervisor_takes_parameters),
        cmocka_unit_test(bad_parameters_of_a_guest_hypervisor),
        cmocka_unit_test(a_secret_must_not_stand_in_the_spec),
        cmocka_unit_test(a_url_with_a_password_must_not_stand_in_the_spec),
        cmocka_unit_test(files_are_seen_from_the_folder_of_the_spec),
        cmocka_unit_test(an_address_is_enough_for_what_is_spoken_to_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
