/* The probes are one table; the script that runs them all in one round trip, and the judgement of what it prints, are
 * both derived from it.
 *
 * What the script prints, per probe:      @@ NAME EXIT-STATUS
 *                                          first 4 KiB of its output, each line behind one space
 * so nothing a probe prints can be mistaken for a verdict. */
#include "nestor/verify.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_MAX 4096

enum probe_when { ALWAYS, IF_NESTED_DEEPER, FOR_LIBVIRT };

static const struct probe_kind {
    const char *name;
    const char *command; /* for sh; its exit status is the verdict */
    const char *reason;  /* NULL: told, but does not decide */
    enum probe_when when;
} kinds[] = {
    {"cpu-flag", "grep -Eow '(vmx|svm)' /proc/cpuinfo", "guest-flag-missing", ALWAYS},
    {"kvm-module", "ls -d /sys/module/kvm_intel /sys/module/kvm_amd 2>/dev/null | grep .", "kvm-module-missing",
     ALWAYS},
    {"dev-kvm", "test -c /dev/kvm && exec 3<>/dev/kvm && echo '/dev/kvm opens'", "dev-kvm-missing", ALWAYS},
    {"kvm-nested", "cat /sys/module/kvm_*/parameters/nested | grep -x '[Y1]'", "kvm-nested-off", IF_NESTED_DEEPER},
    /* Whether libvirt can make KVM guests with the QEMU that guests are made with. "virsh version" proves less and
     * costs more: libvirtd then starts every QEMU it finds to look at it, ten seconds each under emulation
     * (libvirt 9.0). */
    {"virsh", "virsh -c qemu:///system domcapabilities --arch x86_64 --virttype kvm | grep -F '<domain>kvm'",
     "hypervisor-probe-failed", FOR_LIBVIRT},
    /* Warns about things no lab needs (IOMMU, cgroup controllers), so it informs only. */
    {"virt-host-validate", "virt-host-validate qemu", NULL, FOR_LIBVIRT},
};
#define NKINDS (sizeof kinds / sizeof *kinds)

static const char prologue[] = "# nestor-verify 1\n"
                               "probe() {\n"
                               "    out=$(sh -c \"$2\" 2>&1 </dev/null)\n"
                               "    echo \"@@ $1 $?\"\n"
                               "    printf '%s\\n' \"$out\" | head -c 4096 | sed 's/^/ /'\n"
                               "}\n";

static bool applies(const struct probe_kind *k, const char *kind) {
    return k->when != FOR_LIBVIRT || strcmp(kind, "libvirt") == 0;
}

static char *scripts[2]; /* generic, libvirt: built once, never freed */

static void build_scripts(void) {
    static const char *const names[2] = {"generic", "libvirt"};
    for (int i = 0; i < 2; i++) {
        struct buffer b = {0};
        buffer_puts(&b, prologue);
        for (size_t k = 0; k < NKINDS; k++) {
            if (!applies(&kinds[k], names[i]))
                continue;
            buffer_printf(&b, "probe %s ", kinds[k].name);
            buffer_put_shell(&b, kinds[k].command);
            buffer_putc(&b, '\n');
        }
        scripts[i] = buffer_steal(&b);
    }
}

const char *verify_script(const char *kind) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, build_scripts);
    return scripts[strcmp(kind, "libvirt") == 0];
}

void evidence_free(struct evidence *e) {
    if (!e)
        return;
    for (size_t i = 0; i < e->nprobes; i++)
        free(e->probes[i].output);
    *e = (struct evidence){0};
}

/* The output of one probe: lines behind one space, until the next header. Returns where it ends. */
static const char *take_output(const char *at, const char *end, struct buffer *out) {
    while (at < end && *at == ' ') {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((eol ? eol : end) - at) - 1;
        for (size_t i = 0; i < len && out->len < OUTPUT_MAX; i++) {
            unsigned char c = (unsigned char)at[1 + i];
            buffer_putc(out, c < 0x20 || c == 0x7f ? ' ' : (char)c);
        }
        if (out->len < OUTPUT_MAX)
            buffer_putc(out, '\n');
        at = eol ? eol + 1 : end;
    }
    while (out->len && out->data[out->len - 1] == '\n')
        out->data[--out->len] = '\0';
    return at;
}

static struct probe *probe_named(struct evidence *e, const char *name, size_t len) {
    for (size_t i = 0; i < e->nprobes; i++)
        if (strlen(e->probes[i].name) == len && memcmp(e->probes[i].name, name, len) == 0)
            return &e->probes[i];
    return NULL;
}

/* "@@ NAME STATUS": the probe it is about, or NULL for anything else. */
static struct probe *take_header(struct evidence *e, const char *line, size_t len, bool *ret_ok) {
    if (len < 6 || memcmp(line, "@@ ", 3) != 0)
        return NULL;
    const char *space = memchr(line + 3, ' ', len - 3);
    if (!space)
        return NULL;
    *ret_ok = (size_t)(line + len - space) == 2 && space[1] == '0';
    return probe_named(e, line + 3, (size_t)(space - line) - 3);
}

static void list_probes(struct evidence *e, const char *kind, bool exposed) {
    e->probes[e->nprobes++] = (struct probe){.name = "exposed",
                                             .command = "(the hypervisor's own setting, read back)",
                                             .output = xstrdup(exposed ? "on" : "off"),
                                             .ran = true,
                                             .ok = exposed,
                                             .reason = exposed ? NULL : "vhv-not-set"};
    for (size_t k = 0; k < NKINDS; k++)
        if (applies(&kinds[k], kind))
            e->probes[e->nprobes++] =
                (struct probe){.name = kinds[k].name, .command = kinds[k].command, .reason = kinds[k].reason};
}

static void judge(struct evidence *e, bool nested_needed) {
    for (size_t i = 0; i < e->nprobes; i++) {
        struct probe *p = &e->probes[i];
        if (p->ok || (strcmp(p->name, "kvm-nested") == 0 && !nested_needed))
            p->reason = NULL;
    }
    /* What the guest sees decides. If its flag is missing, the hypervisor's setting tells why. */
    struct probe *flag = probe_named(e, "cpu-flag", strlen("cpu-flag"));
    for (size_t i = 1; i < e->nprobes && !e->reason; i++)
        e->reason = e->probes[i].reason;
    if (e->probes[0].reason && (!e->reason || !flag->ok))
        e->reason = e->probes[0].reason;
    e->verified = !e->reason;
    if (flag->ok && strstr(flag->output, "vmx"))
        memcpy(e->flag, "vmx", 4);
    else if (flag->ok && strstr(flag->output, "svm"))
        memcpy(e->flag, "svm", 4);
}

int verify_parse(const char *kind, bool exposed, bool nested_needed, const char *output, size_t len,
                 struct evidence *ret, struct error *err) {
    struct evidence e = {.checked_at = clock_unix()};
    list_probes(&e, kind, exposed);
    const char *at = output, *end = output + len;
    size_t seen = 0;
    while (at < end) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((eol ? eol : end) - at);
        bool ok = false;
        struct probe *p = take_header(&e, at, n, &ok);
        at = eol ? eol + 1 : end;
        if (!p || p->ran) /* banners and the like; a probe counts once */
            continue;
        struct buffer text = {0};
        at = take_output(at, end, &text);
        p->output = buffer_steal(&text);
        p->ran = true;
        p->ok = ok;
        seen++;
    }
    if (seen == 0) {
        evidence_free(&e);
        error_set(err, ERR_PROTOCOL, NULL, "the probes printed nothing that can be understood");
        return error_mend(err, "check that the login shell of the SSH user is a POSIX shell");
    }
    for (size_t i = 0; i < e.nprobes; i++)
        if (!e.probes[i].output)
            e.probes[i].output = xstrdup("");
    judge(&e, nested_needed);
    *ret = e;
    return 0;
}

int verify_run(struct access *access, const char *kind, bool exposed, bool nested_needed, struct evidence *ret,
               const struct context *ctx, struct error *err) {
    cleanup_command_result struct command_result result = {0};
    struct command command = COMMAND(verify_script(kind));
    command.max_output = 256 << 10;
    if (access_run(access, &command, &result, ctx, err) ||
        verify_parse(kind, exposed, nested_needed, buffer_str(&result.out), result.out.len, ret, err))
        return error_context(err, "verifying");
    return 0;
}
