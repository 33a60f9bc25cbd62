#include "drivers/qemu/qemu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu_priv.h"

static const struct driver_param params[] = {
    {.key = "binary", .help = "the QEMU program; default qemu-system-x86_64"},
    {.key = "accel", .help = "auto (KVM where it can nest, else emulation), kvm or tcg; default auto"},
    {.key = "machine", .help = "QEMU's machine type; default q35"},
    {.key = "cpu", .help = "CPU features added to QEMU's -cpu, such as \"+avx2,-x2apic\"; default none"},
    {0},
};

static const char *const accel_names[] = {[ACCEL_AUTO] = "auto", [ACCEL_KVM] = "kvm", [ACCEL_TCG] = "tcg"};

static int parse_accel(const char *text, const char *subject, enum accel_wish *ret, struct error *err) {
    for (size_t i = 0; i < sizeof accel_names / sizeof *accel_names; i++)
        if (strcmp(text, accel_names[i]) == 0) {
            *ret = (enum accel_wish)i;
            return 0;
        }
    error_set(err, ERR_SPEC, subject, "accel '%s' is none of auto, kvm, tcg", text);
    return error_mend(err, "say accel: auto, or leave it out");
}

/* Its parameters become parts of QEMU's option lists, where a stray character would be another option. */
static int check_word(const char *key, const char *text, const char *also, const char *subject, struct error *err) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    for (const char *c = text; *c; c++)
        if (!strchr(letters, *c) && !strchr(also, *c)) {
            error_set(err, ERR_SPEC, subject, "%s '%s' has the character '%c'", key, text, *c);
            return error_mend(err, "%s may have letters, digits and any of -_.%s", key, also);
        }
    return 0;
}

/* home/qemu, made if need be: seeds in it hold private host keys, so only its owner may enter. */
static int make_dir(const char *home, const char *subject, char **ret, struct error *err) {
    cleanup_free char *dir = xasprintf("%s/qemu", home);
    if (dir_make(home, 0700, subject, err) || dir_make(dir, 0700, subject, err))
        return -1;
    cleanup_free char *real = realpath(dir, NULL);
    if (!real)
        return error_set_errno(err, errno, subject, "cannot find the directory %s", dir);
    json_t *utf8 = json_string(real);
    json_decref(utf8);
    if (!utf8)
        return error_set(err, ERR_UNSUPPORTED, subject, "the directory %s is not named in UTF-8", real);
    *ret = steal_ptr(&real);
    return 0;
}

static int require_local(const struct hypervisor_config *config, struct error *err) {
    struct access *local = access_local();
    bool is_local = config->access && config->access->ops == local->ops;
    access_close(local);
    if (is_local)
        return 0;
    error_set(err, ERR_UNSUPPORTED, config->subject, "the qemu driver runs machines only where nestor itself runs");
    return error_mend(err, "use the libvirt driver for a remote host or a guest hypervisor");
}

static void qemu_close(struct hypervisor *hv) {
    if (!hv)
        return;
    free(hv->subject);
    free(hv->dir);
    free(hv->root);
    free(hv->binary);
    free(hv->machine);
    free(hv->cpu);
    free(hv);
}

static int qemu_open(const struct hypervisor_config *config, struct hypervisor **ret, const struct context *ctx,
                     struct error *err) {
    const char *subject = config->subject, *cpu = param_get(config, "cpu", ""),
               *machine = param_get(config, "machine", "q35");
    enum accel_wish accel = ACCEL_AUTO;
    char *dir = NULL;
    if (context_check(ctx, subject, "opening it", err) || require_local(config, err) ||
        parse_accel(param_get(config, "accel", "auto"), subject, &accel, err) ||
        check_word("machine", machine, "", subject, err) || check_word("cpu", cpu, "+=,", subject, err) ||
        make_dir(config->home, subject, &dir, err))
        return -1;
    struct hypervisor *hv = xcalloc(1, sizeof *hv);
    *hv = (struct hypervisor){
        .subject = xstrdup(subject),
        .dir = dir,
        .root = xstrdup(""),
        .binary = xstrdup(param_get(config, "binary", "qemu-system-x86_64")),
        .machine = xstrdup(machine),
        .cpu = xstrdup(cpu),
        .accel = accel,
    };
    *ret = hv;
    return 0;
}

/* User networking is part of each QEMU process: there is nothing to make. */
static int qemu_ensure_network(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    return context_check(ctx, hv->subject, "preparing the network", err);
}

const struct driver qemu_driver = {
    .size = sizeof(struct driver),
    .api = DRIVER_API,
    .name = "qemu",
    .summary = "QEMU processes on this machine, with no daemon",
    .features = DRIVER_HOST | DRIVER_LINKED_CLONE,
    .params = params,
    .parallel = 4,
    .boot_timeout_s = 120,
    .boot_timeout_emulated_s = 480,
    .open = qemu_open,
    .close = qemu_close,
    .check = qemu_check,
    .observe = qemu_observe,
    .ensure_image = qemu_ensure_image,
    .ensure_network = qemu_ensure_network,
    .create = qemu_create,
    .expose = qemu_expose,
    .start = qemu_start,
    .stop = qemu_stop,
    .power_cut = qemu_power_cut,
    .address = qemu_address,
    .console = qemu_console,
    .remove = qemu_remove,
    .prune = qemu_prune,
};
