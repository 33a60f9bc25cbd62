/* What every driver must do, as tests: run it against yours (docs/drivers.md, "The conformance suite").
 *
 *   int main(void) {
 *       const struct conformance_target target = {.driver = &my_driver, .config = ..., .image = ..., .powers = true};
 *       return conformance_run(&target);
 *   }
 *
 * The suite works in two labs with random ids and removes what it made, also when a test fails. It never touches a
 * machine that does not carry those ids; but it calls prune, which removes the images no machine uses.
 */
#ifndef TESTS_CONFORMANCE_H
#define TESTS_CONFORMANCE_H

#include "nestor/driver.h"

struct conformance_target {
    const struct driver *driver;
    struct hypervisor_config config;
    const struct image *image;
    const void *seed; /* a NoCloud volume, or any bytes if nothing boots from it */
    size_t seed_len;
    uint64_t memory, disk; /* of each machine */
    bool powers;           /* machines can be started here */
    bool obeys;            /* what is in the image powers off when asked to */
    int64_t operation_ms;  /* most an operation takes */
    int64_t boot_ms;       /* most it takes until a started machine has an address */

    /* What the suite cannot see through the driver. Each may be NULL: what needs it is skipped. */
    size_t (*things)(void *data); /* how many objects (files, disks, domains ...) there are besides images */
    size_t (*copies)(void *data); /* how often an image was copied so far */
    /* Leaves what a create of this machine leaves when it is killed half-way. */
    void (*make_half)(void *data, const struct machine_spec *spec);
    /* Makes a machine that is not nestor's. It is left to whoever owns the target. */
    void (*make_foreign)(void *data, const char *name);
    void *data;
};

/* Returns how many tests failed. */
int conformance_run(const struct conformance_target *target);

#endif
