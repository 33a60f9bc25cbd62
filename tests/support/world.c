#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* after the headers it needs */
#include <cmocka.h>
#include <ftw.h>

struct context world_soon(int64_t ms) {
    return context_timeout(NULL, ms);
}

void world_write(const struct world *w, const char *name, const char *text) {
    cleanup_free char *path = xasprintf("%s/%s", w->dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

void world_param(struct world *w, const char *key, const char *value) {
    assert_true(w->config.nparams < sizeof w->params / sizeof *w->params);
    w->params[w->config.nparams++] = (struct param){.key = key, .value = value};
}

void world_setup(struct world *w) {
    const char *tmp = getenv("TMPDIR");
    *w = (struct world){.dir = xasprintf("%s/nestor-world-XXXXXX", tmp ? tmp : "/tmp")};
    assert_non_null(mkdtemp(w->dir));
    world_write(w, "disk.raw", "a disk");
    w->home = xasprintf("%s/home", w->dir);
    w->machines = xasprintf("%s/home/fake/test/machines", w->dir);
    w->image = (struct image){
        .name = xstrdup("tiny"), .disk = xasprintf("%s/disk.raw", w->dir), .file_size = 6, .virtual_size = 1 << 20};
    memset(w->image.sha256, 'a', 64);
    w->config = (struct hypervisor_config){
        .subject = "host test", .access = access_local(), .params = w->params, .home = w->home, .accelerated = true};
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void world_teardown(struct world *w) {
    nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(w->dir);
    free(w->home);
    free(w->machines);
    free(w->image.name);
    free(w->image.disk);
    *w = (struct world){0};
}

/* The native name and MAC differ per path; the rest is the same for all. */
struct machine_spec world_machine(const struct world *w, const char *path) {
    return (struct machine_spec){.tag = {.lab_id = WORLD_LAB, .path = path},
                                 .name = path,
                                 .uuid = "0e3d1b6a-0000-8000-8000-000000000001",
                                 .mac = "02:00:00:00:00:01",
                                 .cpus = 1,
                                 .memory = 64 << 20,
                                 .image = &w->image,
                                 .seed = "seed",
                                 .seed_len = 4,
                                 .ssh_port = 22,
                                 .digest = "d1"};
}

static void must(int failed, const struct error *err) {
    if (failed)
        fail_msg("%s: %s", err->subject, err->cause);
}

static void prepare(const struct world *w, const struct driver *driver, struct hypervisor *hv) {
    struct context ctx = world_soon(10000);
    struct error err = {0};
    must(driver->ensure_image(hv, &w->image, NULL, NULL, &ctx, &err), &err);
    must(driver->ensure_network(hv, &ctx, &err), &err);
}

struct hypervisor *world_open(const struct world *w, const struct driver *driver) {
    struct context ctx = world_soon(10000);
    struct error err = {0};
    struct hypervisor *hv = NULL;
    must(driver->open(&w->config, &hv, &ctx, &err), &err);
    prepare(w, driver, hv);
    return hv;
}

struct hypervisor *world_enter(const struct world *w, const struct driver *driver, struct hypervisor *hv,
                               const struct machine_spec *spec, struct access **ret_access) {
    struct context ctx = world_soon(10000);
    struct error err = {0};
    must(driver->connect(hv, spec, ret_access, &ctx, &err), &err);
    struct hypervisor_config config = {
        .subject = spec->tag.path, .access = *ret_access, .home = w->home, .accelerated = true};
    struct hypervisor *inside = NULL;
    must(driver->open(&config, &inside, &ctx, &err), &err);
    prepare(w, driver, inside);
    return inside;
}

void world_run_machine(const struct driver *driver, struct hypervisor *hv, const struct machine_spec *spec) {
    struct context ctx = world_soon(10000);
    struct error err = {0};
    bool exposed;
    must(driver->create(hv, spec, &ctx, &err), &err);
    must(driver->expose(hv, spec, spec->expose, &exposed, &ctx, &err), &err);
    must(driver->start(hv, spec, &ctx, &err), &err);
}

size_t world_count(const struct world *w, const char *prefix) {
    cleanup_free char *path = xasprintf("%s/home/fake/test/log", w->dir);
    FILE *f = fopen(path, "r");
    char line[512];
    size_t n = 0;
    while (f && fgets(line, sizeof line, f))
        n += strncmp(line, prefix, strlen(prefix)) == 0;
    if (f)
        fclose(f);
    return n;
}
