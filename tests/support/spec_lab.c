#include "spec_lab.h"

#include <stdlib.h>
#include <string.h>

#include "nestor/file.h"

static const struct driver_param params[] = {
    {.key = "uri", .help = "Where the hypervisor listens."},
    {.key = "tls.ca", .help = "The CA file."},
    {.key = "tls.verify", .help = "Whether to verify."},
    {0},
};
static const struct driver_param needed[] = {
    {.key = "address", .help = "Its address, for example 10.0.0.1.", .required = true}, {0}};

static const struct driver_param far[] = {
    {.key = "url", .help = "Where it answers.", .required = true},
    {.key = "password", .help = "How to log in.", .required = true, .secret = true},
    {.key = "tls.ca", .help = "The CA file.", .path = true},
    {.key = "tls.insecure", .help = "Whether not to look."},
    {0},
};

static const char *const own_keys[] = {"nestor.", "vhv.enable", NULL};

static int check_far(const struct hypervisor_config *config, struct error *err) {
    const char *insecure = param_get(config, "tls.insecure", "true");
    if (strcmp(insecure, "true") == 0 || strcmp(insecure, "false") == 0)
        return 0;
    error_set(err, ERR_SPEC, config->subject, "'%s'%s is no answer", insecure, config->endpoint ? " inside" : "");
    return error_mend(err, "say true");
}

#define DRIVER(text, what, table)                                                                                      \
    { .size = sizeof(struct driver), .api = DRIVER_API, .name = text, .features = what, .params = table }
static const struct driver drivers[] = {
    DRIVER("qemu", DRIVER_HOST | DRIVER_LINKED_CLONE, NULL),
    DRIVER("libvirt", DRIVER_HOST | DRIVER_GUEST | DRIVER_LINKED_CLONE, NULL),
    DRIVER("kvm", DRIVER_HOST | DRIVER_GUEST, params),
    DRIVER("metal", DRIVER_HOST, needed),
    DRIVER("inner", DRIVER_GUEST, NULL),
    {.size = sizeof(struct driver),
     .api = DRIVER_API,
     .name = "remote",
     .features = DRIVER_HOST | DRIVER_GUEST | DRIVER_TEMPLATES | DRIVER_BY_ADDRESS | DRIVER_EXTRA |
                 DRIVER_LINKED_CLONE | DRIVER_FULL_CLONE,
     .params = far,
     .check_params = check_far,
     .extra_own = own_keys},
};
static const struct driver *const list[] = {&drivers[0], &drivers[1], &drivers[2],
                                            &drivers[3], &drivers[4], &drivers[5]};
const struct driver_list spec_test_drivers = {list, sizeof list / sizeof *list};

static int parse(const char *text, size_t len, struct lab **ret, struct diagnostics *diags, struct error *err) {
    return spec_parse("labs/x.yaml", text, len, &spec_test_drivers, NULL, ret, diags, err);
}

static void check_findings(const struct diagnostics *diags, const char *const *findings, size_t n) {
    cleanup_buffer struct buffer got = {0}, wanted = {0};
    diagnostics_print(diags, "labs/x.yaml", &got);
    for (size_t i = 0; i < n; i++)
        buffer_printf(&wanted, "labs/x.yaml:%s\n", findings[i]);
    assert_string_equal(buffer_str(&got), buffer_str(&wanted));
}

struct lab *spec_warned(const char *text, const char *const *findings, size_t n) {
    struct lab *lab = NULL;
    struct diagnostics diags = {0};
    struct error err = {0};
    int failed = parse(text, strlen(text), &lab, &diags, &err);
    check_findings(&diags, findings, n);
    assert_int_equal(failed, 0);
    assert_int_equal(err.code, ERR_NONE);
    diagnostics_free(&diags);
    return lab;
}

struct lab *spec_good(const char *text) {
    return spec_warned(text, NULL, 0);
}

void spec_refused(const char *text, size_t len, const char *const *findings, size_t n) {
    struct lab *untouched = (struct lab *)&untouched, *lab = untouched;
    struct diagnostics diags = {0};
    struct error err = {0};
    assert_int_equal(parse(text, len, &lab, &diags, &err), -1);
    assert_ptr_equal(lab, untouched);
    check_findings(&diags, findings, n);
    assert_int_equal(err.code, ERR_SPEC);
    cleanup_free char *told = xasprintf("%s: error: %s%s%s", err.subject + strlen("labs/x.yaml:"), err.cause,
                                        err.mend[0] ? "; " : "", err.mend);
    const char *first = findings[0];
    for (size_t i = 1; i < n && strstr(first, ": warning: "); i++)
        first = findings[i];
    assert_string_equal(told, first);
    diagnostics_free(&diags);
}

const struct machine *spec_machine(const struct lab *lab, const char *path) {
    for (size_t i = 0; i < lab->nmachines; i++)
        if (strcmp(lab->machines[i].path, path) == 0)
            return &lab->machines[i];
    fail_msg("there is no machine %s", path);
    return NULL;
}

char *spec_source_file(const char *name) {
    cleanup_free char *path = xasprintf("%s/%s", getenv("NESTOR_SOURCE_DIR"), name);
    cleanup_buffer struct buffer text = {0};
    assert_int_equal(file_read(AT_FDCWD, path, 4 << 20, &text, NULL, NULL), 0);
    return buffer_steal(&text);
}
