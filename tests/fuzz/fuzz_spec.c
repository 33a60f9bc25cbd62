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
static const struct driver libvirt = {.name = "libvirt", .features = DRIVER_HOST | DRIVER_GUEST};

#define MUST(what)                                                                                                     \
    do {                                                                                                               \
        if (!(what))                                                                                                   \
            abort();                                                                                                   \
    } while (0)

static void check_machine(const struct lab *lab, size_t i) {
    const struct machine *m = &lab->machines[i];
    MUST(name_is_valid(m->name));
    MUST(strlen(m->path) <= SPEC_PATH_MAX);
    MUST(m->level >= 1 && m->level <= SPEC_LEVELS_MAX);
    MUST(m->host < lab->nhosts && m->template <lab->ntemplates);
    MUST(m->cpus >= 1 && m->memory >= (16u << 20) && m->ssh_user && m->ssh_port);
    MUST(!m->hypervisor || m->nesting != NESTING_OFF);
    if (m->parent == LAB_NONE) {
        MUST(m->level == 1);
        return;
    }
    MUST(m->parent < i);
    const struct machine *parent = &lab->machines[m->parent];
    MUST(parent->hypervisor && parent->ready == READY_SSH);
    MUST(m->level == parent->level + 1 && m->host == parent->host);
}

static void check_lab(const struct lab *lab) {
    MUST(name_is_valid(lab->name));
    MUST(lab->nmachines >= 1 && lab->nmachines <= SPEC_MACHINES_MAX);
    for (size_t i = 0; i < lab->nmachines; i++)
        check_machine(lab, i);
    for (size_t i = 0; i < lab->ntemplates; i++)
        MUST(name_is_valid(lab->templates[i].name) && lab->templates[i].format);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    const struct driver *const items[] = {&qemu, &libvirt};
    const struct driver_list drivers = {items, 2};
    struct diagnostics diags = {0};
    struct error err = {0};
    struct lab *lab = NULL;
    if (spec_parse("fuzz.yaml", (const char *)data, size, &drivers, &lab, &diags, &err) == 0) {
        MUST(diags.nerrors == 0 && err.code == ERR_NONE);
        check_lab(lab);
    } else {
        MUST(!lab && diags.nerrors > 0 && err.code == ERR_SPEC && err.cause[0]);
    }
    lab_free(lab);
    diagnostics_free(&diags);
    return 0;
}
