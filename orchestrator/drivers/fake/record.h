/* A machine as it is on disk. */
#ifndef NESTOR_DRIVERS_FAKE_RECORD_H
#define NESTOR_DRIVERS_FAKE_RECORD_H

#include "drivers/fake/settings.h"

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

struct record {
    enum power power;
    bool exposed;
    const char *field[RECORD_FIELD_MAX]; /* into text; all NULL unless the machine is whole */
    char text[2048];
};
void fake_record_load(const struct settings *s, const struct tag *tag, struct record *ret);
int fake_record_write(const struct settings *s, const struct machine_spec *spec, struct error *err);
uint64_t fake_record_number(const struct record *r, enum record_field field);

/* Calls fn for every machine of lab_id (NULL: of any lab). What carries no tag of ours is passed over. */
typedef void (*record_fn)(void *data, const struct tag *tag, const struct record *record);
int fake_record_each(const struct settings *s, const char *lab_id, record_fn fn, void *data, const char *subject,
                     struct error *err);

/* What the machines take: disk of all, memory of those that run. */
struct usage {
    uint64_t memory, disk;
};
int fake_record_usage(const struct settings *s, struct usage *ret, const char *subject, struct error *err);

#endif
