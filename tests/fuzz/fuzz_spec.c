/* Any bytes as a lab spec: the parser ends, says why when it refuses, and what it accepts keeps the promises of
 * nestor/lab.h.
 *
 *   cmake --preset fuzz && cmake --build --preset fuzz -t fuzz_spec
 *   build-fuzz/fuzz_spec -max_total_time=180 -timeout=5 -rss_limit_mb=1024 FOLDER tests/fuzz/corpus/spec
 */
#include <stdlib.h>
#include <string.h>

#include "spec/limits.h"
#include "spec/parse.h"

static const struct driver_param params[] = {{.key = "uri", .help = ""}, {.key = "tls.ca", .help = ""}, {0}};
static const struct driver qemu = {.name = "qemu", .features = DRIVER_HOST, .params = params};
static const struct driver_param far_params[] = {
    {.key = "url", .help = "", .required = true}, {.key = "password", .help = "", .secret = true}, {0}};
static const struct driver far = {.name = "far",
                                  .features = DRIVER_HOST | DRIVER_GUEST | DRIVER_TEMPLATES | DRIVER_BY_ADDRESS |
                                              DRIVER_EXTRA | DRIVER_LINKED_CLONE | DRIVER_FULL_CLONE,
                                  .params = far_params};
static const struct driver libvirt = {.name = "libvirt", .features = DRIVER_HOST | DRIVER_GUEST};

#define MUST(what)                                                                                                     \
    do {                                                                                                               \
        if (!(what))                                                                                                   \
            abort();                                                                                                   \
    } while (0)

static bool is_far(const char *driver) { return driver && strcmp(driver, "far") == 0; }

static void check_params(const struct param *params, size_t n, bool of_far) {
    for (size_t i = 0; i < n; i++) {
        MUST(params[i].key[0] && params[i].value[0]);
        MUST(!of_far || strcmp(params[i].key, "password") != 0);
        MUST(!of_far || strcmp(params[i].key, "password.file") != 0 || params[i].value[0] == '/');
    }
}

/* By what it runs on: only what a driver has itself is not of this machine. */
static void check_choices(const struct lab *lab, const struct machine *m) {
    const char *on = m->parent == LAB_NONE ? lab->hosts[m->host].driver : lab->machines[m->parent].hypervisor;
    MUST(lab->templates[m->template].on_host == is_far(on));
    MUST(!m->full_clone || is_far(on));
    MUST(!m->nextra || is_far(on));
    MUST(m->nextra <= SPEC_EXTRA_MAX);
    check_params(m->extra, m->nextra, false);
    check_params(m->params, m->nparams, is_far(m->hypervisor));
}

static void check_machine(const struct lab *lab, size_t i) {
    const struct machine *m = &lab->machines[i];
    MUST(name_is_valid(m->name));
    MUST(strlen(m->path) <= SPEC_PATH_MAX);
    MUST(m->level >= 1 && m->level <= SPEC_LEVELS_MAX);
    MUST(m->host < lab->nhosts && m->template <lab->ntemplates);
    MUST(m->cpus >= 1 && m->memory >= (16u << 20) && m->ssh_user && m->ssh_port);
    MUST(!m->hypervisor || m->nesting != NESTING_OFF);
    check_choices(lab, m);
    if (m->parent == LAB_NONE) {
        MUST(m->level == 1);
        return;
    }
    MUST(m->parent < i);
    const struct machine *parent = &lab->machines[m->parent];
    MUST(parent->hypervisor && parent->ready >= (is_far(parent->hypervisor) ? READY_ADDRESS : READY_SSH));
    MUST(m->level == parent->level + 1 && m->host == parent->host);
}

static void check_lab(const struct lab *lab) {
    MUST(name_is_valid(lab->name));
    MUST(lab->nmachines >= 1 && lab->nmachines <= SPEC_MACHINES_MAX);
    for (size_t i = 0; i < lab->nmachines; i++)
        check_machine(lab, i);
    for (size_t i = 0; i < lab->nhosts; i++)
        check_params(lab->hosts[i].params, lab->hosts[i].nparams, is_far(lab->hosts[i].driver));
    for (size_t i = 0; i < lab->ntemplates; i++) {
        const struct template *t = &lab->templates[i];
        MUST(t->on_host ? t->name[0] && strlen(t->name) <= SPEC_TEMPLATE_MAX && !t->source
                        : name_is_valid(t->name) && t->format);
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    const struct driver *const items[] = {&qemu, &libvirt, &far};
    const struct driver_list drivers = {items, 3};
    struct diagnostics diags = {0};
    struct error err = {0};
    struct lab *lab = NULL;
    if (spec_parse("fuzz.yaml", (const char *)data, size, &drivers, NULL, &lab, &diags, &err) == 0) {
        MUST(diags.nerrors == 0 && err.code == ERR_NONE);
        check_lab(lab);
    } else {
        MUST(!lab && diags.nerrors > 0 && err.code == ERR_SPEC && err.cause[0]);
    }
    lab_free(lab);
    diagnostics_free(&diags);
    return 0;
}
