/* Fake worlds for tests: a directory of their own, an image, machines to ask for, and what really happened. */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include "nestor/driver.h"

#define WORLD_LAB "00112233aabbccdd"

/* A directory that holds one host's world, an image file, and nestor's home. */
struct world {
    const struct driver *driver;
    char *dir, *home;
    char *machines; /* HOME/fake/test/machines */
    struct image image;
    struct param params[8];
    struct hypervisor_config config; /* "host test", with the parameters world_param gave it */
    struct error err;                /* of the last call */
    struct context ctx;
};
void world_setup(struct world *w, const struct driver *driver);
void world_teardown(struct world *w); /* removes everything */
/* Gives the host a parameter, before it is opened. Key and value are borrowed. */
void world_param(struct world *w, const char *key, const char *value);

/* For the next call: ten seconds, and w->err empty. */
const struct context *world_time(struct world *w);
/* For the next call: as many milliseconds. */
const struct context *world_soon(struct world *w, int64_t ms);
/* Fails the test, with w->err, unless rc is 0. */
#define world_ok(w, rc) world_ok_at(w, rc, #rc, __FILE__, __LINE__)
void world_ok_at(const struct world *w, int rc, const char *call, const char *file, int line);
/* Fails the test unless the call failed for this very reason: `words` is part of the cause. */
#define world_fails(w, rc, code, subject, words) world_fails_at(w, rc, code, subject, words, #rc, __FILE__, __LINE__)
void world_fails_at(const struct world *w, int rc, enum error_code code, const char *subject, const char *words,
                    const char *call, const char *file, int line);

/* Opens the host; image and network are there. */
struct hypervisor *world_open(struct world *w);
/* Opens the hypervisor inside a machine that runs; image and network are there. Close it, then the access. */
struct hypervisor *world_enter(struct world *w, struct hypervisor *hv, const struct machine_spec *spec,
                               struct access **ret_access);

/* A machine to ask for; `path` is borrowed. Fields may be changed after. */
struct machine_spec world_machine(const struct world *w, const char *path);
/* create, expose if the spec says so, start. */
void world_run_machine(struct world *w, struct hypervisor *hv, const struct machine_spec *spec);
/* What the hypervisor shows of the machine. */
enum power world_power(struct world *w, struct hypervisor *hv, const struct machine_spec *spec);

/* How many lines of the world's log begin with prefix: "create lab/kvm1". */
size_t world_count(const struct world *w, const char *prefix);
/* Writes, reads (caller frees) a file in w->dir. */
void world_write(const struct world *w, const char *name, const char *text);
char *world_read(const struct world *w, const char *name);

#endif
