#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/libvirt/libvirt.h"

/* KEY VALUE lines. */
static const char check_script[] = "v list >/dev/null\n"
                                   "echo flag $(grep -Eowm1 '(vmx|svm)' /proc/cpuinfo || :)\n"
                                   "echo nested $(cat /sys/module/kvm_intel/parameters/nested "
                                   "/sys/module/kvm_amd/parameters/nested 2>/dev/null || :)\n"
                                   "echo memory $(sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo)\n"
                                   "at=$dir; while [ ! -d \"$at\" ]; do at=${at%/*}; at=${at:-/}; done\n"
                                   "echo disk $(df -Pk \"$at\" | awk 'NR==2 {print $4}')\n"
                                   "echo cpus $(nproc)\n";

static const char *value_of(const char *text, const char *key, char out[32]) {
    size_t n = strlen(key);
    out[0] = '\0';
    for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (strncmp(at, key, n) == 0 && at[n] == ' ')
            sscanf(at + n + 1, "%31[^\n]", out);
    return out;
}

/* What is not told, or no number, is unknown: no reason to refuse work. */
static uint64_t kib_of(const char *text, const char *key) {
    char number[32];
    unsigned long long kib;
    return sscanf(value_of(text, key, number), "%20llu", &kib) == 1 && kib < UINT64_MAX / 1024 ? (uint64_t)kib * 1024
                                                                                               : UINT64_MAX;
}

static void cannot(struct capability *c, const char *reason, const char *detail) {
    c->can_nest = false;
    snprintf(c->reason, sizeof c->reason, "%s", reason);
    snprintf(c->detail, sizeof c->detail, "%s", detail);
}

int libvirt_check(struct hypervisor *hv, struct capability *ret, const struct context *ctx, struct error *err) {
    cleanup_buffer struct buffer script = {0}, out = {0};
    script_begin(hv, &script);
    buffer_puts(&script, check_script);
    if (script_run(hv, buffer_str(&script), NULL, 0, &out, ctx, err))
        return error_context(err, "checking it");
    char flag[32], nested[32], cpus[32];
    const char *text = buffer_str(&out);
    value_of(text, "flag", flag);
    value_of(text, "nested", nested);
    struct capability c = {.can_nest = true};
    c.memory_free = kib_of(text, "memory");
    c.disk_free = kib_of(text, "disk");
    c.cpus = (uint32_t)strtoul(value_of(text, "cpus", cpus), NULL, 10);
    c.emulated = !hv->accelerated;
    snprintf(c.flag, sizeof c.flag, "%.7s", c.emulated ? "svm" : flag);
    if (c.emulated)
        snprintf(c.detail, sizeof c.detail, "no hardware virtualization here: QEMU emulates AMD's SVM, which is slow");
    else if (strchr("Y1", nested[0]) == NULL || !nested[0])
        cannot(&c, "host-nested-off", "its KVM module has nesting switched off");
    else
        snprintf(c.detail, sizeof c.detail, "KVM with %s, nesting on", flag);
    *ret = c;
    return 0;
}
