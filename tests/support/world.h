/* Fake worlds for tests: a directory of their own, an image, machines to ask for, and what really happened. */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include "nestor/driver.h"

#define WORLD_LAB "00112233aabbccdd"

/* A directory that holds one host's world, an image file, and nestor's home. */
struct world {
    char *dir, *home;
    struct image image;
    struct param params[8];
    struct hypervisor_config config; /* "host test", driver parameters from world_param */
    char *machines;                  /* DIR/host/machines */
};
void world_setup(struct world *w);
void world_teardown(struct world *w); /* removes everything */
/* Gives the host a parameter. Key and value are borrowed. */
void world_param(struct world *w, const char *key, const char *value);

/* A machine to ask for; `path` is borrowed. Other fields may be changed after. */
struct machine_spec world_machine(const struct world *w, const char *path);

/* Opens driver on the world; the image and the network are there. Fails the test if it cannot. */
struct hypervisor *world_open(const struct world *w, const struct driver *driver);
/* The hypervisor inside a machine, which must run. Close both: driver->close(inside), access_close. */
struct hypervisor *world_enter(const struct world *w, const struct driver *driver, struct hypervisor *hv,
                               const struct machine_spec *spec, struct access **ret_access);
/* create, expose if the spec says so, start. */
void world_run_machine(const struct driver *driver, struct hypervisor *hv, const struct machine_spec *spec);

/* How many lines of the world's log begin with prefix: "create lab/kvm1". */
size_t world_count(const struct world *w, const char *prefix);
/* Writes a file below w->dir. */
void world_write(const struct world *w, const char *name, const char *text);

/* A context that ends in ms. */
struct context world_soon(int64_t ms);

#endif
