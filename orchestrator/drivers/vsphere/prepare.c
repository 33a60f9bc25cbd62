/* Making an ESXi itself ready to nest. From 5.1 on there is nothing to do: virtualization is exposed per machine.
 * Before, the whole host had to allow it, by one line in /etc/vmware/config, which only a shell can write. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"
#include "nestor/file.h"

#define KEY_MAX ((size_t)64 << 10)

static const char *const host_paths[] = {"name", "config.product.version", NULL};
static const struct vim_set host_set = {"HostSystem", host_paths};

/* For the BusyBox shell of an ESXi. The backup is what tells nestor's line from one that was there before;
 * auto-backup.sh puts /etc where it survives a reboot. $file is written in place: it keeps its owner, mode and sticky
 * bit. */
static const char allow_script[] = "set -eu\n"
                                   "backup=$file.before-nestor\n"
                                   "is_on() { grep -qi '^[[:space:]]*vhv\\.allow[[:space:]]*=[[:space:]]*\"TRUE\"' "
                                   "\"$file\"; }\n"
                                   "without() { sed '/^[[:space:]]*vhv\\.allow[[:space:]]*=/d' \"$1\"; }\n"
                                   "only() { sed -n '/^[[:space:]]*vhv\\.allow[[:space:]]*=/p' \"$1\"; }\n"
                                   "write() { cat \"$file.nestor\" >\"$file\"; rm -f \"$file.nestor\"\n"
                                   "    [ ! -x /sbin/auto-backup.sh ] || /sbin/auto-backup.sh >/dev/null 2>&1; }\n"
                                   "if [ \"$undo\" = yes ]; then\n"
                                   "    [ -e \"$backup\" ] || { echo 'nestor has not changed it'; exit 0; }\n"
                                   "    { without \"$file\"; only \"$backup\"; } >\"$file.nestor\"\n"
                                   "    write\n"
                                   "    rm -f \"$backup\"\n"
                                   "    echo \"vhv.allow is as it was in $file\"\n"
                                   "    exit 0\n"
                                   "fi\n"
                                   "if is_on; then echo \"vhv.allow is on already in $file\"; exit 0; fi\n"
                                   "[ -e \"$backup\" ] || cp -p \"$file\" \"$backup\"\n"
                                   "{ without \"$file\"; echo 'vhv.allow = \"TRUE\"'; } >\"$file.nestor\"\n"
                                   "write\n"
                                   "is_on || { echo \"cannot write $file\" >&2; exit 1; }\n"
                                   "echo \"vhv.allow = \\\"TRUE\\\" is new in $file; the file as it was: $backup\"\n";

int vsphere_allow_nesting(struct access *access, const char *file, bool undo, struct buffer *report,
                          const struct context *ctx, struct error *err) {
    cleanup_buffer struct buffer script = {0};
    cleanup_command_result struct command_result result = {0};
    buffer_puts(&script, "file=");
    buffer_put_shell(&script, file);
    buffer_printf(&script, "\nundo=%s\n%s", undo ? "yes" : "no", allow_script);
    if (access_run_ok(access, buffer_str(&script), &result, ctx, err))
        return -1;
    buffer_append(report, result.out.data, result.out.len);
    return 0;
}

/* --- the shell of a host --- */

static const char *wanted(const struct hypervisor *hv, const char *key, const char *fallback) {
    return param_get(&hv->config, key, fallback);
}

static int need(const struct hypervisor *hv, const char *key, const char *mend, const char **ret, struct error *err) {
    *ret = wanted(hv, key, NULL);
    if (*ret)
        return 0;
    error_set(err, ERR_SPEC, hv->config.subject, "preparing it needs its shell, and %s is not given", key);
    return error_mend(err, "%s", mend);
}

static int open_shell(struct hypervisor *hv, const char *host, struct access **ret, const struct context *ctx,
                      struct error *err) {
    const char *host_key, *key_file;
    if (need(hv, "ssh.host-key", "give the host's public key, as ssh-keyscan shows it: ssh: { host-key: ssh-rsa ... }",
             &host_key, err) ||
        need(hv, "ssh.key", "name a private key that its root user accepts (/etc/ssh/keys-root/authorized_keys)",
             &key_file, err))
        return -1;
    struct buffer key = {0};
    int failed = file_read(AT_FDCWD, key_file, KEY_MAX, &key, hv->config.subject, err);
    struct ssh_target target = {.subject = hv->config.subject,
                                .host = host,
                                .port = (uint16_t)hv->settings.ssh_port,
                                .user = wanted(hv, "ssh.user", "root"),
                                .host_key = host_key,
                                .private_key = buffer_str(&key)};
    if (!failed)
        failed = access_ssh(hv->config.access, &target, ret, ctx, err);
    if (key.data)
        explicit_bzero(key.data, key.cap);
    buffer_free(&key);
    return failed;
}

/* --- each host --- */

struct preparation {
    struct hypervisor *hv;
    bool undo;
    struct buffer *report;
    const struct context *ctx;
};

/* One that is no vCenter's answers where nestor speaks to it. */
static char *address_of(const struct hypervisor *hv, const char *name) {
    const char *url = strstr(hv->settings.url, "://");
    if (hv->vcenter)
        return xstrdup(name);
    if (hv->settings.dial_host)
        return xstrdup(hv->settings.dial_host);
    return url ? xstrndup(url + 3, strcspn(url + 3, ":/")) : xstrdup(name);
}

static int prepare_host(void *data, struct vim_object *o, struct error *err) {
    const struct preparation *p = data;
    char name[120] = "?", version[32] = "";
    int major = 0, minor = 0;
    xml_text(vim_property(o, "name"), name, sizeof name);
    xml_text(vim_property(o, "config.product.version"), version, sizeof version);
    if (sscanf(version, "%4d.%4d", &major, &minor) != 2 || major * 100 + minor >= 501) {
        buffer_printf(p->report,
                      "%s: ESXi %s needs no preparation: from 5.1 on virtualization is exposed per machine, and "
                      "vhv.allow is not needed\n",
                      name, version[0] ? version : "of unknown version");
        return 0;
    }
    struct access *shell = NULL;
    cleanup_free char *address = address_of(p->hv, name);
    if (open_shell(p->hv, address, &shell, p->ctx, err))
        return error_context(err, "preparing %s", name);
    buffer_printf(p->report, "%s: ESXi %s: ", name, version);
    int failed = vsphere_allow_nesting(shell, "/etc/vmware/config", p->undo, p->report, p->ctx, err);
    access_close(shell);
    return failed ? error_context(err, "preparing %s", name) : 0;
}

int vsphere_prepare(struct hypervisor *hv, bool undo, struct buffer *report, const struct context *ctx,
                    struct error *err) {
    const struct vsphere_compute *c;
    struct preparation p = {hv, undo, report, ctx};
    if (context_check(ctx, hv->config.subject, "preparing it", err) || vsphere_compute(hv, &c, ctx, err))
        return -1;
    return vim_read_these(hv->vim, c->hosts.items, c->hosts.n, &host_set, prepare_host, &p, ctx, err);
}
