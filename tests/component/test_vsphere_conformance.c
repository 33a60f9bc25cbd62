/* The conformance suite against a real vcsim, a vCenter and a bare ESXi, through the proxy that refuses what real
 * servers refuse and plays VMware Tools. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance.h"
#include "drivers/vsphere/vsphere.h"
#include "vcsim.h"

struct server {
    struct vcsim vcsim;
    struct vcsim_proxy proxy;
    char home[32];
};

static void run(const struct server *s, const char *fmt, const char *a, const char *b, const char *c) {
    cleanup_free char *script = xasprintf("a='%s' b='%s' c='%s'\n%s", a, b, c, fmt);
    free(vcsim_run(&s->vcsim, script));
}

/* Everything in the inventory, and the folders of machines. */
static size_t things(void *data) {
    const struct server *s = data;
    cleanup_free char *count = vcsim_run(&s->vcsim, "{ govc find /; govc datastore.ls; } | wc -l");
    return strtoul(count, NULL, 10);
}

#define NEW_VM                                                                                                         \
    "case $vcsim_mode in esx) pool=/ha-datacenter/host/localhost.localdomain/Resources ;;\n"                           \
    "*) pool=/DC0/host/DC0_C0/Resources ;; esac\n"                                                                     \
    "govc vm.create -on=false -pool \"$pool\" -net 'VM Network' \"$a\" >/dev/null\n"

/* Killed before its hardware, and with that its digest, was set. */
static void make_half(void *data, const struct machine_spec *spec) {
    run(data, NEW_VM "govc vm.change -vm \"$a\" -e nestor.lab=\"$b\" -e nestor.path=\"$c\" >/dev/null\n", spec->name,
        spec->tag.lab_id, spec->tag.path);
}

static void make_foreign(void *data, const char *name) { run(data, NEW_VM, name, "", ""); }

static int run_suite(bool esx) {
    struct server s = {.home = "/tmp/nestor-home-XXXXXX"};
    assert_non_null(mkdtemp(s.home));
    vcsim_start(&s.vcsim, esx, NULL);
    free(vcsim_run(&s.vcsim, esx ? "vcsim_template gh-template with-disk" : "vcsim_template gh-template"));
    vcsim_proxy_start(&s.proxy, &s.vcsim, "--set 'guest conf.* nic=192.0.2.7'");
    const struct param params[] = {{.key = "url", .value = s.proxy.server.url},
                                   {.key = "username", .value = VCSIM_USER},
                                   {.key = "password.env", .value = "VSPHERE_CONFORMANCE_PASSWORD"},
                                   {.key = "tls.thumbprint", .value = s.proxy.server.thumbprint},
                                   {.key = "inventory.network", .value = "VM Network"}};
    char template[] = "gh-template";
    struct image image = {.name = template};
    const struct conformance_target target = {
        .driver = &vsphere_driver,
        .config = {.subject = "host vc",
                   .access = access_local(),
                   .params = params,
                   .nparams = sizeof params / sizeof *params,
                   .home = s.home,
                   .accelerated = true},
        .image = &image,
        .memory = 64 << 20,
        .powers = true,
        .obeys = true,
        .operation_ms = 20000,
        .boot_ms = 20000,
        .things = things,
        .make_half = make_half,
        .make_foreign = make_foreign,
        .data = &s,
    };
    int failed = conformance_run(&target);
    vcsim_proxy_stop(&s.proxy);
    vcsim_stop(&s.vcsim);
    cleanup_free char *command = xasprintf("rm -rf %s", s.home);
    return system(command) ? failed + 1 : failed;
}

int main(void) {
    setenv("VSPHERE_CONFORMANCE_PASSWORD", VCSIM_PASSWORD, 1);
    int vcenter = run_suite(false), esxi = run_suite(true);
    return vcenter || esxi;
}
