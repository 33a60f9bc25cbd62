/* Recipes, templates, events and waiting for the tests of the catalogue. */
#ifndef NESTOR_TEST_IMAGE_RECIPE_H
#define NESTOR_TEST_IMAGE_RECIPE_H

#include <pthread.h>

#include "image_fixture.h"

/* A qcow2 file of 1 MiB virtual size, as small as it can be. */
#define IMAGE_QCOW2_SIZE 4096
void image_qcow2(unsigned char bytes[IMAGE_QCOW2_SIZE], unsigned char fill);

/* A recipe whose build.sh is `script` after "out=$1". Also writes good.qcow2 beside it. */
void image_recipe_write(const char *name, const char *script);
#define IMAGE_RECIPE_GOOD "cp \"$(dirname \"$0\")/good.qcow2\" \"$out/disk.qcow2\"\n"

/* A template of that name without a source. */
struct template image_template(const char *name);

/* A sink that keeps every text. */
struct image_events {
    struct event_sink sink;
    pthread_mutex_t mutex;
    struct buffer text; /* one line each */
};
void image_events_begin(struct image_events *e);
void image_events_end(struct image_events *e);
bool image_events_have(struct image_events *e, const char *line);

/* Ten seconds from now. */
struct context image_soon(void);
/* Waits, at most ten seconds, until the path exists. */
void image_wait_for(const char *path);

/* Asserts what kind of error it is; a cause or mend that does not fit is printed. */
void image_assert_error(const struct error *err, enum error_code code, const char *subject, const char *cause_part,
                        const char *mend_part);

#endif
