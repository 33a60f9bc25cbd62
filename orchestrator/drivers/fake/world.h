/* The fake driver's world: a directory tree that is the whole truth, shared by every process that opens it.
 *
 *   WORLD/log                          one line per side effect, of this world and of all worlds inside it
 *   WORLD/network                      the network is there
 *   WORLD/images/SHA256                an image is there
 *   WORLD/machines/LAB_ID.lab.kvm1/    a machine: the directory's name is its ownership tag
 *       spec                           what it was created with; without it the machine is half-made
 *       on                             it runs
 *       exposed                        hardware virtualization is exposed to it
 *       files/                         what was copied into it
 *       inside/                        the world of the guest hypervisor it is
 *
 * mkdir makes the machine and its tag in one call, so nothing nestor makes is ever without a tag, whenever it is
 * killed. There is no cache and no descriptor is kept open: thousands of worlds cost nothing while idle.
 */
#ifndef NESTOR_DRIVERS_FAKE_WORLD_H
#define NESTOR_DRIVERS_FAKE_WORLD_H

#include "nestor/driver.h"

/* How a world behaves. A world inside a machine inherits all but the capacity. */
struct settings {
    char *world;           /* its directory */
    char *log;             /* the outermost world's */
    char *blind;           /* glob of machine paths that see no CPU flag although it is exposed to them; "" for none */
    char flag[8];          /* "svm", "vmx", or "" where machines see none */
    int64_t delay_ms;      /* each side effect takes this long */
    bool torn;             /* create takes its time in the middle, when the machine is half-made */
    uint64_t memory, disk; /* capacity in bytes, UINT64_MAX for no limit */
};

struct hypervisor {
    const char *subject;
    struct access *access;
    struct settings settings;
};

/* --- settings.c --- */

/* From the host's parameters at level 0, from the machine behind the access further in. */
int settings_load(const struct hypervisor_config *config, struct settings *ret, const struct context *ctx,
                  struct error *err);
void settings_free(struct settings *s);
/* The question a machine answers with settings_print's text. */
#define SETTINGS_QUESTION "nestor-fake-world"
void settings_print(const struct settings *s, struct buffer *out);

/* --- world.c --- */

#define RECORD_FIELDS(X)                                                                                               \
    X(RECORD_NAME, "name")                                                                                             \
    X(RECORD_DIGEST, "digest")                                                                                         \
    X(RECORD_IMAGE, "image")                                                                                           \
    X(RECORD_UUID, "uuid")                                                                                             \
    X(RECORD_MAC, "mac")                                                                                               \
    X(RECORD_CPUS, "cpus")                                                                                             \
    X(RECORD_MEMORY, "memory")                                                                                         \
    X(RECORD_DISK, "disk")                                                                                             \
    X(RECORD_PORT, "ssh-port")

enum record_field {
#define X(symbol, name) symbol,
    RECORD_FIELDS(X)
#undef X
        RECORD_FIELD_MAX
};

/* A machine as it is on disk. */
struct record {
    enum power power;
    bool exposed;
    const char *field[RECORD_FIELD_MAX]; /* into text; all NULL unless the machine is whole */
    char text[1024];
};

/* Makes the directories. */
int world_make(const struct settings *s, const char *subject, struct error *err);
char *world_path(const struct settings *s, const char *leaf);
/* leaf may be NULL: the machine's own directory. Caller frees. */
char *machine_path(const struct settings *s, const struct tag *tag, const char *leaf);
void record_load(const struct settings *s, const struct tag *tag, struct record *ret);
uint64_t record_number(const struct record *r, enum record_field field);
int record_write(const struct settings *s, const struct machine_spec *spec, struct error *err);

/* Calls fn for every machine of lab_id (NULL: of any lab). What carries no tag of ours is passed over. */
typedef void (*machine_fn)(void *data, const struct tag *tag, const struct record *record);
int world_each(const struct settings *s, const char *lab_id, machine_fn fn, void *data, const char *subject,
               struct error *err);

/* What its machines take: disk of all, memory of those that run. */
struct usage {
    uint64_t memory, disk;
};
int world_usage(const struct settings *s, struct usage *ret, const char *subject, struct error *err);

/* Empty files that stand for "yes". Setting what is set succeeds. */
bool mark_is_set(const char *path);
int mark_set(const char *path, const char *subject, struct error *err);
int mark_clear(const char *path, const char *subject, struct error *err);
/* Removes a file or a whole directory; absent is fine. */
int world_tree_remove(const char *path, const char *subject, struct error *err);

/* An exclusive hold on the world, across processes. Closing *ret_fd ends it. */
int world_lock(const struct settings *s, int *ret_fd, const char *subject, const struct context *ctx,
               struct error *err);
/* Appends "OP NAME" to the log; NAME is a machine's path or the hypervisor's subject. */
int world_log(const struct settings *s, const char *op, const char *name, struct error *err);

/* --- guest.c --- */

/* An access into a running machine. hv is borrowed until access_close. */
int guest_open(struct hypervisor *hv, const struct tag *tag, const struct record *record, struct access **ret,
               struct error *err);

#endif
