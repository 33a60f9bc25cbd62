#include "drivers/libvirt/libvirt.h"

#include <stdlib.h>
#include <string.h>

static const struct driver_param params[] = {
    {.key = "uri", .help = "libvirt connection URI (default qemu:///system)"},
    {.key = "directory", .help = "where images and machines are kept (default /var/lib/libvirt/images/nestor)"},
    {.key = "network", .help = "libvirt network of the machines (default 'default')"},
    {0},
};

static void libvirt_close(struct hypervisor *hv) {
    if (!hv)
        return;
    free(hv->subject);
    free(hv->uri);
    free(hv->directory);
    free(hv->network);
    pthread_mutex_destroy(&hv->images);
    free(hv);
}

/* KVM is usable if the CPU below shows vmx or svm; /dev/kvm alone proves nothing (docs/hosts/qemu.md). */
static int detect_acceleration(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    cleanup_command_result struct command_result result = {0};
    struct command probe = COMMAND("grep -Eqw '(vmx|svm)' /proc/cpuinfo && test -c /dev/kvm");
    if (access_run(hv->access, &probe, &result, ctx, err))
        return -1;
    hv->accelerated = result.status == 0;
    return 0;
}

static int libvirt_open(const struct hypervisor_config *config, struct hypervisor **ret, const struct context *ctx,
                        struct error *err) {
    struct hypervisor *hv = xcalloc(1, sizeof *hv);
    hv->subject = xstrdup(config->subject);
    hv->access = config->access;
    pthread_mutex_init(&hv->images, NULL);
    hv->uri = xstrdup(param_get(config, "uri", "qemu:///system"));
    hv->directory = xstrdup(param_get(config, "directory", "/var/lib/libvirt/images/nestor"));
    hv->network = xstrdup(param_get(config, "network", "default"));
    if (config->accelerated && detect_acceleration(hv, ctx, err)) {
        libvirt_close(hv);
        return -1;
    }
    *ret = hv;
    return 0;
}

static int libvirt_ensure_network(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    cleanup_buffer struct buffer script = {0};
    script_begin(hv, &script);
    buffer_puts(&script, "state=$(v net-info \"$net\" | sed -n 's/^Active: *//p')\n"
                         "[ \"$state\" = yes ] || v net-start \"$net\" >/dev/null\n");
    if (script_run(hv, buffer_str(&script), NULL, 0, NULL, ctx, err)) {
        if (err && err->code == ERR_PROCESS)
            error_mend(err,
                       "see 'virsh net-list --all' there; the network must exist: virsh net-define, net-autostart");
        return error_context(err, "network '%s'", hv->network);
    }
    return 0;
}

/* The directory gets its name with the tag in it, and "complete" comes last, when the rest is on the disk: what a
 * killed create leaves, or a power cut after it, is known by the one and lacks the other. */
static const char create_script[] = SCRIPT_LISTED
    "here=$dir/$name\n"
    "if v domuuid \"$name\" >/dev/null 2>&1 || { [ -e \"$here\" ] && listed; }; then\n"
    "    if [ -e \"$here/complete\" ]; then\n"
    "        if [ \"$(cat \"$here/tag\")\" = \"$tag\" ]; then exit 0; fi\n"
    "        echo \"a machine of that name is there with another configuration\" >&2\n"
    "        exit $exists\n"
    "    fi\n"
    /* Undefined while it runs, it would go on without its disk. */
    "    why=$(v destroy \"$name\" 2>&1) || :\n"
    "    case $(v domstate \"$name\" 2>/dev/null) in\n"
    "    'shut off')\n"
    "        v undefine \"$name\" --managed-save --snapshots-metadata >/dev/null || ! listed || exit 1 ;;\n"
    "    *) if listed; then echo \"${why:-it cannot be switched off}\" >&2; exit 1; fi ;;\n"
    "    esac\n"
    "fi\n"
    "discard \"$name\"\n"
    "rm -rf \"$dir/.new.$name\"\n"
    "mkdir -p \"$dir/.new.$name\"\n"
    "chmod 711 \"$dir\" \"$dir/.new.$name\"\n"
    "echo \"$tag\" >\"$dir/.new.$name/tag\"\n"
    "mv \"$dir/.new.$name\" \"$here\"\n"
    /* After the tag: a prune that comes later keeps the image. */
    "[ -e \"$image\" ] || { echo 'its image is not there any more' >&2; exit $absent; }\n"
    "cat >\"$here/seed.img\"\n"
    "qemu-img create -q -f qcow2 -b \"$image\" -F \"$format\" \"$here/disk.qcow2\" $size >/dev/null\n"
    "printf '%s' \"$xml\" >\"$here/domain.xml\"\n"
    "v define \"$here/domain.xml\" >/dev/null\n"
    "rm -f \"$here/domain.xml\"\n"
    "sync \"$here/tag\" \"$here/seed.img\" \"$here/disk.qcow2\" \"$here\" \"$dir\" \"$base\"\n"
    ": >\"$here/complete\"\n";

static int libvirt_create(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx,
                          struct error *err) {
    cleanup_buffer struct buffer script = {0};
    cleanup_free char *xml = domain_xml(hv, spec);
    cleanup_free char *tag = xasprintf("%s %s %s %s", spec->tag.lab_id, spec->tag.path,
                                       spec->digest[0] ? spec->digest : "-", spec->image->sha256);
    cleanup_free char *image = xasprintf("%s/base/%s.%s", hv->directory, spec->image->sha256, spec->image->format);
    /* An overlay smaller than its base would cut it. */
    uint64_t bytes = spec->disk > spec->image->virtual_size ? spec->disk : 0;
    cleanup_free char *size = bytes ? xasprintf("%llu", (unsigned long long)bytes) : xstrdup("");
    script_begin(hv, &script);
    script_set(&script, "name", spec->name);
    script_set(&script, "tag", tag);
    script_set(&script, "image", image);
    script_set(&script, "format", spec->image->format);
    script_set(&script, "size", size);
    script_set(&script, "xml", xml);
    buffer_printf(&script, "exists=%d absent=%d\n", SCRIPT_EXISTS, SCRIPT_ABSENT);
    buffer_puts(&script, create_script);
    if (script_run(hv, buffer_str(&script), spec->seed, spec->seed_len, NULL, ctx, err))
        return error_subject(err, spec->tag.path);
    return 0;
}

/* dumpxml of the persistent definition: what holds from the next start on. */
static int dump_inactive(struct hypervisor *hv, const char *name, struct buffer *ret, const struct context *ctx,
                         struct error *err) {
    cleanup_buffer struct buffer script = {0};
    script_begin(hv, &script);
    script_set(&script, "name", name);
    buffer_printf(&script,
                  "v domuuid \"$name\" >/dev/null 2>&1 || { echo 'there is no such domain' >&2; exit %d; }\n"
                  "v dumpxml --inactive \"$name\"\n",
                  SCRIPT_ABSENT);
    return script_run(hv, buffer_str(&script), NULL, 0, ret, ctx, err);
}

/* Refuses a machine that runs: the change would wait for a restart nobody asked for. */
static int redefine(struct hypervisor *hv, const char *name, const char *xml, const struct context *ctx,
                    struct error *err) {
    cleanup_buffer struct buffer script = {0};
    script_begin(hv, &script);
    script_set(&script, "name", name);
    buffer_printf(&script,
                  "power=$(v domstate \"$name\")\n"
                  "case $power in\n"
                  "'shut off'|crashed) ;;\n"
                  "*) echo 'the machine is running' >&2; exit %d ;;\n"
                  "esac\n"
                  "file=$(mktemp)\ntrap 'rm -f \"$file\"' EXIT\ncat >\"$file\"\nv define \"$file\" >/dev/null\n",
                  SCRIPT_RUNNING);
    return script_run(hv, buffer_str(&script), xml, strlen(xml), NULL, ctx, err);
}

static int read_exposed(struct hypervisor *hv, const char *name, struct buffer *xml, bool *ret,
                        const struct context *ctx, struct error *err) {
    struct arena arena = {0};
    struct domain_info info;
    buffer_free(xml);
    int failed = dump_inactive(hv, name, xml, ctx, err) || domain_parse(buffer_str(xml), xml->len, &arena, &info, err);
    if (!failed)
        *ret = info.exposed;
    arena_free(&arena);
    return failed ? -1 : 0;
}

static int libvirt_expose(struct hypervisor *hv, const struct machine_spec *spec, bool on, bool *ret_exposed,
                          const struct context *ctx, struct error *err) {
    cleanup_buffer struct buffer xml = {0};
    bool exposed = !on;
    if (read_exposed(hv, spec->name, &xml, &exposed, ctx, err))
        return error_subject(err, spec->tag.path);
    if (exposed != on) {
        cleanup_free char *changed = NULL;
        if (domain_set_exposed(hv, buffer_str(&xml), xml.len, on, &changed, err) ||
            redefine(hv, spec->name, changed, ctx, err) || read_exposed(hv, spec->name, &xml, &exposed, ctx, err))
            return error_subject(err, spec->tag.path);
    }
    *ret_exposed = exposed;
    return 0;
}

/* Asked for its state only when it does not start: each virsh costs half a second under emulation. One that is paused
 * again at once has a reason to, a full disk for example. */
static const char start_script[] =
    "message=$(v start \"$name\" 2>&1) && exit 0\n"
    "state() { v domstate \"$name\" --reason 2>/dev/null || :; }\n"
    "now=$(state)\n"
    "case $now in paused*) message=$(v resume \"$name\" 2>&1) || :; now=$(state) ;; esac\n"
    "case $now in\n"
    "running*|idle*) exit 0 ;;\n"
    "'') echo \"$message\" >&2; v list >/dev/null; echo 'there is no such domain' >&2; exit $absent ;;\n"
    "'shut off'*) echo \"$message\" >&2 ;;\n"
    "*) echo \"$message\" >&2; echo \"it does not run: $now\" >&2 ;;\n"
    "esac\n"
    "exit 1\n";

static int libvirt_start(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx,
                         struct error *err) {
    cleanup_buffer struct buffer script = {0};
    script_begin(hv, &script);
    script_set(&script, "name", spec->name);
    buffer_printf(&script, "absent=%d\n", SCRIPT_ABSENT);
    buffer_puts(&script, start_script);
    if (script_run(hv, buffer_str(&script), NULL, 0, NULL, ctx, err))
        return error_subject(err, spec->tag.path);
    return 0;
}

/* The body of an operation on one machine by tag; what is not defined is already stopped and removed. */
static int on_machine(struct hypervisor *hv, const struct tag *tag, const char *body, struct buffer *out,
                      const struct context *ctx, struct error *err) {
    cleanup_buffer struct buffer script = {0};
    cleanup_free char *name = libvirt_name(tag);
    script_begin(hv, &script);
    script_set(&script, "name", name);
    buffer_puts(&script, body);
    if (script_run(hv, buffer_str(&script), NULL, 0, out, ctx, err))
        return error_subject(err, tag->path);
    return 0;
}

static int libvirt_stop(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    static const char body[] = SCRIPT_STATE "turn=0\n"
                                            "while [ $turn -lt 20 ]; do\n"
                                            "    power=$(state)\n"
                                            "    case $power in 'shut off'|crashed|absent) echo off; exit 0 ;; esac\n"
                                            "    [ $((turn % 10)) != 0 ] || v shutdown \"$name\" >/dev/null 2>&1 || :\n"
                                            "    turn=$((turn + 1))\n"
                                            "    sleep 0.5\n"
                                            "done\n";
    for (;;) {
        cleanup_buffer struct buffer out = {0};
        if (context_check(ctx, tag->path, "waiting for it to power off", err) ||
            on_machine(hv, tag, body, &out, ctx, err))
            return -1;
        if (out.len)
            return 0;
    }
}

static int libvirt_power_cut(struct hypervisor *hv, const struct tag *tag, const struct context *ctx,
                             struct error *err) {
    return on_machine(hv, tag,
                      SCRIPT_STATE
                      "power=$(state)\n"
                      "case $power in 'shut off'|crashed|absent) ;; *) v destroy \"$name\" >/dev/null ;; esac\n",
                      NULL, ctx, err);
}

static int libvirt_console(struct hypervisor *hv, const struct tag *tag, struct buffer *ret, const struct context *ctx,
                           struct error *err) {
    return on_machine(hv, tag,
                      "[ ! -f \"$dir/$name/console.log\" ] || tail -c 4096 \"$dir/$name/console.log\" | "
                      "tr -cd '[:print:]\\n'\n",
                      ret, ctx, err);
}

/* The domain first, the directory with the tag last: a removal that was cut is still found. */
static int libvirt_remove(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err) {
    return on_machine(hv, tag,
                      SCRIPT_STATE
                      "power=$(state)\n"
                      "case $power in\n"
                      "absent) ;;\n"
                      "'shut off'|crashed) v undefine \"$name\" --managed-save --snapshots-metadata >/dev/null ;;\n"
                      "*) v destroy \"$name\" >/dev/null\n"
                      "   v undefine \"$name\" --managed-save --snapshots-metadata >/dev/null ;;\n"
                      "esac\n"
                      "rm -rf \"${dir:?}/.new.$name\"\ndiscard \"$name\"\n",
                      NULL, ctx, err);
}

const struct driver libvirt_driver = {
    .size = sizeof libvirt_driver,
    .api = DRIVER_API,
    .name = "libvirt",
    .summary = "KVM through libvirt: a host, or a guest hypervisor",
    .features = DRIVER_HOST | DRIVER_GUEST | DRIVER_LINKED_CLONE,
    .params = params,
    .parallel = 4,
    .boot_timeout_s = 180,
    .boot_timeout_emulated_s = 600,
    .open = libvirt_open,
    .close = libvirt_close,
    .check = libvirt_check,
    .observe = libvirt_observe,
    .ensure_image = libvirt_ensure_image,
    .ensure_network = libvirt_ensure_network,
    .create = libvirt_create,
    .expose = libvirt_expose,
    .start = libvirt_start,
    .stop = libvirt_stop,
    .power_cut = libvirt_power_cut,
    .address = libvirt_address,
    .console = libvirt_console,
    .remove = libvirt_remove,
    .prune = libvirt_prune,
};
