#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qemu_priv.h"

/* The first processor's flags are within this; hundreds of processors need not be read. */
#define CPUINFO_BYTES ((size_t)64 << 10)

/* Why an open /dev/kvm proves nothing: inside a VM without nesting it opened, answered and made VMs, yet no guest
 * kernel ever printed a line (seen with Linux 6.18). So the CPU's flag and the module's `nested` decide as well. */
static const struct vendor {
    const char *flag, *nested;
} vendors[] = {
    {"vmx", "/sys/module/kvm_intel/parameters/nested"},
    {"svm", "/sys/module/kvm_amd/parameters/nested"},
};

static bool has_word(const char *line, const char *word) {
    size_t n = strlen(word);
    for (const char *at = strstr(line, word); at; at = strstr(at + n, word))
        if (at > line && (at[-1] == ' ' || at[-1] == '\t') && (at[n] == ' ' || !at[n]))
            return true;
    return false;
}

static void read_under(const char *root, const char *path, size_t max, struct buffer *ret) {
    cleanup_free char *full = xasprintf("%s%s", root, path);
    /* What cannot be read is treated as not there: the rule then says no. */
    if (file_read(AT_FDCWD, full, max, ret, NULL, NULL))
        buffer_clear(ret);
}

/* The vendor whose flag this machine's CPU shows, or NULL. */
static const struct vendor *find_vendor(const char *root) {
    cleanup_buffer struct buffer text = {0};
    read_under(root, "/proc/cpuinfo", CPUINFO_BYTES, &text);
    char *flags = text.len ? strstr(text.data, "\nflags") : NULL;
    if (!flags)
        return NULL;
    flags[1 + strcspn(flags + 1, "\n")] = '\0';
    for (size_t i = 0; i < sizeof vendors / sizeof *vendors; i++)
        if (has_word(flags + 1, vendors[i].flag))
            return &vendors[i];
    return NULL;
}

static bool nested_is_on(const char *root, const struct vendor *v) {
    cleanup_buffer struct buffer text = {0};
    read_under(root, v->nested, 16, &text);
    return text.len && (text.data[0] == 'Y' || text.data[0] == '1');
}

static int open_dev_kvm(const char *root) {
    cleanup_free char *path = xasprintf("%s/dev/kvm", root);
    cleanup_close int fd = open(path, O_RDWR | O_CLOEXEC);
    return fd < 0 ? errno : 0;
}

/* Fills reason and detail when KVM cannot nest here. */
static const struct vendor *judge_kvm(const char *root, struct accel *ret) {
    const struct vendor *v = find_vendor(root);
    if (!v) {
        ret->reason = "host-not-capable";
        snprintf(ret->detail, sizeof ret->detail, "this machine's CPU shows neither vmx nor svm");
        return NULL;
    }
    int errnum = open_dev_kvm(root);
    if (errnum) {
        ret->reason = "host-not-capable";
        snprintf(ret->detail, sizeof ret->detail, "/dev/kvm cannot be opened: %s", strerror(errnum));
        return NULL;
    }
    if (!nested_is_on(root, v)) {
        ret->reason = "host-nested-off";
        snprintf(ret->detail, sizeof ret->detail, "%s is not Y or 1", v->nested);
        return NULL;
    }
    return v;
}

/* One feature of a -cpu list: "+vmx", "vmx=on", "+vmx-ept"; not "-vmx" or "vmx=off". */
static bool is_vmx_on(const char *feature, size_t n) {
    if (n && feature[0] == '+') {
        feature++;
        n--;
    }
    if (n < 3 || strncmp(feature, "vmx", 3) != 0 || (n > 3 && feature[3] != '=' && feature[3] != '-'))
        return false;
    const char *value = memchr(feature, '=', n);
    size_t len = value ? n - (size_t)(value + 1 - feature) : 0;
    return !value || !((len == 3 && memcmp(value + 1, "off", 3) == 0) || (len == 2 && memcmp(value + 1, "no", 2) == 0));
}

static bool asks_for_vmx(const char *cpu) {
    for (const char *at = cpu; *at;) {
        size_t n = strcspn(at, ",");
        if (is_vmx_on(at, n))
            return true;
        at += n + (at[n] == ',');
    }
    return false;
}

static void choose_tcg(const char *cpu, struct accel *ret) {
    if (asks_for_vmx(cpu)) {
        *ret = (struct accel){.flag = "", .reason = "emulated-vmx-unsupported"};
        snprintf(ret->detail, sizeof ret->detail, "vmx was asked for (cpu: %s), but emulation offers svm only", cpu);
        return;
    }
    char why[sizeof ret->detail];
    snprintf(why, sizeof why, "%s", ret->detail);
    *ret = (struct accel){.flag = "svm", .reason = ""};
    snprintf(ret->detail, sizeof ret->detail, "QEMU emulates a CPU with svm, which is slow: %.180s", why);
}

void accel_choose(const char *root, enum accel_wish wish, const char *cpu, struct accel *ret) {
    *ret = (struct accel){.flag = "", .reason = ""};
    if (wish == ACCEL_TCG) {
        snprintf(ret->detail, sizeof ret->detail, "the spec says accel: tcg");
        choose_tcg(cpu, ret);
        return;
    }
    const struct vendor *v = judge_kvm(root, ret);
    if (!v && wish == ACCEL_AUTO) {
        choose_tcg(cpu, ret);
        return;
    }
    ret->kvm = true;
    if (v) {
        ret->flag = v->flag;
        snprintf(ret->detail, sizeof ret->detail, "KVM with nesting: guests see %s", v->flag);
    }
}

static const struct {
    const char *reason, *mend;
} mends[] = {
    {"host-not-capable", "say accel: auto or accel: tcg to have QEMU emulate a CPU with svm"},
    {"host-nested-off",
     "set 'options kvm_intel nested=1' (or kvm_amd) in /etc/modprobe.d and reload the module with no "
     "VM running, or say accel: tcg"},
    {"emulated-vmx-unsupported", "remove vmx from the host's cpu parameter: under emulation a guest sees svm"},
};

int accel_require_nesting(const struct accel *a, const char *subject, struct error *err) {
    if (!a->reason[0])
        return 0;
    error_set(err, ERR_NESTING, subject, "hardware virtualization cannot be exposed: %s", a->detail);
    for (size_t i = 0; i < sizeof mends / sizeof *mends; i++)
        if (strcmp(mends[i].reason, a->reason) == 0)
            error_mend(err, "%s", mends[i].mend);
    return error_reason(err, a->reason);
}
