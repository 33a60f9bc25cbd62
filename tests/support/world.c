#include "world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* after the headers it needs */
#include <cmocka.h>

#include "nestor/file.h"

/* --- the directory --- */

void world_write(const struct world *w, const char *name, const char *text) {
    cleanup_free char *path = xasprintf("%s/%s", w->dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

char *world_read(const struct world *w, const char *name) {
    cleanup_free char *path = xasprintf("%s/%s", w->dir, name);
    cleanup_buffer struct buffer text = {0};
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (int c; (c = getc(f)) != EOF;)
        buffer_putc(&text, (char)c);
    fclose(f);
    return buffer_steal(&text);
}

void world_setup(struct world *w, const struct driver *driver) {
    const char *tmp = getenv("TMPDIR");
    *w = (struct world){.driver = driver, .dir = xasprintf("%s/nestor-world-XXXXXX", tmp ? tmp : "/tmp")};
    assert_non_null(mkdtemp(w->dir));
    world_write(w, "disk.raw", "a disk");
    w->home = xasprintf("%s/home", w->dir);
    assert_int_equal(mkdir(w->home, 0700), 0);
    w->machines = xasprintf("%s/fake/test/machines", w->home);
    w->image = (struct image){.name = xstrdup("tiny"),
                              .disk = xasprintf("%s/disk.raw", w->dir),
                              .file_size = strlen("a disk"),
                              .virtual_size = 1 << 20};
    memset(w->image.sha256, 'a', 64);
    if (driver->features & DRIVER_TEMPLATES) { /* it has them itself: there is nothing but a name */
        free(w->image.disk);
        w->image = (struct image){.name = w->image.name};
    }
    w->config = (struct hypervisor_config){
        .subject = "host test", .access = access_local(), .params = w->params, .home = w->home, .accelerated = true};
}

void world_teardown(struct world *w) {
    access_close(w->config.access);
    assert_int_equal(tree_remove(w->dir, NULL, NULL), 0);
    free(w->dir);
    free(w->home);
    free(w->machines);
    free(w->image.name);
    free(w->image.disk);
    *w = (struct world){0};
}

void world_param(struct world *w, const char *key, const char *value) {
    assert_true(w->config.nparams < sizeof w->params / sizeof *w->params);
    w->params[w->config.nparams++] = (struct param){.key = key, .value = value};
}

size_t world_count(const struct world *w, const char *prefix) {
    cleanup_free char *path = xasprintf("%s/fake/test/log", w->home);
    FILE *f = fopen(path, "r");
    char line[512];
    size_t n = 0;
    if (!f && errno == ENOENT)
        return 0; /* nothing was done yet */
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        n += strncmp(line, prefix, strlen(prefix)) == 0;
    fclose(f);
    return n;
}

/* --- calls and their outcome --- */

const struct context *world_soon(struct world *w, int64_t ms) {
    error_clear(&w->err);
    w->ctx = context_timeout(NULL, ms);
    return &w->ctx;
}

const struct context *world_time(struct world *w) { return world_soon(w, 10000); }

static void fail_at(const char *file, int line, char *message) {
    print_error("%s\n", message);
    free(message);
    _fail(file, line);
}

void world_ok_at(const struct world *w, int rc, const char *call, const char *file, int line) {
    if (rc)
        fail_at(file, line,
                xasprintf("%s\n    %s: %s: %s", call, error_code_name(w->err.code), w->err.subject, w->err.cause));
}

void world_fails_at(const struct world *w, int rc, enum error_code code, const char *subject, const char *words,
                    const char *call, const char *file, int line) {
    if (rc == 0)
        fail_at(file, line, xasprintf("%s\n    succeeded, expected %s", call, error_code_name(code)));
    if (w->err.code != code || strcmp(w->err.subject, subject) != 0 || !strstr(w->err.cause, words))
        fail_at(file, line,
                xasprintf("%s\n    %s: %s: %s\n    expected %s: %s: ...%s...", call, error_code_name(w->err.code),
                          w->err.subject, w->err.cause, error_code_name(code), subject, words));
}

/* --- hypervisors and machines --- */

static void prepare(struct world *w, struct hypervisor *hv) {
    world_ok(w, w->driver->ensure_image(hv, &w->image, NULL, NULL, world_time(w), &w->err));
    world_ok(w, w->driver->ensure_network(hv, world_time(w), &w->err));
}

struct hypervisor *world_open(struct world *w) {
    struct hypervisor *hv = NULL;
    world_ok(w, w->driver->open(&w->config, &hv, world_time(w), &w->err));
    prepare(w, hv);
    return hv;
}

struct hypervisor *world_enter(struct world *w, struct hypervisor *hv, const struct machine_spec *spec,
                               struct access **ret_access) {
    struct hypervisor *inside = NULL;
    world_ok(w, w->driver->connect(hv, spec, ret_access, world_time(w), &w->err));
    struct hypervisor_config config = {
        .subject = spec->tag.path, .access = *ret_access, .home = w->home, .accelerated = true};
    world_ok(w, w->driver->open(&config, &inside, world_time(w), &w->err));
    prepare(w, inside);
    return inside;
}

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
                                 .meta_data = "instance-id: world\n",
                                 .user_data = "#cloud-config\n",
                                 .ssh_port = 22,
                                 .digest = "d1"};
}

void world_run_machine(struct world *w, struct hypervisor *hv, const struct machine_spec *spec) {
    bool exposed;
    world_ok(w, w->driver->create(hv, spec, world_time(w), &w->err));
    world_ok(w, w->driver->expose(hv, spec, spec->expose, &exposed, world_time(w), &w->err));
    world_ok(w, w->driver->start(hv, spec, world_time(w), &w->err));
}

enum power world_power(struct world *w, struct hypervisor *hv, const struct machine_spec *spec) {
    struct observation *o = NULL;
    enum power power = POWER_ABSENT;
    world_ok(w, w->driver->observe(hv, spec->tag.lab_id, &o, world_time(w), &w->err));
    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->items[i].path, spec->tag.path) == 0)
            power = o->items[i].power;
    observation_free(o);
    return power;
}
