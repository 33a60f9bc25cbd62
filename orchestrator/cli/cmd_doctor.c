#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/hosts.h"
#include "nestor/file.h"
#include "nestor/image.h"
#include "ui/text.h"
#include "ui/ui.h"

#define HOST_MS 30000
#define GIB ((uint64_t)1 << 30)

struct doctor_options {
    const char *host, *file;
    bool json;
};
static const struct option_spec options[] = {
    {"host", 0, OPTION_STRING, offsetof(struct doctor_options, host), "NAME",
     "only this host of the lab file, and nothing else"},
    {"file", 'f', OPTION_STRING, offsetof(struct doctor_options, file), "FILE",
     "the lab file; with --host the default is " HOSTS_FILE},
    {"json", 0, OPTION_FLAG, offsetof(struct doctor_options, json), NULL, "the findings as JSON"},
    {0},
};

enum verdict { OK, WARN, FAIL };
static const struct {
    const char *word;
    enum tint tint;
} verdicts[] = {[OK] = {"ok", TINT_GOOD}, [WARN] = {"warn", TINT_WARN}, [FAIL] = {"fail", TINT_BAD}};

struct doctor {
    struct cli *cli;
    json_t *json; /* NULL: text */
    size_t counts[3];
};

/* --- telling --- */

static void tell_json(struct doctor *d, enum verdict v, const char *what, const char *text, const char *mend) {
    json_t *json = json_object();
    json_object_set_new(json, "check", text_json(what));
    json_object_set_new(json, "verdict", json_string(verdicts[v].word));
    json_object_set_new(json, "text", text_json(text));
    json_object_set_new(json, "mend", text_json_or_null(mend));
    json_array_append_new(d->json, json);
}

static void tell(struct doctor *d, enum verdict v, const char *what, const char *mend, const char *fmt, ...)
    NESTOR_PRINTF(5, 6);
static void tell(struct doctor *d, enum verdict v, const char *what, const char *mend, const char *fmt, ...) {
    cleanup_buffer struct buffer text = {0}, line = {0};
    bool utf8 = terminal_is_utf8(), color = d->cli->color;
    va_list ap;
    va_start(ap, fmt);
    buffer_vprintf(&text, fmt, ap);
    va_end(ap);
    d->counts[v]++;
    if (d->json) {
        tell_json(d, v, what, buffer_str(&text), mend);
        return;
    }
    if (d->cli->quiet && v == OK)
        return;
    buffer_printf(&line, "%s%-4s%s  ", tint(color, verdicts[v].tint), verdicts[v].word, tint_end(color));
    text_put_padded(&line, what, 22, utf8);
    buffer_puts(&line, "  ");
    text_put_hanging(&line, buffer_str(&text), 30, text_width(stdout), utf8);
    if (v != OK && mend && mend[0]) {
        buffer_printf(&line, "\n%30s%smend:%s ", "", tint(color, TINT_BOLD), tint_end(color));
        text_put_hanging(&line, mend, 36, text_width(stdout), utf8);
    }
    puts(buffer_str(&line));
}

static void tell_error(struct doctor *d, enum verdict v, const char *what, const struct error *why) {
    bool about_it = strcmp(why->subject, what) == 0;
    tell(d, v, what, why->mend, "%s%s%s", about_it ? "" : why->subject, about_it || !why->subject[0] ? "" : ": ",
         why->cause);
}

/* --- this machine --- */

static void check_folder(struct doctor *d, const char *what, const char *(*folder)(struct error *err), uint64_t wish) {
    struct error why = {0};
    struct statvfs st;
    char room[24];
    const char *path = folder(&why);
    if (!path) {
        tell_error(d, FAIL, what, &why);
        return;
    }
    if (access(path, W_OK | X_OK) != 0 || statvfs(path, &st) != 0) {
        tell(d, FAIL, what, "make it writable, or set NESTOR_HOME", "%s cannot be written: %s", path, strerror(errno));
        return;
    }
    uint64_t left = (uint64_t)st.f_bavail * st.f_frsize;
    bytes_format(left, room);
    tell(d,
         left < wish / 8 ? FAIL
         : left < wish   ? WARN
                         : OK,
         what, "free some space, or set NESTOR_HOME elsewhere", "%s, %s free", path, room);
}

static void check_state(struct doctor *d) {
    struct error why = {0};
    struct state *state = NULL;
    const char *home = nestor_home(&why);
    if (home && !nestor_has_state())
        tell(d, OK, "state", NULL, "no database yet: the first lab makes it");
    else if (!home || state_open(home, &d->cli->cancel, &state, &why))
        tell_error(d, FAIL, "state", &why);
    else
        tell(d, OK, "state", NULL, "the database opens");
    state_close(state);
}

/* What is run by name, and the driver that cannot do without it. The drivers check what they need themselves; this
 * tells it before there is a lab. */
static const struct {
    const char *program, *package, *use, *driver;
} programs[] = {
    {"qemu-system-x86_64", "qemu-system-x86", "hosts with driver qemu", "qemu"},
    {"qemu-img", "qemu-utils", "linked clones", "qemu"},
    {"ssh", "openssh-client", "'nestor ssh'", NULL},
    {"virsh", "libvirt-clients", "hosts with driver libvirt", "libvirt"},
    {"mmdebstrap", "mmdebstrap", "building images", NULL},
};

static bool has_driver(const struct known_hosts *hosts, const char *driver) {
    for (size_t i = 0; driver && i < hosts->n; i++)
        if (strcmp(hosts->items[i].driver->name, driver) == 0)
            return true;
    return false;
}

static void check_programs(struct doctor *d, const struct known_hosts *hosts) {
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        cleanup_free char *mend = xasprintf("apt-get install %s", programs[i].package);
        if (program_exists(programs[i].program))
            tell(d, OK, programs[i].program, NULL, "installed; for %s", programs[i].use);
        else
            tell(d, has_driver(hosts, programs[i].driver) ? FAIL : WARN, programs[i].program, mend,
                 "not installed; for %s", programs[i].use);
    }
}

static void add_driver(void *data, const struct driver *driver) {
    struct buffer *names = data;
    buffer_printf(names, "%s%s", names->len ? ", " : "", driver->name);
}

static void check_build(struct doctor *d) {
    cleanup_buffer struct buffer names = {0};
    driver_each(add_driver, &names);
    tell(d, OK, "nestor", NULL, NESTOR_VERSION ", built with " NESTOR_LIBRARIES);
    tell(d, OK, "drivers", NULL, "%s", buffer_str(&names));
}

/* An image that is missing is no fault: up builds it. */
static void tell_image(void *data, const char *name, const struct image *image) {
    char size[24];
    cleanup_free char *what = xasprintf("image %s", name);
    bytes_format(image ? image->file_size : 0, size);
    if (image)
        tell(data, OK, what, NULL, "built, %s", size);
    else
        tell(data, OK, what, NULL, "not built yet: an 'up' that needs it does it, or 'nestor image build %s'", name);
}

static void check_images(struct doctor *d) {
    struct error why = {0};
    if (image_list(tell_image, d, &why))
        tell_error(d, WARN, "images", &why);
}

/* --- hosts --- */

static void tell_capability(struct doctor *d, const struct known_host *host, const struct capability *c) {
    char memory[24] = "unknown", disk[24] = "unknown";
    const struct reason *reason = reason_find(c->reason);
    if (c->memory_free != UINT64_MAX)
        bytes_format(c->memory_free, memory);
    if (c->disk_free != UINT64_MAX)
        bytes_format(c->disk_free, disk);
    if (!c->can_nest)
        tell(d, FAIL, host->subject, reason ? reason->mend : NULL, "%s: cannot nest: %s: %s", host->driver->name,
             c->reason,
             c->detail[0] ? c->detail
             : reason     ? reason->meaning
                          : "");
    else if (c->emulated)
        tell(d, WARN, host->subject,
             "use a host whose /dev/kvm nestor can open; here everything takes many times longer",
             "%s: nests (%s), but emulates: %s", host->driver->name, c->flag, c->detail);
    else
        tell(d, OK, host->subject, NULL, "%s: nests (%s): %s", host->driver->name, c->flag, c->detail);
    tell(d, OK, host->subject, NULL, "%u CPUs, %s memory and %s disk free", c->cpus, memory, disk);
}

static void tell_finding(void *data, const struct finding *f) {
    static const enum verdict verdict[] = {OK, WARN, FAIL};
    tell(data, verdict[f->kind], f->subject, f->mend, "%s", f->text);
}

static void check_host(struct doctor *d, const struct known_host *host) {
    struct context ctx = context_timeout(&d->cli->ctx, HOST_OPEN_MS);
    struct hypervisor *hv = NULL;
    struct capability c;
    struct error why = {0};
    const char *home = nestor_home(&why);
    int failed = !home || host_open(d->cli, host, home, &hv, &ctx, &why);
    ctx = context_timeout(&d->cli->ctx, HOST_MS);
    if (failed || host->driver->check(hv, &c, &ctx, &why)) {
        tell_error(d, FAIL, host->subject, &why);
    } else {
        tell_capability(d, host, &c);
        if (host->driver->examine && host->driver->examine(hv, tell_finding, d, &ctx, &why))
            tell_error(d, FAIL, host->subject, &why);
    }
    if (hv)
        host->driver->close(hv);
}

static int find_hosts(struct doctor *d, const char *file, struct known_hosts *hosts, struct error *err) {
    if (file)
        return hosts_from_file(d->cli, file, hosts, NULL, err);
    hosts_add_local(hosts);
    return 0;
}

/* One host alone. */
static int examine_host(struct doctor *d, const char *file, const char *name, struct error *err) {
    struct known_hosts hosts = {0};
    const struct known_host *host;
    file = file ? file : HOSTS_FILE;
    int failed = find_hosts(d, file, &hosts, err) || hosts_find(&hosts, name, file, &host, err) ? -1 : 0;
    if (!failed)
        check_host(d, host);
    hosts_free(&hosts);
    return failed;
}

static int examine(struct doctor *d, const char *file, struct error *err) {
    struct known_hosts hosts = {0};
    if (find_hosts(d, file, &hosts, err))
        return -1;
    check_build(d);
    check_folder(d, "state directory", nestor_home, GIB);
    check_folder(d, "image cache", nestor_cache, 4 * GIB);
    check_state(d);
    check_programs(d, &hosts);
    for (size_t i = 0; i < hosts.n && !cancel_fired(&d->cli->cancel); i++)
        check_host(d, &hosts.items[i]);
    check_images(d);
    hosts_free(&hosts);
    return 0;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    const struct doctor_options *o = opts;
    struct doctor d = {.cli = cli, .json = o->json ? json_array() : NULL};
    const char *file = argc ? argv[0] : o->file;
    int failed = o->host ? examine_host(&d, file, o->host, err) : examine(&d, file, err);
    failed = failed || context_check(&cli->ctx, "doctor", "looking", err); /* what was not looked at did not fail */
    if (d.json && !failed)
        json_print(json_pack("{s:b, s:O}", "ok", d.counts[FAIL] == 0, "findings", d.json), stdout);
    else if (!failed && !cli->quiet)
        printf("\n%zu ok, %zu warn, %zu fail\n", d.counts[OK], d.counts[WARN], d.counts[FAIL]);
    json_decref(d.json);
    return failed ? -1 : d.counts[FAIL] ? NESTOR_FAILED : NESTOR_DONE;
}

const struct cli_command cmd_doctor = {
    .name = "doctor",
    .summary = "Check whether this machine, and the hosts of a lab file, can do it",
    .arguments = "[FILE]",
    .completes = ARGUMENT_FILE,
    .options = options,
    .options_size = sizeof(struct doctor_options),
    .min_args = 0,
    .max_args = 1,
    .details =
        "Programs, directories, database, images, and of each host whether it can nest and how fast. Without FILE\n"
        "the host is this machine. With --host only that one is looked at, and what a lab needs of it.\n"
        "Changes nothing but for nestor's own two directories, which it makes. Exits with 1 if something has to be\n"
        "mended first.",
    .examples = "  nestor doctor\n  nestor doctor --host esx\n  nestor doctor --host vc --file lab.yaml --json",
    .run = run,
};
