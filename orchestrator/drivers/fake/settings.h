/* Where a fake hypervisor's world is and how it behaves. */
#ifndef NESTOR_DRIVERS_FAKE_SETTINGS_H
#define NESTOR_DRIVERS_FAKE_SETTINGS_H

#include "nestor/driver.h"

/* A world inside a machine inherits all but the capacity. */
struct settings {
    char *world;           /* its directory */
    char *log;             /* the outermost world's */
    char *blind;           /* glob of machine paths that see no CPU flag although it is exposed to them; "" for none */
    char flag[8];          /* "svm", "vmx", or "" where machines see none */
    int64_t delay_ms;      /* each side effect takes this long */
    bool emulated;         /* it says so */
    bool torn;             /* create takes its time in the middle, when the machine is half-made */
    uint64_t memory, disk; /* capacity in bytes, UINT64_MAX for no limit */
    char *templates;       /* names of what a remote one can clone, with commas; "": anything */
    char *calls;           /* the outermost world's file that notes every call, "": none does */
    char *home;            /* nestor's state directory */
};

/* From the host's parameters, or from the machine the world is in: it answers SETTINGS_QUESTION with the text of
 * fake_settings_print. */
int fake_settings_load(const struct hypervisor_config *config, struct settings *ret, const struct context *ctx,
                       struct error *err);
/* The reverse of fake_settings_print, which it cuts up. What is not printed is as in any machine. */
void fake_settings_parse(char *text, const struct hypervisor_config *config, struct settings *ret);
#define SETTINGS_QUESTION "nestor-fake-world"
void fake_settings_print(const struct settings *s, struct buffer *out);
void fake_settings_free(struct settings *s);

/* Whether the config is a host's, not that of a machine in some world. */
bool fake_is_outermost(const struct hypervisor_config *config);

#endif
