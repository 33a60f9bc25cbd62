/* What the tests of image/ share: a scratch directory that is also nestor's home, files, commands, a seed. */
#ifndef NESTOR_TEST_IMAGE_FIXTURE_H
#define NESTOR_TEST_IMAGE_FIXTURE_H

#include "nestor/buffer.h"
#include "nestor/image.h"

/* Makes a scratch directory with home/ and templates/images/, and points NESTOR_HOME and NESTOR_TEMPLATES there: for
 * cmocka, before and after a group of tests. */
int image_fixture_begin(void **state);
int image_fixture_end(void **state);
/* A path below the scratch directory; caller frees. */
char *image_fixture_path(const char *fmt, ...) NESTOR_PRINTF(1, 2);

void image_fixture_write(const char *path, const void *data, size_t len);
static inline void image_fixture_write_text(const char *path, const char *text) {
    image_fixture_write(path, text, __builtin_strlen(text));
}
/* The whole file; caller frees. */
char *image_fixture_read(const char *path);
bool image_fixture_exists(const char *path);

/* Runs a shell command and returns its exit status; its output, both streams, goes to *out. */
int image_fixture_run(struct buffer *out, const char *fmt, ...) NESTOR_PRINTF(2, 3);
bool image_fixture_has(const char *program);

/* A seed with fixed keys. They are of no use anywhere. */
struct seed image_fixture_seed(void);

#endif
