/* What the file says, decoded but not yet resolved: texts are the tree's, counts are not expanded, defaults not
 * applied. It lives as long as the scratch arena. */
#ifndef NESTOR_SPEC_DRAFT_H
#define NESTOR_SPEC_DRAFT_H

#include "spec/fields.h"

enum clone { CLONE_LINKED, CLONE_FULL };

/* What `defaults:` and each machine may say. */
struct settings {
    struct word template;
    struct number clone; /* enum clone */
    struct number cpus, memory, disk;
    struct number nesting, ready;
    struct word ssh_user;
    struct number ssh_port;
    struct number boot_timeout, stop_timeout;
};

/* A driver that was asked for. */
struct driver_ref {
    const struct driver *driver; /* NULL: not given, or not a fit one */
    struct origin at;            /* of the key; line 0: not given */
};

/* Free keys and values; texts are the tree's. */
struct params {
    struct param *items;
    size_t n;
    struct origin at; /* of the key they stand under; line 0: not given */
};

/* `hypervisor`. */
struct guest_draft {
    struct driver_ref driver;
    struct params params;
};

struct machine_draft;
struct machine_drafts {
    struct machine_draft *items;
    size_t n;
    struct origin at; /* of the key `machines`; line 0: not given */
};

/* One key under `machines:`: one machine, or `count` of them. */
struct machine_draft {
    struct settings settings; /* first: the shared keys' offsets hold for both */
    struct word name, host;
    struct guest_draft inside;
    struct number count, parallel;
    struct word user_data;
    struct params extra;
    struct machine_drafts machines;
    /* found by check.c */
    uint32_t host_index;
    const struct driver *on; /* the driver of what it runs on; NULL: unknown, and told */
    const struct template_draft *template;
    uint64_t total; /* machines it expands to, those inside included; at most SPEC_MACHINES_MAX + 1 */
};

struct host_draft {
    struct word name;
    struct driver_ref driver;
    struct number parallel;
    struct params params;
    bool used;
};

struct template_draft {
    struct word name, source, sha256, user;
    struct number format;  /* index into template_formats */
    struct origin boot_at; /* of `boot` with a kernel; line 0: from the disk */
    struct word kernel, initrd, cmdline;
    bool is_wrong;  /* something in its entry is, and told */
    bool on_host;   /* not of this machine: it lives on a hypervisor */
    uint32_t index; /* into struct lab's templates */
    bool used;
    bool used_here; /* and what that runs on is known to clone from this machine's files */
};
extern const struct choice template_formats[];

struct lab_draft {
    struct word name;
    struct host_draft *hosts;
    size_t nhosts;
    struct template_draft *templates;
    size_t ntemplates;
    struct settings defaults;
    struct machine_drafts machines;
};

extern const struct keyset lab_keys;

/* Decoding of one kind of thing each: host.c, template.c, machine.c, user_data.c. */
extern const struct keyset host_keys, guest_keys, template_keys, boot_keys, machine_keys, settings_keys, ssh_keys,
    timeouts_keys, user_data_keys;
decode_fn decode_hosts, decode_driver, decode_host_param;
decode_fn decode_guest_driver, decode_guest_param, decode_extra;
decode_fn decode_templates, decode_source, decode_sha256, decode_kernel_file, decode_boot;
decode_fn decode_machines, decode_hypervisor, decode_ssh_user, decode_name;
decode_fn decode_user_data;
decode_fn decode_reserved;

/* The path as seen from the spec's folder, "~/" expanded; in the scratch arena. */
const char *path_resolve(struct decoder *d, const char *path);
/* The same, and absolute: it must hold wherever a later nestor is started. */
const char *path_resolve_absolute(struct decoder *d, const char *path);

#endif
