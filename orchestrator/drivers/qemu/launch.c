#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_priv.h"

static void add(struct launch *l, const char *option, const char *value) {
    assert(l->n + 2 < LAUNCH_ARGS_MAX);
    l->argv[l->n++] = option;
    if (value)
        l->argv[l->n++] = value;
}

/* In an option list QEMU takes ",," for a comma within a value. */
static const char *escape(struct launch *l, const char *value) {
    char *out = arena_alloc(&l->arena, 2 * strlen(value) + 1), *to = out;
    for (; *value; value++) {
        if (*value == ',')
            *to++ = ',';
        *to++ = *value;
    }
    return out;
}

static const char *in_dir(struct launch *l, const struct vm *vm, const char *file) {
    return arena_printf(&l->arena, "%s/%s", vm->dir, file);
}

/* The JSON form takes a file name literally: no commas to escape, no "protocol:" prefixes. Steals `spec`. */
static void add_blockdev(struct launch *l, json_t *spec) {
    char *text = json_dumps(spec, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(spec);
    assert(text && "paths are UTF-8: open and create see to it");
    add(l, "-blockdev", arena_strdup(&l->arena, text));
    free(text);
}

/* The emulator's own process is fenced in (seccomp): a guest that breaks out of it cannot start programs. */
static void add_process(struct launch *l, const struct vm *vm) {
    const char *name = escape(l, vm->rec.name);
    add(l, "-name", arena_printf(&l->arena, "guest=%s,process=%s,debug-threads=on", name, name));
    add(l, "-uuid", vm->rec.uuid);
    add(l, "-pidfile", in_dir(l, vm, PID_FILE));
    add(l, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    add(l, "-nodefaults", "-no-user-config");
    add(l, "-display", "none");
    /* The guest runs only once its port is forwarded and its CPU was looked at. */
    add(l, "-S", NULL);
    /* Relative to its working directory: a socket's whole path may have 107 bytes, a home may be deeper. */
    add(l, "-chardev", "socket,id=qmp,path=" SOCKET_FILE ",server=on,wait=off");
    add(l, "-mon", "chardev=qmp,mode=control");
}

/* "max" and "host" are all the accelerator can do. TCG's nested paging comes with svm, and KVM guests need it. */
static const char *cpu_model(const struct accel *accel, bool expose) {
    if (accel->kvm)
        return expose ? "host" : "host,-svm,-vmx";
    /* Without la57: a Linux 6.1 guest of the emulated "max" CPU with five-level paging and no SVM cannot even mount
     * /proc (measured, QEMU 7.2.22), and no lab needs 128 PiB of address space. */
    return expose ? "max,-la57,+svm,+npt" : "max,-la57,-svm";
}

static void add_hardware(struct launch *l, const struct hypervisor *hv, const struct record *r,
                         const struct accel *accel) {
    /* graphics=off sends the firmware's messages to the serial console. */
    add(l, "-machine", arena_printf(&l->arena, "%s,graphics=off", hv->machine));
    add(l, "-accel", accel->kvm ? "kvm" : "tcg,thread=multi");
    add(l, "-cpu", arena_printf(&l->arena, "%s%s%s", cpu_model(accel, r->expose), hv->cpu[0] ? "," : "", hv->cpu));
    add(l, "-smp", arena_printf(&l->arena, "cpus=%lld", (long long)r->cpus));
    add(l, "-m", arena_printf(&l->arena, "size=%lldB", (long long)r->memory));
    add(l, "-device", "virtio-rng-pci");
}

/* The disk comes before the seed, so that it is /dev/vda. */
static void add_disks(struct launch *l, const struct vm *vm) {
    add_blockdev(l, json_pack("{s:s, s:s, s:s, s:{s:s, s:s}}", "driver", "qcow2", "node-name", "disk", "discard",
                              "unmap", "file", "driver", "file", "filename", in_dir(l, vm, DISK_FILE)));
    add(l, "-device", "virtio-blk-pci,drive=disk,bootindex=1");
    add_blockdev(l, json_pack("{s:s, s:s, s:b, s:{s:s, s:s}}", "driver", "raw", "node-name", "seed", "read-only", 1,
                              "file", "driver", "file", "filename", in_dir(l, vm, SEED_FILE)));
    add(l, "-device", "virtio-blk-pci,drive=seed");
}

static void add_network_and_console(struct launch *l, const struct vm *vm) {
    /* QEMU announces IPv6 to the guest whether or not this machine has any: connections would hang until they time
     * out, so only IPv4 is offered. */
    add(l, "-netdev", "user,id=net0,ipv6=off");
    /* Without its boot ROM: nothing boots from this network, and the ROM waits seconds for a key. */
    add(l, "-device", arena_printf(&l->arena, "virtio-net-pci,netdev=net0,romfile=,mac=%s", escape(l, vm->rec.mac)));
    add(l, "-chardev",
        arena_printf(&l->arena, "file,id=console,append=off,path=%s", escape(l, in_dir(l, vm, CONSOLE_FILE))));
    add(l, "-serial", "chardev:console");
}

static void add_kernel(struct launch *l, const struct record *r) {
    if (!r->kernel[0])
        return;
    add(l, "-kernel", r->kernel);
    if (r->initrd[0])
        add(l, "-initrd", r->initrd);
    add(l, "-append", r->cmdline);
}

void launch_build(struct launch *l, const struct hypervisor *hv, const struct vm *vm, const struct accel *accel) {
    add(l, hv->binary, NULL);
    add_process(l, vm);
    add_hardware(l, hv, &vm->rec, accel);
    add_disks(l, vm);
    add_network_and_console(l, vm);
    add_kernel(l, &vm->rec);
}

void launch_free(struct launch *l) {
    arena_free(&l->arena);
    *l = (struct launch){0};
}
