/* `templates:`, and the text form of `user-data`. */
#include <stdlib.h>
#include <string.h>

#include "spec_lab.h"

#define SHA "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef"
#define SHA_LOWER "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define T(keys) "lab: x\ntemplates:\n  t: { " keys " }\nmachines: { a: { template: t } }\n"

static void sources(void **state) {
    (void)state;
    setenv("HOME", "/home/me", 1);
    static const struct {
        const char *text, *source, *format;
    } cases[] = {
        {T("source: d.qcow2"), "labs/d.qcow2", "qcow2"},
        {T("source: ../d.img"), "labs/../d.img", "qcow2"},
        {T("source: /d.raw"), "/d.raw", "raw"},
        {T("source: ~/d"), "/home/me/d", "qcow2"},
        {T("source: d.raw, format: qcow2"), "labs/d.raw", "qcow2"},
        {T("source: d, format: raw"), "labs/d", "raw"},
        {T("source: \"https://example.org/d.raw\", sha256: " SHA), "https://example.org/d.raw", "raw"},
        {T("source: \"HTTP://example.org/d\", sha256: " SHA), "HTTP://example.org/d", "qcow2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lab *lab = spec_good(cases[i].text);
        assert_int_equal(lab->ntemplates, 1);
        assert_string_equal(lab->templates[0].source, cases[i].source);
        assert_string_equal(lab->templates[0].format, cases[i].format);
        assert_int_equal(lab->templates[0].boot, BOOT_DISK);
        lab_free(lab);
    }
}

static void checksums(void **state) {
    (void)state;
    struct lab *lab = spec_good(T("source: d, sha256: " SHA));
    assert_string_equal(lab->templates[0].sha256, SHA_LOWER);
    lab_free(lab);
    lab = spec_good(T("source: d"));
    assert_null(lab->templates[0].sha256);
    lab_free(lab);
    assert_refused(
        T("source: \"https://example.org/d\""),
        "3:16: error: a 'source' that is a URL needs 'sha256'; take the checksum its publisher gives, or download "
        "it once and run 'sha256sum FILE'");
    assert_refused(
        T("source: d, sha256: 12ab"),
        "3:27: error: 'sha256' must be 64 hex digits, not the 4 characters '12ab'; 'sha256sum FILE' prints them");
    assert_refused(
        T("source: \"https://example.org/d\", sha256: x"),
        "3:49: error: 'sha256' must be 64 hex digits, not the 1 characters 'x'; 'sha256sum FILE' prints them");
}

/* The file is kept in the state as it is, and people show it around; the message does not repeat it. */
static void logins_in_urls_are_refused(void **state) {
    (void)state;
#define REFUSED " has a login in it, which must not stand in the spec; download the file and give its path"
    assert_refused(T("source: \"https://me:s3cret@example.org/d\", sha256: " SHA),
                   "3:16: error: the URL of 'source'" REFUSED);
    assert_refused(T("source: \"https://t0ken@example.org/d\", sha256: " SHA),
                   "3:16: error: the URL of 'source'" REFUSED);
    assert_refused(T("source: \"ftp://me:s3cret@example.org\", sha256: " SHA),
                   "3:16: error: the URL of 'source'" REFUSED);
    assert_refused(T("source: d, boot: { kernel: \"https://me:s3@cret@example.org/k\" }"),
                   "3:35: error: the URL of 'kernel'" REFUSED);
    lab_free(spec_good(T("source: \"https://example.org/d?to=a@b\", sha256: " SHA)));
}

static void schemes(void **state) {
    (void)state;
    assert_refused(
        T("source: \"ftp://example.org/d\", sha256: " SHA),
        "3:16: error: 'source' cannot be fetched from 'ftp://example.org/d'; use a path, or a URL that starts with "
        "https://, http://");
    assert_refused(
        T("source: \"file:///etc/shadow\""),
        "3:16: error: 'source' cannot be fetched from 'file:///etc/shadow'; use a path, or a URL that starts with "
        "https://, http://");
    assert_refused(
        T("source: d, boot: { kernel: \"http://example.org/k\" }"),
        "3:35: error: 'kernel' cannot be fetched from 'http://example.org/k'; use a path, or a URL that starts "
        "with https://");
}

static void kernel_boot(void **state) {
    (void)state;
    struct lab *lab =
        spec_good(T("source: d, user: me, boot: { kernel: k, initrd: \"https://example.org/i\", cmdline: \"a=b c\" }"));
    const struct template *t = &lab->templates[0];
    assert_int_equal(t->boot, BOOT_KERNEL);
    assert_string_equal(t->kernel, "labs/k");
    assert_string_equal(t->initrd, "https://example.org/i");
    assert_string_equal(t->cmdline, "a=b c");
    assert_string_equal(t->user, "me");
    lab_free(lab);
    lab = spec_good(T("source: d, boot: disk"));
    assert_int_equal(lab->templates[0].boot, BOOT_DISK);
    assert_null(lab->templates[0].kernel);
    lab_free(lab);
    assert_refused(T("source: d, boot: network"),
                   "3:25: error: 'boot' must be 'disk' or a map with a kernel; for example "
                   "boot: { kernel: vmlinuz, initrd: initrd.img }");
}

/* Without a source the entry changes how nestor's own image is used. */
static void without_source(void **state) {
    (void)state;
    struct lab *lab = spec_good(T("user: admin"));
    assert_null(lab->templates[0].source);
    assert_string_equal(lab->machines[0].ssh_user, "admin");
    lab_free(lab);
    assert_refused(T("sha256: " SHA ", format: raw, boot: { kernel: k }"),
                   "3:16: error: 'sha256' needs 'source' beside it", "3:90: error: 'format' needs 'source' beside it",
                   "3:95: error: 'boot' needs 'source' beside it");
}

static void an_unused_template_is_a_warning(void **state) {
    (void)state;
    static const char *const findings[] = {"2:14: warning: no machine uses the template 'spare'"};
    struct lab *lab =
        spec_warned("lab: x\ntemplates: { spare: { source: d } }\nmachines: { a: { template: t } }\n", findings, 1);
    assert_int_equal(lab->ntemplates, 2);
    assert_string_equal(lab->templates[0].name, "spare");
    assert_int_equal(lab->machines[0].template, 1);
    lab_free(lab);
}

static int nothing_is_there(const struct template *t, struct error *err) {
    error_set(err, ERR_NOT_FOUND, NULL, "no %s%s%s", t->name, t->source ? " at " : "", t->source ? t->source : "");
    return error_mend(err, "look for it");
}

static void assert_told(const char *text, const char *findings) {
    struct lab *lab = NULL;
    struct diagnostics diags = {0};
    cleanup_buffer struct buffer got = {0};
    int failed = spec_parse("x", text, strlen(text), &spec_test_drivers, nothing_is_there, &lab, &diags, NULL);
    diagnostics_print(&diags, "x", &got);
    assert_string_equal(buffer_str(&got), findings);
    assert_int_equal(failed, findings[0] ? -1 : 0);
    lab_free(lab);
    diagnostics_free(&diags);
}

/* Not of a right one: what its machines have been made from may be gone since. */
static void templates_of_a_wrong_file_are_told_with_its_other_errors(void **state) {
    (void)state;
    assert_told("lab: x\nmachines:\n  a: { template: t }\n", "");
    assert_told("lab: x\ntemplates: { own: { source: d, formt: raw }, spare: { source: d } }\nmachines:\n"
                "  a: { template: t }\n  b: { template: own, cpus: x }\n  c: { template: t }\n",
                "x:2:14: error: no own at d; look for it\n"
                "x:2:32: error: unknown key 'formt'; did you mean 'format'?\n"
                "x:4:18: error: no t; look for it\n"
                "x:5:29: error: 'cpus' must be a whole number from 1 to 256, not 'x'\n");
}

/* One error makes no others: the template may be the hypervisor's, and its entry was meant to have a source. */
static void nothing_is_asked_of_a_template_that_is_not_understood(void **state) {
    (void)state;
    assert_told("lab: x\nhosts: { h: { driver: remte } }\nmachines:\n  a: { template: t }\n",
                "x:2:23: error: 'driver' cannot be 'remte': there is no such driver; did you mean 'remote'?\n");
    assert_told("lab: x\nhosts: { h: { driver: remote, url: u, password: { env: P } } }\nmachines:\n"
                "  a: { template: t, cpus: x }\n",
                "x:4:27: error: 'cpus' must be a whole number from 1 to 256, not 'x'\n");
    assert_told("lab: x\ntemplats: { t: { source: d } }\nmachines: { a: { template: t } }\n",
                "x:2:1: error: unknown key 'templats'; did you mean 'templates'?\n");
    assert_told(T("sorce: d"), "x:3:8: error: unknown key 'sorce'; did you mean 'source'?\n");
}

static void user_data_text(void **state) {
    (void)state;
    struct lab *lab = spec_good("lab: x\nmachines:\n  a:\n    template: t\n    user-data: |\n      #cloud-config\n"
                                "      packages:\n      - vim\n");
    assert_string_equal(lab->machines[0].user_data, "#cloud-config\npackages:\n- vim\n");
    lab_free(lab);
}

static void user_data_cloud_init_would_ignore_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"packages: [vim]", "Content-Type: text/cloud-config\\n\\n#cloud-config", "\\n"};
    static const char *const good[] = {"\\n #Cloud-Config\\n", "#cloud-config-archive\\n",
                                       "Content-Type: multipart/mixed; boundary=x\\n"};
#define WITH_USER_DATA "lab: x\nmachines: { a: { template: t, user-data: \"%s\" } }\n"
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cleanup_free char *text = xasprintf(WITH_USER_DATA, bad[i]);
        assert_refused(text, "2:42: error: cloud-init would ignore this user-data; begin it with '#cloud-config', "
                             "'#!/bin/sh' or another of cloud-init's formats");
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cleanup_free char *text = xasprintf(WITH_USER_DATA, good[i]);
        lab_free(spec_good(text));
    }
}

static void bad_user_data(void **state) {
    (void)state;
    assert_refused("lab: x\nmachines: { a: { template: t, user-data: \"#!\\e\" } }\n",
                   "2:42: error: the user-data is not plain text: byte 0x1b in its line 1, column 3");
    assert_refused("lab: x\nmachines: { a: { template: t, user-data: \"\" } }\n",
                   "2:42: error: the user-data is empty");
    size_t len = (256 << 10) + 1;
    cleanup_free char *big = xmalloc(len + 1);
    memset(big, '#', len);
    big[len] = '\0';
    cleanup_free char *text = xasprintf("lab: x\nmachines: { a: { template: t, user-data: \"%s\" } }\n", big);
    assert_refused(text, "2:42: error: the user-data is larger than 256KiB");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sources),
        cmocka_unit_test(checksums),
        cmocka_unit_test(schemes),
        cmocka_unit_test(kernel_boot),
        cmocka_unit_test(without_source),
        cmocka_unit_test(an_unused_template_is_a_warning),
        cmocka_unit_test(user_data_text),
        cmocka_unit_test(user_data_cloud_init_would_ignore_is_refused),
        cmocka_unit_test(bad_user_data),
        cmocka_unit_test(logins_in_urls_are_refused),
        cmocka_unit_test(templates_of_a_wrong_file_are_told_with_its_other_errors),
        cmocka_unit_test(nothing_is_asked_of_a_template_that_is_not_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
