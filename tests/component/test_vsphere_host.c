/* The host itself: its licence, its certificate, and making an old ESXi ready to nest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/vsphere/vsphere.h"
#include "drivers/vsphere/vsphere_priv.h"
#include "nestor/file.h"
#include "vsphere_fixture.h"

static const struct driver *const driver = &vsphere_driver;

/* --- vhv.allow --- */

struct config_file {
    char dir[40], path[64];
};

static void put(const struct config_file *c, const char *text) {
    assert_int_equal(file_write(AT_FDCWD, c->path, text, strlen(text), 0644, NULL, NULL), 0);
}

static int make_file(void **state) {
    static struct config_file c;
    c = (struct config_file){.dir = "/tmp/nestor-vmware-XXXXXX"};
    assert_non_null(mkdtemp(c.dir));
    snprintf(c.path, sizeof c.path, "%s/config", c.dir);
    *state = &c;
    return 0;
}

static int drop_file(void **state) { return tree_remove(((struct config_file *)*state)->dir, NULL, NULL); }

/* Allows, or takes it back, and expects these words; then the file is so. */
static void expect(const struct config_file *c, bool undo, const char *words, const char *text) {
    cleanup_buffer struct buffer report = {0}, now = {0};
    struct error err = {0};
    struct context ctx = context_timeout(NULL, 10000);
    if (vsphere_allow_nesting(access_local(), c->path, undo, &report, &ctx, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    if (!strstr(buffer_str(&report), words))
        fail_msg("'%s', expected '%s'", buffer_str(&report), words);
    assert_int_equal(file_read(AT_FDCWD, c->path, 4096, &now, NULL, NULL), 0);
    assert_string_equal(buffer_str(&now), text);
}

static size_t files(const struct config_file *c) {
    cleanup_dir DIR *dir = opendir(c->dir);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    return n;
}

static void the_line_is_added_once_and_taken_back(void **state) {
    const struct config_file *c = *state;
    put(c, "libdir = \"/usr/lib/vmware\"\n");
    expect(c, false, "vhv.allow = \"TRUE\" is new in", "libdir = \"/usr/lib/vmware\"\nvhv.allow = \"TRUE\"\n");
    expect(c, false, "vhv.allow is on already", "libdir = \"/usr/lib/vmware\"\nvhv.allow = \"TRUE\"\n");
    assert_int_equal(files(c), 2); /* with the backup */
    expect(c, true, "vhv.allow is as it was", "libdir = \"/usr/lib/vmware\"\n");
    expect(c, true, "nestor has not changed it", "libdir = \"/usr/lib/vmware\"\n");
    assert_int_equal(files(c), 1);
}

static void a_line_that_was_there_comes_back(void **state) {
    const struct config_file *c = *state;
    put(c, "a = \"1\"\nvhv.allow = \"FALSE\"\nb = \"2\"\n");
    expect(c, false, "is new in", "a = \"1\"\nb = \"2\"\nvhv.allow = \"TRUE\"\n");
    expect(c, true, "is as it was", "a = \"1\"\nb = \"2\"\nvhv.allow = \"FALSE\"\n");
}

static void what_others_changed_meanwhile_stays(void **state) {
    const struct config_file *c = *state;
    put(c, "a = \"1\"\n");
    expect(c, false, "is new in", "a = \"1\"\nvhv.allow = \"TRUE\"\n");
    put(c, "a = \"2\"\nvhv.allow = \"TRUE\"\nc = \"3\"\n");
    expect(c, true, "is as it was", "a = \"2\"\nc = \"3\"\n");
}

static void what_somebody_else_allowed_is_theirs(void **state) {
    const struct config_file *c = *state;
    put(c, "vhv.allow=\"true\"\n");
    expect(c, false, "is on already", "vhv.allow=\"true\"\n");
    expect(c, true, "nestor has not changed it", "vhv.allow=\"true\"\n");
}

static void a_host_without_that_file_is_told(void **state) {
    const struct config_file *c = *state;
    cleanup_buffer struct buffer report = {0};
    struct error err = {0};
    struct context ctx = context_timeout(NULL, 10000);
    assert_int_equal(vsphere_allow_nesting(access_local(), c->path, false, &report, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_PROCESS);
    assert_int_equal(report.len, 0);
    assert_int_equal(files(c), 0);
}

/* --- what is found --- */

static void take_finding(void *data, const struct finding *f) {
    buffer_printf(data, "%d %s: %s\n", (int)f->kind, f->subject, f->text);
}

static void assert_finds(struct vsphere_fixture *f, const char *words) {
    cleanup_buffer struct buffer text = {0};
    MUST(f, driver->examine(f->hv, take_finding, &text, in_time(f), &f->err));
    if (!strstr(buffer_str(&text), words))
        fail_msg("it does not say '%s': %s", words, buffer_str(&text));
}

#define LICENCE(edition, name)                                                                                         \
    "set LicenseManager * licenses '<val xsi:type=\"ArrayOfLicenseManagerLicenseInfo\"><LicenseManagerLicenseInfo>"    \
    "<licenseKey>0</licenseKey><editionKey>" edition "</editionKey><name>" name "</name><total>0</total>"              \
    "<costUnit>x</costUnit></LicenseManagerLicenseInfo></val>'\n"

static void a_free_licence_is_no_use(void **state) {
    (void)state;
    struct vsphere_fixture f;
    vsphere_fixture_start(&f, true, NULL, NULL);
    VSPHERE_OPEN(&f);
    assert_finds(&f, "0 licence: evaluation: it ends after 60 days");
    vcsim_control(&f.proxy, LICENCE("esxBasic", "vSphere 7 Hypervisor"));
    assert_finds(&f, "2 licence: 'vSphere 7 Hypervisor' is the free one: the API of this ESXi is read-only");
    vcsim_control(&f.proxy, LICENCE("esxEnterprisePlus", "vSphere 7 Enterprise Plus"));
    assert_finds(&f, "0 licence: 'vSphere 7 Enterprise Plus'");
    vsphere_fixture_stop(&f);
}

static void keep_warning(void *data, const char *subject, const char *text) {
    snprintf(data, 200, "%s: %s", subject, text);
}

static void a_server_nobody_checks_is_told_each_time(void **state) {
    (void)state;
    struct vsphere_fixture f;
    vsphere_fixture_start(&f, false, NULL, NULL);
    const struct param params[] = {{.key = "url", .value = f.proxy.server.url},
                                   {.key = "username", .value = VCSIM_USER},
                                   {.key = "password.env", .value = "VSPHERE_FIXTURE_PASSWORD"},
                                   {.key = "tls.insecure", .value = "true"}};
    char warning[200] = "";
    const struct asker asker = {.data = warning, .warn = keep_warning};
    const struct hypervisor_config config = {.subject = "host vc",
                                             .access = access_local(),
                                             .params = params,
                                             .nparams = 4,
                                             .home = f.home,
                                             .asker = &asker};
    MUST(&f, driver->open(&config, &f.hv, in_time(&f), &f.err));
    assert_non_null(strstr(warning, "host vc: nobody checks who answers there"));
    vsphere_fixture_stop(&f);
}

#define WITH_FILE(test) cmocka_unit_test_setup_teardown(test, make_file, drop_file)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_FILE(the_line_is_added_once_and_taken_back),
        WITH_FILE(a_line_that_was_there_comes_back),
        WITH_FILE(what_others_changed_meanwhile_stays),
        WITH_FILE(what_somebody_else_allowed_is_theirs),
        WITH_FILE(a_host_without_that_file_is_told),
        cmocka_unit_test(a_free_licence_is_no_use),
        cmocka_unit_test(a_server_nobody_checks_is_told_each_time),
    };
    return cmocka_run_group_tests_name("vsphere host", tests, NULL, NULL);
}
