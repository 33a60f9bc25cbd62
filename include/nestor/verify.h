/* The proof that a guest hypervisor can really nest: probes run inside it, kept as evidence.
 *
 * A setting is no proof: users of every peer report flags that were ticked and had no effect (kcli#366,
 * pyvmomi#629, gns3-server#2254). So nestor asks the guest, at each start.
 */
#ifndef NESTOR_VERIFY_H
#define NESTOR_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "nestor/buffer.h"
#include "nestor/context.h"
#include "nestor/error.h"
#include "nestor/transport.h"

/* X(code, what it means, what to do). Also the table behind docs/verify.md and `nestor verify`. */
#define REASON_CODES(X)                                                                                                \
    X("host-not-capable", "the host's CPU offers no hardware virtualization",                                          \
      "use a host with Intel VT-x or AMD-V, or let QEMU emulate SVM (accel: tcg)")                                     \
    X("host-nested-off", "the host's KVM module has nesting switched off",                                             \
      "set 'options kvm_intel nested=1' (or kvm_amd) in /etc/modprobe.d and reload the module with no VM running")     \
    X("emulated-vmx-unsupported", "vmx was asked for, but QEMU's emulator offers only AMD's svm",                      \
      "remove the request for vmx: under emulation a guest sees svm")                                                  \
    X("hardware-version", "the VM's hardware version is too old to expose virtualization",                             \
      "upgrade the VM's hardware to version 9 or later")                                                               \
    X("vhv-not-set", "hardware virtualization was switched on, but the hypervisor does not report it",                 \
      "look at the VM's CPU settings on its hypervisor, then run 'nestor up' again")                                   \
    X("vhv-needs-power-off", "hardware virtualization can only be switched on while the machine is off",               \
      "run 'nestor up': it power-cycles the machine")                                                                  \
    X("guest-flag-missing", "neither vmx nor svm is in the guest's /proc/cpuinfo",                                     \
      "check that the hypervisor below exposes virtualization to this machine")                                        \
    X("kvm-module-missing", "the guest's kernel has not loaded kvm_intel or kvm_amd",                                  \
      "load the module in the guest (modprobe kvm_amd or kvm_intel) and see why it was not: dmesg | grep -i kvm")      \
    X("kvm-nested-off", "the guest's KVM module has nesting off, and the lab nests deeper",                            \
      "set the module's nested=1 in the template")                                                                     \
    X("dev-kvm-missing", "/dev/kvm is missing in the guest or cannot be opened",                                       \
      "check the kvm modules and the permissions of /dev/kvm in the guest")                                            \
    X("hypervisor-probe-failed", "the guest hypervisor's own software does not answer",                                \
      "check that its management service is installed and running in the template")

struct reason {
    const char *code, *meaning, *mend;
};
/* Ends with code NULL. */
extern const struct reason reasons[];
const struct reason *reason_find(const char *code); /* NULL if unknown */

#define PROBE_MAX 12
struct probe {
    const char *name;    /* static: "cpu-flag" */
    const char *command; /* static: what was run in the guest, or "(hypervisor) ..." for its setting */
    char *output;        /* first 4 KiB, control characters replaced; owned */
    bool ran, ok;
    const char *reason; /* code when !ok and the probe counts, else NULL; static */
};
struct evidence {
    int64_t checked_at; /* unix seconds */
    bool verified;
    char flag[8];       /* "vmx", "svm" or "" */
    const char *reason; /* the first failing probe's code, NULL when verified; static */
    struct probe probes[PROBE_MAX];
    size_t nprobes;
};
void evidence_free(struct evidence *e);

/* Runs every probe of the given kind ("libvirt", ...) inside the machine behind `access`, in one round trip.
 * `exposed` is the hypervisor's own answer (driver->observe), recorded as the first probe; nested_needed: the lab
 * has a guest hypervisor inside this one. Returns 0 with *ret filled whether or not it verified; -1 only when the
 * probes could not be run. */
int verify_run(struct access *access, const char *kind, bool exposed, bool nested_needed, struct evidence *ret,
               const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* The pure half: from the probe script's output to the evidence. Hostile input. */
int verify_parse(const char *kind, bool exposed, bool nested_needed, const char *output, size_t len,
                 struct evidence *ret, struct error *err) NESTOR_CHECKED;
/* The script verify_run sends, for docs and tests; static storage. NULL: unknown kind (generic KVM probes are used). */
const char *verify_script(const char *kind);

#endif
