/* The libvirt driver where it belongs: in a real guest hypervisor, through real SSH. Boots debian-kvm with the qemu
 * driver, then runs the conformance suite of drivers inside it, with the tiny image. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the headers it needs */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conformance.h"
#include "drivers/libvirt/libvirt.h"
#include "drivers/qemu/qemu.h"
#include "nestor/file.h"
#include "nestor/state.h"

#define BOOT_MS (8 * 60 * 1000)
#define SKIPPED 77

struct outer {
    char home[64], lab[LAB_ID_LEN + 1], uuid[37], mac[18];
    struct secret secret;
    struct keypair user, host;
    struct image *kvm, *tiny;
    struct buffer seed;
    struct hypervisor *hv;
    struct machine_spec spec;
    struct access *access;
};

static struct outer *to_remove; /* for must: a failed set-up leaves no machine behind */
static void end(struct outer *o);

static void must(int failed, const struct error *err, const char *what) {
    if (!failed)
        return;
    struct outer *o = to_remove;
    to_remove = NULL;
    fprintf(stderr, "%s: %s: %s: %s\n", what, error_code_name(err->code), err->subject, err->cause);
    if (o)
        end(o);
    exit(1);
}

static bool find_images(struct outer *o) {
    struct template kvm = {.name = "debian-kvm"}, tiny = {.name = "tiny"};
    struct error err = {0};
    if (image_find(&kvm, &o->kvm, &err) == 0 && image_find(&tiny, &o->tiny, &err) == 0)
        return true;
    fprintf(stderr, "skipped: %s: %s\n", err.subject, err.cause);
    return false;
}

static void identify(struct outer *o) {
    struct error err = {0};
    snprintf(o->home, sizeof o->home, "/tmp/nestor-libvirt-XXXXXX");
    must(mkdtemp(o->home) ? 0 : -1, &err, "mkdtemp");
    must(lab_id_new(o->lab, &err), &err, "lab id");
    must(secret_new(&o->secret, &err), &err, "secret");
    must(keypair_derive(&o->secret, "user", "test", &o->user, &err), &err, "key");
    must(keypair_derive(&o->secret, "host:t/kvm", "kvm", &o->host, &err), &err, "key");
    machine_uuid(o->lab, "t/kvm", o->uuid);
    machine_mac(o->lab, "t/kvm", o->mac);
    struct seed seed = {.instance_id = o->uuid,
                        .hostname = "kvm",
                        .ssh_user = "root",
                        .authorized_key = o->user.public_line,
                        .host_key = &o->host};
    must(seed_build(&seed, &o->seed, &err), &err, "seed");
}

static void boot(struct outer *o) {
    struct error err = {0};
    struct context ctx = context_timeout(NULL, BOOT_MS);
    struct hypervisor_config config = {
        .subject = "host local", .access = access_local(), .home = o->home, .accelerated = true};
    must(qemu_driver.open(&config, &o->hv, &ctx, &err), &err, "open qemu");
    o->spec = (struct machine_spec){.tag = {o->lab, "t/kvm"},
                                    .name = "t.kvm-conformance",
                                    .uuid = o->uuid,
                                    .mac = o->mac,
                                    .cpus = 2,
                                    .memory = 1536ull << 20,
                                    .expose = true,
                                    .image = o->kvm,
                                    .seed = o->seed.data,
                                    .seed_len = o->seed.len,
                                    .ssh_port = 22,
                                    .digest = "0"};
    to_remove = o;
    must(qemu_driver.create(o->hv, &o->spec, &ctx, &err), &err, "create");
    bool exposed = false;
    must(qemu_driver.expose(o->hv, &o->spec, true, &exposed, &ctx, &err), &err, "expose");
    must(qemu_driver.start(o->hv, &o->spec, &ctx, &err), &err, "start");
    for (;;) {
        struct endpoint at;
        struct context once = context_timeout(&ctx, 10000);
        error_clear(&err);
        must(qemu_driver.address(o->hv, &o->spec, &at, &ctx, &err), &err, "address");
        struct ssh_target target = {.subject = "t/kvm",
                                    .host = at.host,
                                    .port = at.port,
                                    .user = "root",
                                    .host_key = o->host.public_line,
                                    .private_key = o->user.private_pem,
                                    .public_key = o->user.public_line};
        if (access_ssh(access_local(), &target, &o->access, &once, &err) == 0)
            return;
        if (context_left(&ctx) == 0 || (!err.retry && err.code != ERR_TIMEOUT))
            must(-1, &err, "ssh");
        error_clear(&err);
        must(context_sleep(&ctx, 500, "t/kvm", "booting", &err), &err, "boot");
    }
}

static void end(struct outer *o) {
    to_remove = NULL;
    struct error err = {0};
    struct context ctx = context_timeout(NULL, 60000);
    access_close(o->access);
    must(qemu_driver.remove(o->hv, &o->spec.tag, &ctx, &err), &err, "remove");
    qemu_driver.close(o->hv);
    must(tree_remove(o->home, NULL, &err), &err, "remove the home");
    image_free(o->kvm);
    image_free(o->tiny);
    buffer_free(&o->seed);
    keypair_free(&o->user);
    keypair_free(&o->host);
}

/* --- what the suite cannot see through the driver --- */

static size_t count(struct outer *o, const char *script) {
    struct error err = {0};
    struct context ctx = context_timeout(NULL, 60000);
    cleanup_command_result struct command_result result = {0};
    must(access_run_ok(o->access, script, &result, &ctx, &err), &err, script);
    return strtoul(buffer_str(&result.out), NULL, 10);
}

static size_t things(void *data) {
    return count(data, "cd /var/lib/libvirt/images; mkdir -p nestor; "
                       "{ ls -A nestor | grep -vx base; virsh -q list --all --name | grep .; } | wc -l");
}

static size_t copies(void *data) {
    return count(data, "stat -c %Y /var/lib/libvirt/images/nestor/base/*.qcow2 2>/dev/null | sort -u | wc -l");
}

static void make_half(void *data, const struct machine_spec *spec) {
    cleanup_free char *script = xasprintf(
        "d=/var/lib/libvirt/images/nestor/%s; mkdir -p $d; echo '%s %s - -' >$d/tag; : >$d/disk.qcow2; echo 0",
        spec->name, spec->tag.lab_id, spec->tag.path);
    count(data, script);
}

static void make_foreign(void *data, const char *name) {
    cleanup_free char *script =
        xasprintf("n=%s; printf '<domain type=\"qemu\"><name>%%s</name><memory>1024</memory><os><type>hvm</type></os>"
                  "</domain>' $n >/tmp/$n.xml; virsh -q define /tmp/$n.xml >/dev/null; echo 0",
                  name);
    count(data, script);
}

int main(void) {
    struct outer o = {0};
    if (!getenv("NESTOR_LONG_TESTS")) {
        fprintf(stderr, "skipped: it boots some forty machines; set NESTOR_LONG_TESTS=1\n");
        return SKIPPED;
    }
    if (!find_images(&o))
        return SKIPPED;
    identify(&o);
    boot(&o);
    struct keypair guest = {0};
    struct buffer seed = {0};
    struct error err = {0};
    must(keypair_derive(&o.secret, "host:guest", "guest", &guest, &err), &err, "key");
    struct seed identity = {.instance_id = o.uuid,
                            .hostname = "guest",
                            .ssh_user = "root",
                            .authorized_key = o.user.public_line,
                            .host_key = &guest};
    must(seed_build(&identity, &seed, &err), &err, "seed");
    const struct conformance_target target = {
        .driver = &libvirt_driver,
        .config = {.subject = "t/kvm", .access = o.access, .home = o.home, .accelerated = true},
        .image = o.tiny,
        .seed = seed.data,
        .seed_len = seed.len,
        .memory = 96ull << 20,
        .powers = true,
        .obeys = true,
        .operation_ms = 120000,
        .boot_ms = 180000,
        .things = things,
        .copies = copies,
        .make_half = make_half,
        .make_foreign = make_foreign,
        .data = &o,
    };
    int failed = conformance_run(&target);
    buffer_free(&seed);
    keypair_free(&guest);
    end(&o);
    return failed ? 1 : 0;
}
