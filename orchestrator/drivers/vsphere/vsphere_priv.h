/* What the files of the vsphere driver share.
 *
 * A machine of ours is a VM whose extraConfig holds nestor.lab and nestor.path, and whose instance UUID is the one that
 * derives from them, or which has its name in the folder of ours: a VM somebody copied or restored from ours carries
 * the same extraConfig, but another UUID, and lies elsewhere or has another name. All of it is written by the call that
 * makes the VM, so a nestor killed at any instant leaves nothing that is not found.
 *
 *   nothing -> VM with tag          create; the digest too, when expose follows and sets the hardware
 *   tag without digest              its hardware was not set yet: half-made (POWER_BROKEN)
 *   two VMs with one tag            a call that was repeated although it had arrived: half-made as well
 */
#ifndef NESTOR_DRIVERS_VSPHERE_PRIV_H
#define NESTOR_DRIVERS_VSPHERE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "drivers/vsphere/client.h"
#include "nestor/driver.h"
#include "nestor/identity.h"

/* --- config.c: what the lab file says --- */

/* X(symbol, parameter, what it is, folder of a datacenter it is in, type; another type) */
#define VSPHERE_PLACES(X)                                                                                              \
    X(PLACE_DATACENTER, "inventory.datacenter", "datacenter", "", "Datacenter", "Datacenter")                          \
    X(PLACE_CLUSTER, "inventory.cluster", "cluster", "host", "ComputeResource", "ClusterComputeResource")              \
    X(PLACE_HOST, "inventory.host", "host", "host", "HostSystem", "HostSystem")                                        \
    X(PLACE_POOL, "inventory.resource-pool", "resource pool", "host", "ResourcePool", "VirtualApp")                    \
    X(PLACE_DATASTORE, "inventory.datastore", "datastore", "datastore", "Datastore", "Datastore")                      \
    X(PLACE_FOLDER, "inventory.folder", "folder", "vm", "Folder", "Folder")                                            \
    X(PLACE_NETWORK, "inventory.network", "network", "network", "Network", "DistributedVirtualPortgroup")              \
    X(PLACE_TEMPLATE, NULL, "template", "vm", "VirtualMachine", "VirtualMachine")

enum vsphere_place {
#define X(symbol, param, noun, folder, type, also) symbol,
    VSPHERE_PLACES(X)
#undef X
        PLACE_MAX
};

struct vsphere_settings {
    char *url;
    const char *username;
    const char *password_env, *password_file; /* NULL, NULL: asked for */
    struct http_trust trust;
    const char *dial_host; /* a guest hypervisor: where it answers */
    uint16_t dial_port;
    const char *named[PLACE_MAX]; /* as the user wrote it; NULL: not given */
    const char *vswitch;          /* where a network of the lab's own is made; NULL */
    int vlan;                     /* of that network; 0: none */
    int ssh_port;                 /* of an ESXi that is prepared */
};
/* ERR_SPEC about config->subject. What *ret points to is the config's, but for url. */
int vsphere_settings_read(const struct hypervisor_config *config, struct vsphere_settings *ret,
                          struct error *err) NESTOR_CHECKED;
void vsphere_settings_free(struct vsphere_settings *s);
/* Where the spec points at, or asked for once per handle. A struct hypervisor as data: the `password` of vim_config. */
int vsphere_password(void *data, struct buffer *ret, struct error *err);

/* --- once.c: what is found once per handle, by whoever needs it first --- */

struct once {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool busy, done;
};
void once_init(struct once *o);
void once_destroy(struct once *o);
/* 1: it is the caller's to do, ended by once_end; 0: it is done; -1: ctx ended while another did it. A failure is not
 * kept: the next who needs it tries again. */
int once_begin(struct once *o, const char *subject, const char *what, const struct context *ctx,
               struct error *err) NESTOR_CHECKED;
void once_end(struct once *o, bool done);
/* All of that: calls `look` with hv and data unless it is done. */
typedef int (*vsphere_look)(struct hypervisor *hv, void *data, const struct context *ctx, struct error *err);
int once_do(struct once *o, const char *subject, const char *what, struct hypervisor *hv, vsphere_look look, void *data,
            const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* --- places.c: names to references --- */

struct vsphere_datacenter {
    struct moref ref;
    char *name; /* inventory path without the leading slash: "DC0" */
};
struct vsphere_compute {
    struct moref compute, pool;
    struct moref host;        /* only when machines are pinned to one */
    bool no_drs;              /* a cluster that does not place machines itself */
    struct moref_list hosts;  /* those machines may run on */
    struct moref_list usable; /* of them: connected, out of maintenance, and this user may see it, when it was found */
};
/* Each is looked up by the first who asks, and then known. *ret is the handle's, unchanged until it is closed. */
int vsphere_datacenter(struct hypervisor *hv, const struct vsphere_datacenter **ret, const struct context *ctx,
                       struct error *err) NESTOR_CHECKED;
int vsphere_compute(struct hypervisor *hv, const struct vsphere_compute **ret, const struct context *ctx,
                    struct error *err) NESTOR_CHECKED;
void vsphere_compute_free(struct vsphere_compute *c); /* what is in it */
/* The host the next machine is put on; NULL: the server chooses. A cluster without DRS must be told one (CloneVM_Task
 * answers InvalidArgument: VirtualMachineRelocateSpec.host in the API reference), and gets its usable ones in turn. */
const struct moref *vsphere_host_for_next(struct hypervisor *hv, const struct vsphere_compute *c);
/* Of a host that was read with runtime.connectionState and runtime.inMaintenanceMode. */
bool vsphere_host_is_usable(const struct vim_object *host);
/* PLACE_DATASTORE, _FOLDER or _NETWORK. Not named and not needed (a vCenter takes the template's): an unset *ret. */
int vsphere_place(struct hypervisor *hv, enum vsphere_place place, struct moref *ret, const struct context *ctx,
                  struct error *err) NESTOR_CHECKED;
/* Finds what the user called `name`: an inventory path, or a name. ERR_NOT_FOUND, ERR_CONFLICT (several of that name),
 * with what there is as the mend. */
int vsphere_place_find(struct hypervisor *hv, enum vsphere_place place, const char *name, struct moref *ret,
                       const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* Whatever is at that inventory path, which may begin at the place's folder; an unset *ret: nothing. */
int vsphere_path_find(struct hypervisor *hv, enum vsphere_place place, const char *name, struct moref *ret,
                      const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* The name of an object, as the server has it. Caller frees. */
int vsphere_name_of(struct hypervisor *hv, const struct moref *ref, char **ret, const struct context *ctx,
                    struct error *err) NESTOR_CHECKED;

/* Several looks at the server, each of a few round trips, at the same time; the error of the first in order that fails.
 * looks ends with NULL. */
#define VSPHERE_LOOKS_MAX 6
int vsphere_look_at_once(struct hypervisor *hv, const vsphere_look *looks, void *data, const struct context *ctx,
                         struct error *err) NESTOR_CHECKED;

/* --- machines.c: what is there of ours --- */

struct vm {
    bool there;
    struct moref ref;
    enum power power; /* off also when suspended */
    bool suspended;
    bool exposed;
    bool fresh;    /* made by this handle, its hardware not set yet: nothing need be compared before it is */
    bool detached; /* its disks are children of a disk that is not its own: see remove.c */
    uint32_t cpus;
    uint64_t memory; /* bytes */
    char digest[65]; /* "": half-made */
};
/* What is known of the machine; *ret is a copy. Reads everything of ours at the first call, and the one machine again
 * when a call about it had an uncertain end. */
int vsphere_vm_find(struct hypervisor *hv, const struct tag *tag, struct vm *ret, const struct context *ctx,
                    struct error *err) NESTOR_CHECKED;
/* The same, and it must be there and whole: ERR_NOT_FOUND. */
int vsphere_vm_need(struct hypervisor *hv, const struct tag *tag, struct vm *ret, const struct context *ctx,
                    struct error *err) NESTOR_CHECKED;
/* Asks the server about the one machine, whatever was known of it. */
int vsphere_vm_look(struct hypervisor *hv, const struct tag *tag, struct vm *ret, const struct context *ctx,
                    struct error *err) NESTOR_CHECKED;
/* Keeps what an operation knows of it now. */
void vsphere_vm_keep(struct hypervisor *hv, const struct tag *tag, const struct vm *vm);
/* The next who asks for it looks again. */
void vsphere_vm_doubt(struct hypervisor *hv, const struct tag *tag);
/* As vim_do on a machine, and doubts it when the end is uncertain: then the error is worth a repetition. */
int vsphere_vm_do(struct hypervisor *hv, const struct tag *tag, struct soap_request *request, struct moref *ret,
                  const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* What is to be done about such a call's error, which is then handed on as *err. Returns -1. */
int vsphere_vm_failed(struct hypervisor *hv, const struct tag *tag, bool uncertain, struct error *why,
                      struct error *err);
int vsphere_observe(struct hypervisor *hv, const char *lab_id, struct observation **ret, const struct context *ctx,
                    struct error *err);
/* Everything that carries this tag, should it be more than one: for remove. Caller frees *ret. */
int vsphere_vm_all(struct hypervisor *hv, const struct tag *tag, struct moref **ret, size_t *ret_n,
                   const struct context *ctx, struct error *err) NESTOR_CHECKED;
void vsphere_vms_free(struct hypervisor *hv);

/* --- record.c: what a VM says of itself, and whose it is --- */

struct vsphere_record {
    char *lab_id, *path, *digest, *name;
    char uuid[64];
    char state[24]; /* its connectionState, when its configuration cannot be told; else "" */
    struct moref parent;
    struct vm vm;
};
void vsphere_record_free(struct vsphere_record *r);
#define cleanup_vsphere_record __attribute__((cleanup(vsphere_record_free)))

enum vsphere_whose { VSPHERE_NOBODYS, VSPHERE_OURS, VSPHERE_OURS_BY_NAME /* if it lies in the folder of ours */ };
extern const struct vim_set vsphere_record_set;
/* From an object that was read with that set. lab_id, path, name and uuid are only to be trusted of what is ours. */
enum vsphere_whose vsphere_record_read(const struct vim_object *o, struct vsphere_record *r);
/* A server calls a VM that it cannot read by its file: "/vmfs/volumes/DATASTORE/NAME/NAME.vmx", the slashes as %2f on a
 * vCenter. The NAME in it, cut out in place. */
char *vsphere_plain_name(char *name);
/* Whether something is named, or has a UUID, as ours do. */
bool vsphere_looks_native(const char *name);
bool vsphere_looks_derived(const char *uuid);

/* --- template.c: what is cloned --- */

#define VSPHERE_BASE "nestor-base" /* the snapshot linked clones hang on */

/* A configuration to clone: of the template as it is now, or of its snapshot. */
struct vsphere_source {
    struct moref vm, snapshot;     /* unset: the VM as it is now */
    const struct vim_object *seen; /* its config.*: devices and what CreateVM must be told */
    int hardware;                  /* 13 for "vmx-13"; 0: not told */
    bool exposed;                  /* nesting is on already */
    bool no_vhv;                   /* the server says that it cannot have nesting */
};
/* Found, and with the snapshot made where clones need one, once per handle. *ret is the handle's.
 * full: the disks are copied, so none is needed. */
int vsphere_source(struct hypervisor *hv, const char *name, bool full, const struct vsphere_source **ret,
                   const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* ERR_NESTING when the machine is to be exposed to and a clone of this cannot be; ERR_UNSUPPORTED when a linked clone
 * is to have a larger disk. */
int vsphere_source_check(const struct vsphere_source *s, const struct machine_spec *spec,
                         struct error *err) NESTOR_CHECKED;
void vsphere_templates_free(struct hypervisor *hv);
int vsphere_ensure_image(struct hypervisor *hv, const struct image *image, progress_fn progress, void *data,
                         const struct context *ctx, struct error *err);

/* --- device.c: virtual hardware as config.hardware.device lists it --- */

/* The devices of an object, one after the other; NULL at the end. */
xmlNode *vsphere_device_first(const struct vim_object *o);
xmlNode *vsphere_device_next(xmlNode *device);
/* The xsi:type, if it is a network card's, disk controller's ... that we know; static storage. Else NULL. */
const char *vsphere_card_type(xmlNode *device);
const char *vsphere_controller_type(xmlNode *device);
bool vsphere_is_disk(xmlNode *device);
/* Size in bytes and file, "[datastore] folder/name.vmdk"; the caller frees the latter, which is NULL for another
 * backing. */
int64_t vsphere_disk_size(xmlNode *device);
char *vsphere_disk_file(xmlNode *device);
/* 13 for <version>vmx-13</version>, 0 for what is none. */
int vsphere_hardware_version(xmlNode *version);

/* --- clone.c, child_disk.c: a vCenter clones; a bare ESXi makes a VM around child disks --- */

int vsphere_create(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx,
                   struct error *err);
/* On a bare ESXi. vm is filled; its digest stays empty when the hardware is still to be set. */
int vsphere_create_on_esxi(struct hypervisor *hv, const struct machine_spec *spec, const struct vsphere_source *s,
                           struct vm *vm, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* <extraConfig> elements: the tag, cloud-init's data, and what the lab file adds. base: the disk its own one is a child
 * of, NULL when they are its own. */
int vsphere_put_extra(struct soap_request *r, const struct machine_spec *spec, const char *base, bool digest,
                      struct error *err) NESTOR_CHECKED;
/* What keys begin with that nestor writes itself; ends with NULL. */
extern const char *const vsphere_extra_own[];
void vsphere_put_digest(struct soap_request *r, const struct machine_spec *spec);
void vsphere_put_vhv(struct soap_request *r, bool on);
/* What stands for the digest of a spec that has none. */
#define VSPHERE_NO_DIGEST "-"
void vsphere_set_digest(struct vm *vm, const struct machine_spec *spec);
char *vsphere_annotation(const struct machine_spec *spec);

/* --- guestinfo.c: cloud-init's data as VMware's data source reads it --- */

/* base64, or gzip+base64 when that is needed to fit; *ret_encoding is static. ERR_UNSUPPORTED when it does not. */
int vsphere_guestinfo(const char *what, const char *text, struct buffer *ret, const char **ret_encoding,
                      const char *subject, struct error *err) NESTOR_CHECKED;

/* --- expose.c --- */

int vsphere_expose(struct hypervisor *hv, const struct machine_spec *spec, bool on, bool *ret_exposed,
                   const struct context *ctx, struct error *err);
/* CPUs, memory, disk, nesting and the digest in one reconfigure; off. vm is brought up to date, and kept. ret_seen (may
 * be NULL): as vim_do_seeing has it. */
int vsphere_set_hardware(struct hypervisor *hv, const struct machine_spec *spec, struct vm *vm, bool nested,
                         struct vim_object *ret_seen, const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* What the spec asks for, in the steps ESXi takes. */
uint64_t vsphere_memory_of(const struct machine_spec *spec);

/* --- power.c, address.c, remove.c --- */

int vsphere_start(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx, struct error *err);
int vsphere_stop(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err);
int vsphere_power_cut(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err);
/* PowerOffVM_Task; off already is fine. */
int vsphere_power_off(struct hypervisor *hv, const struct tag *tag, const struct moref *vm, const struct context *ctx,
                      struct error *err) NESTOR_CHECKED;
/* Whether runtime.question holds one that somebody must answer; then *err says so (ERR_CONFLICT). */
bool vsphere_asks(xmlNode *question, const char *path, const char *name, struct error *err);
int vsphere_address(struct hypervisor *hv, const struct machine_spec *spec, struct endpoint *ret,
                    const struct context *ctx, struct error *err);
int vsphere_remove(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err);

/* --- leftovers.c: folders on an ESXi's datastore --- */

/* Whether "[datastore] FOLDER" is one that nestor had made for that machine. */
bool vsphere_is_own_folder(const struct tag *tag, const char *folder);
/* One that is gone is fine. */
int vsphere_delete_folder(struct hypervisor *hv, const struct tag *tag, const char *folder, const struct context *ctx,
                          struct error *err) NESTOR_CHECKED;
/* All that were made for it, once it has no VM any more. */
int vsphere_delete_leftovers(struct hypervisor *hv, const struct tag *tag, const struct context *ctx,
                             struct error *err) NESTOR_CHECKED;

/* --- making.c --- */

/* Once per handle: what is being made on the server when this is called for the first time has been made. */
int vsphere_await_making(struct hypervisor *hv, const struct tag *tag, const struct context *ctx,
                         struct error *err) NESTOR_CHECKED;

/* Whether the user's own tasks make some VM just now. */
int vsphere_is_making(struct hypervisor *hv, bool *ret, const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* "[datastore] FOLDER", the machine's own; the caller frees it. ERR_CONFLICT when it is not one nestor had made. */
int vsphere_folder_of(struct hypervisor *hv, const struct tag *tag, const struct moref *vm, char **ret,
                      const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* --- network.c --- */

/* The network a machine's first card is put on. */
struct vsphere_network {
    struct moref ref; /* unset: cards stay where the template has them */
    char *name;       /* of a standard port group */
    char *key, *dvs;  /* of a distributed one: its key, its switch's UUID */
    char *opaque_id, *opaque_type;
};
int vsphere_network(struct hypervisor *hv, const struct vsphere_network **ret, const struct context *ctx,
                    struct error *err) NESTOR_CHECKED;
/* Where a card of a template is; nothing is set where that is not known. The caller frees what is in it. */
struct vsphere_network vsphere_network_of_card(xmlNode *card);
void vsphere_put_network_backing(struct soap_request *r, const struct vsphere_network *n);
void vsphere_network_free(struct vsphere_network *n);
/* The network system of each host that machines may run on. *ret is the handle's. */
int vsphere_network_systems(struct hypervisor *hv, const struct moref_list **ret, const struct context *ctx,
                            struct error *err) NESTOR_CHECKED;
/* Of hosts that were read with that set: adds each one's to a struct moref_list. */
extern const struct vim_set vsphere_system_set;
int vsphere_take_system(void *data, struct vim_object *host, struct error *err);
int vsphere_ensure_network(struct hypervisor *hv, const struct context *ctx, struct error *err);

/* --- switch.c --- */

struct vsphere_switch {
    struct moref ref;
    bool learns; /* it can learn MACs */
};
/* The distributed switch that settings.vswitch names; an unset ret->ref: none, so it is a standard one. */
int vsphere_switch(struct hypervisor *hv, struct vsphere_switch *ret, const struct context *ctx,
                   struct error *err) NESTOR_CHECKED;

/* --- own_network.c --- */

/* The name of the network nestor makes for the lab; NULL when it makes none. Caller frees. */
char *vsphere_own_network(const struct hypervisor *hv);
/* Whether a distributed switch takes it: ERR_SPEC. */
int vsphere_check_vlan(const struct hypervisor *hv, struct error *err) NESTOR_CHECKED;
/* One from when the lab file still named a switch: prune removes it as well. One call, beside others. */
int vsphere_look_for_old_network(struct hypervisor *hv, void *data, const struct context *ctx,
                                 struct error *err) NESTOR_CHECKED;
/* It is there afterwards, if there is to be one. */
int vsphere_own_network_make(struct hypervisor *hv, const struct context *ctx, struct error *err) NESTOR_CHECKED;
int vsphere_prune(struct hypervisor *hv, const struct context *ctx, struct error *err);
int vsphere_networks(struct hypervisor *hv, network_fn fn, void *data, const struct context *ctx, struct error *err);
int vsphere_remove_network(struct hypervisor *hv, const char *name, const struct context *ctx, struct error *err);

/* --- examine.c, examine_network.c --- */

/* One of the looks, and what it found. They are taken at the same time and told in order. */
struct vsphere_examination {
    struct hypervisor *hv;
    struct arena arena;
    struct finding *items;
    size_t n;
};
void vsphere_tell(struct vsphere_examination *x, enum finding_kind kind, const char *subject, const char *mend,
                  const char *fmt, ...) NESTOR_PRINTF(5, 6);
/* That a template is not there, or which of several is meant is not clear. */
bool vsphere_is_missing(const struct error *why);
int vsphere_examine_network(struct vsphere_examination *x, const struct context *ctx, struct error *err) NESTOR_CHECKED;
int vsphere_examine(struct hypervisor *hv, finding_fn fn, void *data, const struct context *ctx, struct error *err);

/* --- check.c, prepare.c --- */

#define VSPHERE_UNITS_PER_HOST 16 /* operations an ESXi works on at once */
int vsphere_check(struct hypervisor *hv, struct capability *ret, const struct context *ctx, struct error *err);
int vsphere_prepare(struct hypervisor *hv, bool undo, struct buffer *report, const struct context *ctx,
                    struct error *err);

/* Puts vhv.allow = "TRUE" into the file of an ESXi before 5.1, or takes that back; what was done, as a line to report.
 */
int vsphere_allow_nesting(struct access *access, const char *file, bool undo, struct buffer *report,
                          const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* --- the handle --- */

struct hypervisor {
    struct hypervisor_config config; /* what it points to is borrowed */
    struct vsphere_settings settings;
    struct vim_config vim_config;
    struct vim *vim;
    bool vcenter;                  /* else a bare ESXi */
    atomic_bool no_child_disks;    /* the host says that it cannot have them, or has refused them */
    atomic_bool has_old_network;   /* own_network.c */
    atomic_uint placed;            /* places.c: machines that were given a host in turn */
    int64_t release_ms, unseen_ms; /* own_network.c, clone.c: how long they wait; 0, or what a test wants */

    pthread_mutex_t lock;               /* of what is below, for moments only */
    struct buffer password;             /* one that was asked for; wiped at the end */
    struct vsphere_template *templates; /* template.c */
    void *vms;                          /* machines.c: a tsearch(3) tree */
    int64_t vms_clock;
    struct vsphere_record *silent; /* machines.c: what may be ours, and the server cannot tell it */
    size_t nsilent;

    struct once datacenter_once, compute_once, network_once, systems_once, vms_once, making_once, place_once[PLACE_MAX];
    struct vsphere_datacenter datacenter;
    struct vsphere_compute compute;
    struct vsphere_network network;
    struct moref_list systems;
    struct moref places[PLACE_MAX];
    char *datastore_name; /* of a bare ESXi's places[PLACE_DATASTORE] */
};

#endif
