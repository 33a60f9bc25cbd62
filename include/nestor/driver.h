/* The driver contract: how to speak to one kind of hypervisor.
 *
 * A driver is one `const struct driver`; an opened hypervisor is an opaque `struct hypervisor *` made by open and
 * ended by close. No file-level state: several hypervisors of one kind are open at once, at any level. A driver
 * never asks which level it is at: it gets an access (transport.h) and works through it.
 *
 *   open -> check, observe, ensure_image, ensure_network                       (once, before machines)
 *           create -> expose -> start -> address -> ... -> stop -> remove      (per machine)
 *        -> close
 *
 * Every operation blocks, ends soon after its context does, is idempotent (asking for what is already so
 * succeeds), and may be called from several threads at once for different machines; check and examine run beside
 * each other. What an operation made must be found again by `observe` from the moment the side effect exists, so
 * that a killed run leaves nothing unknown: the ownership tag is written with, or before, the object itself.
 */
#ifndef NESTOR_DRIVER_H
#define NESTOR_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "nestor/context.h"
#include "nestor/error.h"
#include "nestor/image.h"
#include "nestor/lab.h"
#include "nestor/transport.h"

#define DRIVER_API 1

struct hypervisor; /* each driver defines its own */

/* What marks a machine as ours on its hypervisor. */
struct tag {
    const char *lab_id; /* 16 hex digits */
    const char *path;   /* "quickstart/kvm1/web1" */
};

/* How to open a hypervisor. Everything is borrowed for the life of the handle. */
struct hypervisor_config {
    const char *subject; /* "host local" or "quickstart/kvm1": for messages */
    const char *lab_id;  /* the lab it is opened for, and its name; NULL when it is for none (gc, doctor) */
    const char *lab_name;
    /* Into the hypervisor's machine. With DRIVER_BY_ADDRESS: what its address is dialled through. */
    struct access *access;
    const struct endpoint *endpoint; /* DRIVER_BY_ADDRESS, a guest hypervisor: where it answers; else NULL */
    const struct param *params;      /* of the host, or of the machine's `hypervisor`, from the spec */
    size_t nparams;
    const char *home; /* nestor's state directory, for drivers that keep files on this machine */
    bool accelerated; /* false: its children run without hardware help (verify failed and nesting: preferred) */
    /* With DRIVER_TEMPLATES, as far as it is known: what the machines on it are cloned from; first the nnesting that
     * are for machines that nest. For examine. */
    const char *const *templates;
    size_t ntemplates, nnesting;
    const struct asker *asker; /* for a secret the spec does not point at, and for warnings; NULL: nobody is there */
};

/* The person in front of nestor. May be called from any thread; calls do not overlap. */
struct asker {
    /* "Password of administrator@vsphere.local at host vc: " on the terminal, without echo. *ret is the caller's to
     * wipe. ERR_USAGE when there is no terminal, ERR_CANCELLED after Ctrl-C. */
    int (*ask)(void *data, const char *prompt, struct buffer *ret, struct error *err);
    void *data;
    /* What they ought to know of what the spec asks for. Each thing is said once per run, however often it is told. May
     * be NULL. */
    void (*warn)(void *data, const char *subject, const char *text);
};

/* What a machine is to be. Borrowed for the call. */
struct machine_spec {
    struct tag tag;
    const char *name; /* machine_native_name */
    const char *uuid;
    const char *mac;
    uint32_t cpus;
    uint64_t memory, disk; /* bytes; disk 0: the image's */
    bool expose;           /* hardware virtualization on for it */
    /* With DRIVER_TEMPLATES only the image's name is set: the driver's own name or path of the template. */
    const struct image *image;
    const void *seed; /* the NoCloud volume (image.h); none with DRIVER_TEMPLATES */
    size_t seed_len;
    /* The two texts the seed is made of, for hypervisors that hand them over in another way (guestinfo). user_data
     * holds the machine's private host key. NULL but for create. */
    const char *meta_data, *user_data;
    bool full_clone;           /* copy the disks instead of sharing the template's */
    const struct param *extra; /* advanced keys of the hypervisor's own (`extra-config`) */
    size_t nextra;
    uint16_t ssh_port;  /* port inside the machine that must be reachable */
    const char *digest; /* of all of the above but the seed: kept with the machine, given back by observe */
};

enum power { POWER_ABSENT, POWER_OFF, POWER_ON, POWER_BROKEN /* there, but only remove can help */ };
const char *power_name(enum power p);

/* One machine of ours as the hypervisor has it. Strings are owned by the observation. */
struct observed {
    const char *lab_id, *path, *name;
    const char *digest; /* "" if unknown */
    enum power power;
    bool exposed; /* as read back from the hypervisor */
};
struct observation {
    struct arena arena;
    struct observed *items;
    size_t n;
    uint32_t parallel; /* as capability's; for what changes it without checking it, as down does */
};
/* A new, zeroed item at the end; valid until the next call. For drivers. */
struct observed *observation_add(struct observation *o);
void observation_free(struct observation *o); /* NULL-safe; frees the struct too */

/* Where a machine answers, as seen from its hypervisor's access. */
struct endpoint {
    char host[64]; /* numeric address */
    uint16_t port; /* where its ssh_port is reached (differs behind a port forward) */
};

/* Can the hypervisor nest, and how fast is it? */
struct capability {
    bool can_nest;
    bool emulated;        /* no hardware help: everything is slow, timeouts are longer */
    char flag[8];         /* "vmx", "svm" or "" : what a guest with expose on will see */
    char reason[32];      /* reason code when !can_nest ("host-nested-off" ...), else "" */
    char detail[256];     /* one sentence */
    uint64_t memory_free; /* bytes; UINT64_MAX: unknown */
    uint64_t disk_free;   /* bytes where machines are kept */
    uint32_t cpus;
    /* The most that one machine can be given; 0: unknown, or there is no such bound. */
    uint32_t machine_cpus;
    uint64_t machine_memory; /* bytes */
    uint32_t parallel; /* units of work it takes at once; 0: the driver's default. The spec's `parallel` goes first */
};

/* One thing that was looked at on a hypervisor. */
enum finding_kind { FINDING_FINE, FINDING_WARNING, FINDING_UNFIT /* a lab cannot work so */ };
struct finding {
    enum finding_kind kind;
    const char *subject;  /* "port group VM Network" */
    const char *text;     /* "it rejects forged transmits: nested machines would get no answer" */
    const char *mend;     /* "" when fine */
    const char *template; /* only what is still to be made from that template is concerned; NULL: everything is */
};
typedef void (*finding_fn)(void *data, const struct finding *finding); /* the finding is valid during the call */

/* A network that was made for a lab, and the first 8 digits of the lab's id; both are valid during the call. */
typedef void (*network_fn)(void *data, const char *name, const char *lab_digits);

enum driver_feature {
    DRIVER_LINKED_CLONE = 1 << 0,
    DRIVER_SNAPSHOT = 1 << 1,
    DRIVER_GUEST = 1 << 2,      /* can be the inside of a guest hypervisor (`hypervisor: NAME`) */
    DRIVER_HOST = 1 << 3,       /* can be a host (`driver: NAME`) */
    DRIVER_TEMPLATES = 1 << 4,  /* what it clones lives on it already, under its own names and paths */
    DRIVER_BY_ADDRESS = 1 << 5, /* spoken to at its address, not from inside: needs no SSH to be opened */
    DRIVER_EXTRA = 1 << 6,      /* takes advanced keys of its own (`extra-config`) */
    DRIVER_FULL_CLONE =
        1 << 7, /* can copy the disks as well (`clone: full`); without DRIVER_LINKED_CLONE it always does */
};

struct driver_param {
    const char *key;
    const char *help;
    bool required; /* of a host; a guest hypervisor may do without */
    /* The value is never in the spec, which is kept in the state: the spec says where it is. A secret "password" comes
     * as one of "password.env", the name of an environment variable, and "password.file", an absolute path; or as
     * neither: then `asker`. The table has the one row, "password". */
    bool secret;
    bool path; /* of a file here: seen from the spec's folder; comes as an absolute path */
};

struct driver {
    size_t size;  /* sizeof(struct driver): fields are only ever added at the end */
    unsigned api; /* DRIVER_API */
    const char *name;
    const char *summary;
    unsigned features;                                /* enum driver_feature */
    const struct driver_param *params;                /* ends with key NULL */
    uint32_t parallel;                                /* default for "most operations at once" */
    uint32_t boot_timeout_s, boot_timeout_emulated_s; /* defaults until a machine is ready */

    int (*open)(const struct hypervisor_config *config, struct hypervisor **ret, const struct context *ctx,
                struct error *err);
    void (*close)(struct hypervisor *hv);

    int (*check)(struct hypervisor *hv, struct capability *ret, const struct context *ctx, struct error *err);
    /* Everything of lab_id (NULL: of any lab) found by its tag, in one bulk read. */
    int (*observe)(struct hypervisor *hv, const char *lab_id, struct observation **ret, const struct context *ctx,
                   struct error *err);
    /* The image is there, whole (checksummed), copied at most once per hypervisor. */
    int (*ensure_image)(struct hypervisor *hv, const struct image *image, progress_fn progress, void *data,
                        const struct context *ctx, struct error *err);
    int (*ensure_network)(struct hypervisor *hv, const struct context *ctx, struct error *err);

    /* A clone, tagged, powered off. Half-made leftovers of an earlier try with the same tag are replaced. */
    int (*create)(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx, struct error *err);
    /* Turns nesting on or off while powered off, reads it back into *ret_exposed. */
    int (*expose)(struct hypervisor *hv, const struct machine_spec *spec, bool on, bool *ret_exposed,
                  const struct context *ctx, struct error *err);
    int (*start)(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx, struct error *err);
    /* Asks the guest to power off and waits until it has; at the context's end ERR_TIMEOUT. */
    int (*stop)(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err);
    int (*power_cut)(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err);
    /* Waits until the machine has an address (matched by our MAC). Ends at once with ERR_DIED, and the end of its
     * console as the cause, if it is not running. */
    int (*address)(struct hypervisor *hv, const struct machine_spec *spec, struct endpoint *ret,
                   const struct context *ctx, struct error *err);
    /* The last bytes of its serial console, printable; nothing where none are kept. */
    int (*console)(struct hypervisor *hv, const struct tag *tag, struct buffer *ret, const struct context *ctx,
                   struct error *err);
    /* Machine, disks, seed and whatever else create made are gone when this returns 0. Needs neither the spec nor
     * the image; powers off first. */
    int (*remove)(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err);
    /* Images and whatever else ensure_* copied to this hypervisor and no machine uses. Optional. */
    int (*prune)(struct hypervisor *hv, const struct context *ctx, struct error *err);

    /* Optional: how to get into a machine other than by SSH to its address (the fake driver's machines). The access
     * returned is the caller's to close, before the hypervisor. ERR_UNSUPPORTED: reach this machine by SSH. */
    int (*connect)(struct hypervisor *hv, const struct machine_spec *spec, struct access **ret,
                   const struct context *ctx, struct error *err);

    /* Optional, with DRIVER_SNAPSHOT; no driver and no command has them yet. */
    int (*snapshot)(struct hypervisor *hv, const struct tag *tag, const char *name, const struct context *ctx,
                    struct error *err);
    int (*revert)(struct hypervisor *hv, const struct tag *tag, const char *name, const struct context *ctx,
                  struct error *err);
    int (*drop_snapshot)(struct hypervisor *hv, const struct tag *tag, const char *name, const struct context *ctx,
                         struct error *err);

    uint32_t full_clone_units; /* what `clone: full` costs of `parallel`; 0: 1, as everything else */
    bool expose_is_light;      /* expose changes a setting, and costs nothing of `parallel` */
    /* Optional: looks at what a lab needs of it (networks, licence, versions), calls fn for each thing in turn. For
     * doctor, and before anything is made. */
    int (*examine)(struct hypervisor *hv, finding_fn fn, void *data, const struct context *ctx, struct error *err);
    /* Optional: makes the hypervisor itself ready to nest, or takes that back; asking twice changes nothing. What was
     * done, in lines for people, to *report. */
    int (*prepare)(struct hypervisor *hv, bool undo, struct buffer *report, const struct context *ctx,
                   struct error *err);
    /* Optional: how many operations are of use at the same time, as the hypervisor answers now; more would only wait
     * for each other here. Asked often, so it returns at once. */
    uint32_t (*at_once)(struct hypervisor *hv);
    /* Optional, both or neither: the networks that ensure_network makes per lab. Calls fn for each that is there, of
     * whichever lab, once; needs no machine, and no more of the handle's params than what it takes to log in. */
    int (*networks)(struct hypervisor *hv, network_fn fn, void *data, const struct context *ctx, struct error *err);
    /* Removes what `networks` calls so, and nothing else; one that is gone is fine. ERR_LOCKED while something is
     * connected to it. */
    int (*remove_network)(struct hypervisor *hv, const char *name, const struct context *ctx, struct error *err);
    /* Optional: whether the params, each of which is one of its own, go together and can be read; asks nobody. subject,
     * params and, of a guest hypervisor, some endpoint are set. ERR_SPEC. */
    int (*check_params)(const struct hypervisor_config *config, struct error *err);
    /* With DRIVER_EXTRA: what the keys begin with that it sets itself, in any case; ends with NULL. NULL: it sets none.
     */
    const char *const *extra_own;
};

/* The table of all drivers (drivers/table.c). NULL if there is none of that name. */
const struct driver *driver_find(const char *name);
/* Calls fn for each driver in table order. */
void driver_each(void (*fn)(void *data, const struct driver *driver), void *data);

/* The value of a host parameter, or fallback. */
const char *param_get(const struct hypervisor_config *config, const char *key, const char *fallback);

#endif
