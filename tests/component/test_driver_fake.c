/* The fake driver: everything the conformance suite asks of a driver, and what only the fake promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the headers it needs */
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conformance.h"
#include "drivers/fake/fake.h"
#include "world.h"

static const struct driver *const fake = &fake_driver;

/* --- the conformance suite's questions, answered from the world's directory --- */

static size_t count_entries(const char *path) {
    size_t n = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static size_t things(void *data) { return count_entries(((struct world *)data)->machines); }
static size_t copies(void *data) { return world_count(data, "image"); }

static void make_half(void *data, const struct machine_spec *spec) {
    cleanup_free char *dotted = xstrdup(spec->tag.path);
    *strchr(dotted, '/') = '.';
    cleanup_free char *dir = xasprintf("%s/%s.%s", ((struct world *)data)->machines, spec->tag.lab_id, dotted);
    assert_int_equal(mkdir(dir, 0700), 0);
}

static void make_foreign(void *data, const char *name) {
    cleanup_free char *dir = xasprintf("%s/%s", ((struct world *)data)->machines, name);
    assert_int_equal(mkdir(dir, 0700), 0);
}

static int conforms(void) {
    struct world w;
    world_setup(&w);
    const struct conformance_target target = {.driver = fake,
                                              .config = w.config,
                                              .image = &w.image,
                                              .seed = "seed",
                                              .seed_len = 4,
                                              .memory = 64 << 20,
                                              .powers = true,
                                              .obeys = true,
                                              .operation_ms = 10000,
                                              .boot_ms = 10000,
                                              .things = things,
                                              .copies = copies,
                                              .make_half = make_half,
                                              .make_foreign = make_foreign,
                                              .data = &w};
    int failed = conformance_run(&target);
    world_teardown(&w);
    return failed;
}

int main(void) { return conforms(); }
