#include "image_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "nestor/file.h"

static char scratch[64];

int image_fixture_begin(void **state) {
    (void)state;
    snprintf(scratch, sizeof scratch, "/tmp/nestor-image-XXXXXX");
    assert_non_null(mkdtemp(scratch));
    cleanup_free char *home = image_fixture_path("home"), *templates = image_fixture_path("templates");
    cleanup_free char *images = image_fixture_path("templates/images");
    assert_int_equal(mkdir(home, 0700), 0);
    assert_int_equal(mkdir(templates, 0700), 0);
    assert_int_equal(mkdir(images, 0700), 0);
    setenv("NESTOR_HOME", home, 1);
    setenv("NESTOR_TEMPLATES", templates, 1);
    return 0;
}

int image_fixture_end(void **state) {
    (void)state;
    assert_int_equal(tree_remove(scratch, NULL, NULL), 0);
    return 0;
}

char *image_fixture_path(const char *fmt, ...) {
    struct buffer path = {0};
    buffer_printf(&path, "%s/", scratch);
    va_list ap;
    va_start(ap, fmt);
    buffer_vprintf(&path, fmt, ap);
    va_end(ap);
    return buffer_steal(&path);
}

void image_fixture_write(const char *path, const void *data, size_t len) {
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
}

static void read_all(FILE *from, struct buffer *out) {
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, from)) > 0;)
        buffer_append(out, chunk, n);
}

char *image_fixture_read(const char *path) {
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    struct buffer out = {0};
    read_all(f, &out);
    fclose(f);
    return buffer_steal(&out);
}

bool image_fixture_exists(const char *path) { return access(path, F_OK) == 0; }

int image_fixture_run(struct buffer *out, const char *fmt, ...) {
    cleanup_buffer struct buffer script = {0};
    buffer_puts(&script, "exec 2>&1; ");
    va_list ap;
    va_start(ap, fmt);
    buffer_vprintf(&script, fmt, ap);
    va_end(ap);
    FILE *f = popen(buffer_str(&script), "re");
    assert_non_null(f);
    buffer_clear(out);
    read_all(f, out);
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

bool image_fixture_has(const char *program) {
    cleanup_buffer struct buffer out = {0};
    return image_fixture_run(&out, "command -v %s", program) == 0;
}

struct seed image_fixture_seed(void) {
    static const struct keypair host_key = {
        .private_pem = (char *)"-----BEGIN OPENSSH PRIVATE KEY-----\n"
                               "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n"
                               "QyNTUxOQAAACD2CP8STCHtm+2MbMJAli4/OnDeHkHwIkBwMa+/6OwScgAAAJBsy3hXbMt4\n"
                               "VwAAAAtzc2gtZWQyNTUxOQAAACD2CP8STCHtm+2MbMJAli4/OnDeHkHwIkBwMa+/6OwScg\n"
                               "AAAEBQ8Ea9BZPlM1nJt3+omUqgjcViuyLXLAnx4K/PGb7jevYI/xJMIe2b7YxswkCWLj86\n"
                               "cN4eQfAiQHAxr7/o7BJyAAAACGxhYi9rdm0xAQIDBAU=\n"
                               "-----END OPENSSH PRIVATE KEY-----\n",
        .public_line = (char *)"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPYI/xJMIe2b7YxswkCWLj86cN4eQfAiQHAxr7/o7BJy "
                               "lab/kvm1",
    };
    return (struct seed){
        .instance_id = "3b2f9a64-5f0c-8b7e-9d1a-0123456789ab",
        .hostname = "web1",
        .ssh_user = "root",
        .authorized_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZha2VmYWtlZmFrZWZha2VmYWtlZmFrZWZha2VmYWtl nestor",
        .host_key = &host_key,
    };
}
