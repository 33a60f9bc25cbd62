/* The libvirt driver: KVM as a host (local or remote) and as a guest hypervisor, spoken to with virsh through the
 * hypervisor's access. docs/hosts/libvirt.md tells what it makes and how to undo it by hand. */
#ifndef NESTOR_DRIVERS_LIBVIRT_H
#define NESTOR_DRIVERS_LIBVIRT_H

#include <pthread.h>

#include "nestor/driver.h"

extern const struct driver libvirt_driver;

struct hypervisor {
    pthread_mutex_t images; /* held while one is brought: who waits for it then finds it there */
    char *subject;
    struct access *access; /* borrowed */
    char *uri;             /* "qemu:///system" */
    char *directory;       /* on the hypervisor: base/SHA256.qcow2 and NAME/{tag,disk.qcow2,seed.img,console.log} */
    char *network;         /* libvirt network of its machines */
    bool accelerated;      /* domains of type kvm; else qemu */
};

/* --- script.c: one round trip per operation --- */

/* A script under construction: starts with `set -eu`, the variables dir, base and net, and the functions v: virsh
 * quietly on our connection, and discard: a machine's directory goes. */
void script_begin(const struct hypervisor *hv, struct buffer *script);
/* Adds NAME=VALUE, quoted. */
void script_set(struct buffer *script, const char *name, const char *value);
/* Runs it. A non-zero exit status is an error made from its standard error: ERR_PROCESS, or what the status stands for
 * (SCRIPT_* below). ret_out (may be NULL) gets standard output, owned by the caller. */
int script_run(struct hypervisor *hv, const char *script, const void *input, size_t input_len, struct buffer *ret_out,
               const struct context *ctx, struct error *err) NESTOR_CHECKED;
enum { SCRIPT_ABSENT = 90, SCRIPT_EXISTS = 91, SCRIPT_RUNNING = 92, SCRIPT_NOT_RUNNING = 93, SCRIPT_CHECKSUM = 94 };

/* A function for scripts: whether the domain $name is defined. A virsh that does not work ends the script: no answer is
 * no proof that it is not. */
#define SCRIPT_LISTED                                                                                                  \
    "nl='\n'\n"                                                                                                        \
    "listed() {\n"                                                                                                     \
    "    now=$(v list --all --name) || exit\n"                                                                         \
    "    case $nl$now$nl in *\"$nl$name$nl\"*) ;; *) return 1 ;; esac\n"                                               \
    "}\n"
/* And one that prints its state, or "absent". Of a domain that is listed, but does not tell its state, nobody knows it:
 * that is an error, in virsh's words. To be taken into a variable, with which the script ends. */
#define SCRIPT_STATE                                                                                                   \
    SCRIPT_LISTED                                                                                                      \
    "state() {\n"                                                                                                      \
    "    v domstate \"$name\" 2>/dev/null && return\n"                                                                 \
    "    if listed; then v domstate \"$name\"; else echo absent; fi\n"                                                 \
    "}\n"

/* --- domain.c: domain XML through libxml2 --- */

/* The XML of a new machine. Caller frees with free. */
char *domain_xml(const struct hypervisor *hv, const struct machine_spec *spec);
/* What nestor wants to know of a domain's XML (hostile: it comes from the hypervisor). Strings go into arena.
 * ERR_PROTOCOL if it is no domain of ours. */
struct domain_info {
    const char *name, *lab_id, *path, *digest;
    bool running, exposed;
};
int domain_parse(const char *xml, size_t len, struct arena *arena, struct domain_info *ret,
                 struct error *err) NESTOR_CHECKED;
/* The same XML with nesting switched on or off. Caller frees with free. */
int domain_set_exposed(const struct hypervisor *hv, const char *xml, size_t len, bool on, char **ret,
                       struct error *err) NESTOR_CHECKED;

/* --- the operations, by file --- */
int libvirt_observe(struct hypervisor *, const char *, struct observation **, const struct context *, struct error *);
int libvirt_check(struct hypervisor *, struct capability *, const struct context *, struct error *);
int libvirt_ensure_image(struct hypervisor *, const struct image *, progress_fn, void *, const struct context *,
                         struct error *);
int libvirt_prune(struct hypervisor *, const struct context *, struct error *);
int libvirt_address(struct hypervisor *, const struct machine_spec *, struct endpoint *, const struct context *,
                    struct error *);

/* native name of a tag, as machine_native_name; caller frees */
static inline char *libvirt_name(const struct tag *tag) { return machine_native_name(tag->lab_id, tag->path); }

#endif
