#include "image_recipe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static void put(unsigned char *at, int size, uint64_t value) {
    for (int i = 0; i < size; i++)
        at[i] = (unsigned char)(value >> (8 * (size - 1 - i)));
}

void image_qcow2(unsigned char bytes[IMAGE_QCOW2_SIZE], unsigned char fill) {
    memset(bytes, fill, IMAGE_QCOW2_SIZE);
    memset(bytes, 0, 104);
    memcpy(bytes, "QFI\xfb", 4);
    put(bytes + 4, 4, 3);
    put(bytes + 20, 4, 9);
    put(bytes + 24, 8, 1 << 20);
    put(bytes + 36, 4, 32);
    put(bytes + 40, 8, 1024);
    put(bytes + 48, 8, 512);
    put(bytes + 56, 4, 1);
    put(bytes + 96, 4, 4);
    put(bytes + 100, 4, 104);
}

void image_recipe_write(const char *name, const char *script) {
    cleanup_free char *folder = image_fixture_path("templates/images/%s", name);
    mkdir(folder, 0755);
    cleanup_free char *build = xasprintf("%s/build.sh", folder), *disk = xasprintf("%s/good.qcow2", folder);
    cleanup_free char *text = xasprintf("set -eu\nout=$1\n%s", script);
    image_fixture_write_text(build, text);
    unsigned char bytes[IMAGE_QCOW2_SIZE];
    image_qcow2(bytes, 0);
    image_fixture_write(disk, bytes, sizeof bytes);
}

struct template image_template(const char *name) {
    return (struct template){.name = name, .format = "qcow2"};
}

static void keep_text(struct event_sink *sink, const struct event *event) {
    struct image_events *e = (struct image_events *)sink;
    pthread_mutex_lock(&e->mutex);
    buffer_printf(&e->text, "%s\n", event->text ? event->text : "");
    pthread_mutex_unlock(&e->mutex);
}

void image_events_begin(struct image_events *e) {
    *e = (struct image_events){.sink = {keep_text}};
    buffer_puts(&e->text, "\n");
    pthread_mutex_init(&e->mutex, NULL);
}

void image_events_end(struct image_events *e) {
    pthread_mutex_destroy(&e->mutex);
    buffer_free(&e->text);
}

bool image_events_have(struct image_events *e, const char *line) {
    cleanup_free char *whole = xasprintf("\n%s\n", line);
    pthread_mutex_lock(&e->mutex);
    bool found = strstr(buffer_str(&e->text), whole) != NULL;
    pthread_mutex_unlock(&e->mutex);
    return found;
}

struct context image_soon(void) {
    return context_timeout(NULL, 60000);
}

void image_wait_for(const char *path) {
    struct context ctx = image_soon();
    struct error err = {0};
    while (!image_fixture_exists(path))
        assert_int_equal(context_sleep(&ctx, 5, path, "waiting for it", &err), 0);
}

void image_assert_error(const struct error *err, enum error_code code, const char *subject, const char *cause_part,
                        const char *mend_part) {
    assert_string_equal(error_code_name(err->code), error_code_name(code));
    assert_string_equal(err->subject, subject);
    if (!strstr(err->cause, cause_part))
        assert_string_equal(err->cause, cause_part);
    if (!strstr(err->mend, mend_part))
        assert_string_equal(err->mend, mend_part);
}
