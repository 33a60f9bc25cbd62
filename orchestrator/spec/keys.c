/* The language of the spec: every key there is, what it takes, and what it means. */
#include <stddef.h>
#include <string.h>

#include "spec/draft.h"
#include "spec/limits.h"

#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)
#define HOUR 3600

#define SETTING(member) .offset = offsetof(struct settings, member)
#define MACHINE(member) .offset = offsetof(struct machine_draft, member)
#define GUEST(member) .offset = offsetof(struct guest_draft, member)
#define HOST(member) .offset = offsetof(struct host_draft, member)
#define TEMPLATE(member) .offset = offsetof(struct template_draft, member)
#define LAB(member) .offset = offsetof(struct lab_draft, member)
#define RESERVED(name)                                                                                                 \
    { .key = name, .type = "reserved", .help = "Reserved for a later version of nestor.", .decode = decode_reserved }

static const struct choice nestings[] = {
    {"required", NESTING_REQUIRED},
    {"preferred", NESTING_PREFERRED},
    {"exposed", NESTING_EXPOSED},
    {"off", NESTING_OFF},
    {0},
};

static const struct choice readies[] = {
    {"ssh", READY_SSH},
    {"address", READY_ADDRESS},
    {"running", READY_RUNNING},
    {0},
};

static const struct choice clones[] = {{"linked", CLONE_LINKED}, {"full", CLONE_FULL}, {0}};

const struct choice template_formats[] = {{"qcow2", 0}, {"raw", 1}, {0}};

static const char *choice_name(const struct choice *c, uint64_t value) {
    while (c->name && c->value != value)
        c++;
    return c->name ? c->name : "unknown";
}

static const struct choice *choice_find(const struct choice *c, const char *name) {
    while (c->name && strcmp(c->name, name) != 0)
        c++;
    return c->name ? c : NULL;
}

const char *nesting_name(enum nesting n) { return choice_name(nestings, n); }
const char *ready_name(enum ready r) { return choice_name(readies, r); }

bool nesting_parse(const char *name, enum nesting *ret) {
    const struct choice *c = choice_find(nestings, name);
    if (c)
        *ret = (enum nesting)c->value;
    return c != NULL;
}

bool ready_parse(const char *name, enum ready *ret) {
    const struct choice *c = choice_find(readies, name);
    if (c)
        *ret = (enum ready)c->value;
    return c != NULL;
}

const struct keyset ssh_keys = {
    .name = "ssh",
    .fields =
        (const struct field[]){
            {"user", "login name", "the template's user, else root", "Who to log in as.", decode_ssh_user,
             SETTING(ssh_user)},
            {"port", "1 to 65535", "22", "The port inside the machine.", decode_number, SETTING(ssh_port),
             .unit = &unit_count, .min = 1, .max = 65535},
            {0},
        },
};

const struct keyset timeouts_keys = {
    .name = "timeouts",
    .fields =
        (const struct field[]){
            {"boot", "duration", "the driver's, longer under emulation", "How long a machine may take to become ready.",
             decode_number, SETTING(boot_timeout), .unit = &unit_seconds, .min = 1, .max = 24 * HOUR},
            {"stop", "duration", "nestor's own", "How long a machine may take to power off before its power is cut.",
             decode_number, SETTING(stop_timeout), .unit = &unit_seconds, .min = 1, .max = 24 * HOUR},
            {0},
        },
};

const struct keyset settings_keys = {
    .name = "defaults",
    .fields =
        (const struct field[]){
            {"template", "name or inventory path", "none: a machine needs one",
             "What is cloned: a key of `templates`, an image of nestor's catalogue, or what the hypervisor has "
             "already.",
             decode_word, SETTING(template)},
            {"clone", "`linked` or `full`", "`linked`, where the driver can",
             "Whether a clone shares the template's disks, or copies them.", decode_choice, SETTING(clone),
             .choices = clones},
            {"cpus", "1 to 256", "1", "Virtual CPUs.", decode_number, SETTING(cpus), .unit = &unit_count, .min = 1,
             .max = 256},
            {"memory", "size", "512MiB", "Memory.", decode_number, SETTING(memory), .unit = &unit_bytes,
             .min = 16 * MIB, .max = 64 * TIB},
            {"disk", "size", "the template's", "Size of the first disk; it can grow beyond the template's, not shrink.",
             decode_number, SETTING(disk), .unit = &unit_bytes, .min = 1 * MIB, .max = 256 * TIB},
            {"nesting", "`required`, `preferred`, `exposed` or `off`", "`required` with `hypervisor`, else `off`",
             "Hardware virtualization for the machine, and how far it is proven.", decode_choice, SETTING(nesting),
             .choices = nestings},
            {"ready", "`ssh`, `address` or `running`", "`ssh`; `address` if it becomes a hypervisor spoken to there",
             "What makes the machine ready.", decode_choice, SETTING(ready), .choices = readies},
            {"ssh", "map", "see [ssh](#ssh)", "How to log in.", decode_map, .keys = &ssh_keys},
            {"timeouts", "map", "see [timeouts](#timeouts)", "How long to wait.", decode_map, .keys = &timeouts_keys},
            {0},
        },
};

const struct keyset user_data_keys = {
    .name = "user-data",
    .fields =
        (const struct field[]){
            {"file", "path", "must be given", "A file with cloud-init user-data, seen from the spec's folder.",
             decode_word, 0, .required = true},
            {0},
        },
};

const struct keyset machine_keys = {
    .name = "machine",
    .more = &settings_keys,
    .fields =
        (const struct field[]){
            {"host", "name", "the only host", "The host it runs on; only for machines of the first level.", decode_word,
             MACHINE(host)},
            {"hypervisor", "driver or map", "none: a plain guest",
             "What the machine is inside: a guest hypervisor of this kind, verified and then opened.",
             decode_hypervisor, MACHINE(inside), .keys = &guest_keys},
            {"count", "1 to 10000", "one machine, named as the key",
             "How many: `kvm` with `count: 3` becomes `kvm-1`, `kvm-2` and `kvm-3`.", decode_number, MACHINE(count),
             .unit = &unit_count, .min = 1, .max = SPEC_COUNT_MAX},
            {"parallel", "1 to 1000", "the driver's",
             "Most operations at once on the guest hypervisor it becomes; needs `hypervisor`.", decode_number,
             MACHINE(parallel), .unit = &unit_count, .min = 1, .max = 1000},
            {"user-data", "text or map", "none", "Extra cloud-init user-data: the text itself, or `{ file: PATH }`.",
             decode_user_data, MACHINE(user_data), .keys = &user_data_keys},
            {"extra-config", "map of keys and values", "none",
             "Advanced keys of the hypervisor it runs on, as they are; only where the driver takes them.", decode_extra,
             MACHINE(extra)},
            {"machines", "map of machines", "none", "Machines inside this one; needs `hypervisor`.", decode_machines,
             MACHINE(machines), .keys = &machine_keys},
            RESERVED("networks"),
            {0},
        },
};

const struct keyset guest_keys = {
    .name = "hypervisor",
    .other = decode_guest_param,
    .fields =
        (const struct field[]){
            {"driver", "driver", "must be given", "How to speak to the hypervisor in the machine.", decode_guest_driver,
             GUEST(driver), .required = true},
            {0},
        },
};

const struct keyset host_keys = {
    .name = "host",
    .other = decode_host_param,
    .fields =
        (const struct field[]){
            {"driver", "driver", "must be given", "How to speak to the host.", decode_driver, HOST(driver),
             .required = true},
            {"parallel", "1 to 1000", "the driver's", "Most operations at once on the host.", decode_number,
             HOST(parallel), .unit = &unit_count, .min = 1, .max = 1000},
            {0},
        },
};

const struct keyset boot_keys = {
    .name = "boot",
    .fields =
        (const struct field[]){
            {"kernel", "path or https URL", "must be given", "The kernel to start.", decode_kernel_file,
             TEMPLATE(kernel), .required = true},
            {"initrd", "path or https URL", "none", "The initial RAM disk.", decode_kernel_file, TEMPLATE(initrd)},
            {"cmdline", "text", "none", "The kernel's command line.", decode_word, TEMPLATE(cmdline)},
            {0},
        },
};

const struct keyset template_keys = {
    .name = "template",
    .fields =
        (const struct field[]){
            {"source", "path or URL", "nestor's image of that name",
             "The disk image: a path seen from the spec's folder, or a http(s) URL.", decode_source, TEMPLATE(source)},
            {"sha256", "64 hex digits", "none; a URL needs it", "Checksum of the source.", decode_sha256,
             TEMPLATE(sha256)},
            {"format", "`qcow2` or `raw`", "by the suffix of the source, else qcow2", "Format of the disk image.",
             decode_choice, TEMPLATE(format), .choices = template_formats},
            {"boot", "`disk` or map", "`disk`", "Boot from the disk, or start a kernel directly.", decode_boot, 0,
             .keys = &boot_keys},
            {"user", "login name", "root", "Who to log in as, unless the machine's `ssh` says otherwise.",
             decode_ssh_user, TEMPLATE(user)},
            {0},
        },
};

const struct keyset lab_keys = {
    .name = "lab",
    .fields =
        (const struct field[]){
            {"lab", "name", "must be given", "Name of the lab: the first part of every machine's path.", decode_name,
             LAB(name), .required = true},
            {"hosts", "map of hosts", "`local`, with driver `qemu`", "Where machines of the first level run.",
             decode_hosts, 0, .keys = &host_keys},
            {"templates", "map of templates", "none", "What can be cloned, beside the images of nestor's catalogue.",
             decode_templates, 0, .keys = &template_keys},
            {"defaults", "map", "none", "What holds for every machine that does not say otherwise.", decode_map,
             LAB(defaults), .keys = &settings_keys},
            {"machines", "map of machines", "must be given", "The machines of the first level.", decode_machines,
             LAB(machines), .required = true, .keys = &machine_keys},
            RESERVED("networks"),
            RESERVED("seats"),
            RESERVED("lease"),
            {0},
        },
};

const struct keyset *const keysets[] = {
    &lab_keys, &host_keys,     &guest_keys,   &template_keys,  &boot_keys, &settings_keys,
    &ssh_keys, &timeouts_keys, &machine_keys, &user_data_keys, NULL,
};

void decode_reserved(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)slot;
    spec_error(d->diags, entry->key->origin, "'%s' is reserved for a later version of nestor", field->key);
}
