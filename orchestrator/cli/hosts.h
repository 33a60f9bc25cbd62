/* The hosts nestor knows of without a lab being worked on: for doctor and gc. */
#ifndef NESTOR_CLI_HOSTS_H
#define NESTOR_CLI_HOSTS_H

#include "nestor/driver.h"
#include "nestor/state.h"

struct known_host {
    const char *name, *subject;
    const struct driver *driver;
    const struct param *params;
    size_t nparams;
};
struct known_hosts {
    struct arena arena;
    struct known_host *items;
    size_t n;
};
/* This machine, as the embedded default driver sees it. */
void hosts_add_local(struct known_hosts *hosts);
void hosts_add_lab(struct known_hosts *hosts, const struct lab *lab);
/* Hosts of every recorded lab. */
int hosts_add_recorded(struct known_hosts *hosts, struct state *state, struct error *err) NESTOR_CHECKED;
void hosts_free(struct known_hosts *hosts);

int host_open(const struct known_host *host, const char *home, struct hypervisor **ret, const struct context *ctx,
              struct error *err) NESTOR_CHECKED;

#endif
