/* Templates with a path or URL of their own, and what makes an image that is there doubtful. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "image_recipe.h"
#include "nestor/identity.h"

/* A qcow2 file in the scratch directory; its SHA-256 in sum. Caller frees the path. */
static char *write_disk(const char *name, unsigned char fill, char sum[65]) {
    unsigned char bytes[IMAGE_QCOW2_SIZE];
    image_qcow2(bytes, fill);
    char *path = image_fixture_path("%s", name);
    image_fixture_write(path, bytes, sizeof bytes);
    sha256_hex(bytes, sizeof bytes, sum);
    return path;
}

static int ensure(const struct template *t, struct image **ret, struct error *err) {
    struct context ctx = image_soon();
    return image_ensure(t, false, ret, NULL, &ctx, err);
}

static struct image *ensure_good(const struct template *t) {
    struct error err = {0};
    struct image *image = NULL;
    int failed = ensure(t, &image, &err);
    assert_string_equal(err.cause, "");
    assert_int_equal(failed, 0);
    return image;
}

static void a_path_is_used_in_place_and_hashed_once(void **state) {
    (void)state;
    char sum[65];
    cleanup_free char *disk = write_disk("place.qcow2", 1, sum);
    struct template t = image_template("place");
    t.source = disk;
    struct image *image = NULL;
    struct error err = {0};
    assert_int_equal(image_find(&t, &image, &err), -1);
    image_assert_error(&err, ERR_NOT_FOUND, "place", "have not been checked yet", "nestor up");

    image = ensure_good(&t);
    assert_string_equal(image->disk, disk);
    assert_true(image->in_place);
    assert_string_equal(image->sha256, sum);
    assert_string_equal(image->name, "place");
    assert_int_equal(image->boot, BOOT_DISK);
    image_free(image);

    /* Other bytes, but size and time as they were: only a second hashing would see it. */
    struct stat st;
    assert_int_equal(stat(disk, &st), 0);
    free(write_disk("place.qcow2", 2, (char[65]){0}));
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, disk, times, 0), 0);
    image = ensure_good(&t);
    assert_string_equal(image->sha256, sum);
    image_free(image);
}

static void a_changed_file_is_hashed_again(void **state) {
    (void)state;
    char before[65], after[65];
    cleanup_free char *disk = write_disk("changing.qcow2", 1, before);
    struct template t = image_template("changing");
    t.source = disk;
    image_free(ensure_good(&t));
    free(write_disk("changing.qcow2", 2, after));
    const struct timespec times[2] = {{1, 0}, {1, 0}};
    assert_int_equal(utimensat(AT_FDCWD, disk, times, 0), 0);
    struct image *image = NULL;
    struct error err = {0};
    assert_int_equal(image_find(&t, &image, &err), -1);
    image_assert_error(&err, ERR_CONFLICT, disk, "changed since nestor checked it", "nestor up");
    image = ensure_good(&t);
    assert_string_equal(image->sha256, after);
    image_free(image);
}

static void a_wrong_sum_names_file_expected_and_found(void **state) {
    (void)state;
    static const char wrong[] = "0000000000000000000000000000000000000000000000000000000000000000";
    char sum[65], cause[256];
    cleanup_free char *disk = write_disk("summed.qcow2", 1, sum);
    snprintf(cause, sizeof cause, "expected SHA-256 %s, found %s", wrong, sum);
    struct template t = image_template("summed");
    t.source = disk;
    t.sha256 = wrong;
    struct image *image = NULL;
    struct error err = {0};
    assert_int_equal(ensure(&t, &image, &err), -1);
    image_assert_error(&err, ERR_CHECKSUM, disk, cause, "correct 'sha256' of template 'summed'");

    t.sha256 = NULL;
    image_free(ensure_good(&t));
    t.sha256 = wrong; /* the file was fine, now the spec wants another */
    err = (struct error){0};
    assert_int_equal(image_find(&t, &image, &err), -1);
    image_assert_error(&err, ERR_CHECKSUM, disk, cause, "");

    for (char *c = sum; *c; c++) /* sha256sum prints small letters, others do not */
        *c = (char)(*c >= 'a' ? *c - 'a' + 'A' : *c);
    t.sha256 = sum;
    image_free(ensure_good(&t));
}

static void a_missing_file_is_named(void **state) {
    (void)state;
    cleanup_free char *disk = image_fixture_path("nowhere.qcow2");
    struct template t = image_template("missing");
    t.source = disk;
    struct image *image = NULL;
    struct error err = {0};
    assert_int_equal(ensure(&t, &image, &err), -1);
    image_assert_error(&err, ERR_NOT_FOUND, disk, "cannot find the file: No such file", "template 'missing'");
}

static void one_name_for_two_files_is_two_images(void **state) {
    (void)state;
    char a[65], b[65];
    cleanup_free char *one = write_disk("one.qcow2", 1, a), *two = write_disk("two.qcow2", 2, b);
    struct template t = image_template("same");
    t.source = one;
    image_free(ensure_good(&t));
    t.source = two;
    struct image *image = ensure_good(&t);
    assert_string_equal(image->sha256, b);
    image_free(image);
    t.source = one;
    image = ensure_good(&t);
    assert_string_equal(image->sha256, a);
    image_free(image);
}

static void a_kernel_of_its_own_is_taken_along(void **state) {
    (void)state;
    char sum[65], kernel_sum[65];
    cleanup_free char *disk = write_disk("kernel.qcow2", 1, sum), *kernel = image_fixture_path("bzImage");
    image_fixture_write_text(kernel, "kernel");
    sha256_hex("kernel", 6, kernel_sum);
    struct template t = image_template("kernel");
    t.source = disk;
    t.boot = BOOT_KERNEL;
    t.kernel = kernel;
    t.cmdline = "root=/dev/vda1";
    t.user = "debian";
    struct image *image = ensure_good(&t);
    assert_int_equal(image->boot, BOOT_KERNEL);
    assert_string_equal(image->kernel, kernel);
    assert_string_equal(image->kernel_sha256, kernel_sum);
    assert_null(image->initrd);
    assert_string_equal(image->cmdline, "root=/dev/vda1");
    assert_string_equal(image->user, "debian");
    image_free(image);
}

/* Kernel and initrd as well; before anything is made. */
static void only_a_file_that_can_be_read_can_become_an_image(void **state) {
    (void)state;
    char sum[65];
    cleanup_free char *disk = write_disk("check.qcow2", 1, sum), *folder = image_fixture_path("home");
    const struct {
        const char *source, *kernel, *subject;
    } cases[] = {{folder, NULL, folder}, {"/dev/zero", NULL, "/dev/zero"}, {disk, folder, folder}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct template t = image_template("check");
        struct error err = {0};
        t.source = cases[i].source;
        t.kernel = cases[i].kernel;
        t.boot = t.kernel ? BOOT_KERNEL : BOOT_DISK;
        assert_int_equal(image_check(&t, &err), -1);
        image_assert_error(&err, ERR_IMAGE, cases[i].subject, "is not a regular file",
                           "correct the path of template 'check'");
    }
    struct template t = image_template("check");
    struct error err = {0};
    t.source = disk;
    assert_int_equal(image_check(&t, &err), 0);
    assert_int_equal(chmod(disk, 0), 0);
    if (access(disk, R_OK) == 0) /* root may read everything */
        return;
    assert_int_equal(image_check(&t, &err), -1);
    image_assert_error(&err, ERR_IO, disk, "cannot read the file: Permission denied", "make it readable for you");
}

static void what_is_not_the_format_it_is_said_to_be_is_refused(void **state) {
    (void)state;
    char sum[65];
    cleanup_free char *qcow2 = write_disk("format.qcow2", 1, sum), *raw = image_fixture_path("format.raw");
    image_fixture_write(raw, "boot sector", 11);
    const struct {
        const char *source, *format, *cause;
        enum error_code code;
    } cases[] = {
        {qcow2, "raw", "is a qcow2 image, but the template says raw", ERR_IMAGE},
        {raw, "qcow2", "is not a qcow2 image", ERR_IMAGE},
        {raw, "vmdk", "the format 'vmdk' is not supported", ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < 3; i++) {
        struct template t = image_template("format");
        t.source = cases[i].source;
        t.format = cases[i].format;
        struct image *image = NULL;
        struct error err = {0};
        assert_int_equal(ensure(&t, &image, &err), -1);
        image_assert_error(&err, cases[i].code, cases[i].source, cases[i].cause, "");
    }
    struct template t = image_template("format");
    t.source = raw;
    t.format = "raw";
    struct image *image = ensure_good(&t);
    assert_int_equal(image->virtual_size, 11);
    image_free(image);
}

static void an_image_with_a_backing_file_never_gets_in(void **state) {
    (void)state;
    unsigned char bytes[IMAGE_QCOW2_SIZE];
    image_qcow2(bytes, 0);
    bytes[15] = 112; /* backing_file_offset */
    bytes[19] = 11;
    memcpy(bytes + 112, "/etc/shadow", 11);
    cleanup_free char *disk = image_fixture_path("hostile.qcow2");
    image_fixture_write(disk, bytes, sizeof bytes);
    struct template t = image_template("hostile");
    t.source = disk;
    struct image *image = NULL;
    struct error err = {0};
    assert_int_equal(ensure(&t, &image, &err), -1);
    image_assert_error(&err, ERR_IMAGE, disk, "has a backing file", "qemu-img convert");
}

static void images_by_qemu_img_are_accepted(void **state) {
    (void)state;
    if (!image_fixture_has("qemu-img"))
        skip();
    static const struct {
        const char *options, *size;
        uint64_t bytes;
    } cases[] = {
        {"compat=1.1", "1M", 1 << 20},
        {"compat=0.10", "3G", 3ULL << 30},
        {"cluster_size=2M,lazy_refcounts=on", "64T", 64ULL << 40},
        {"extended_l2=on", "10G", 10ULL << 30},
        {"compression_type=zstd", "1G", 1ULL << 30},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup_free char *disk = image_fixture_path("qemu-%zu.qcow2", i);
        cleanup_buffer struct buffer out = {0};
        assert_int_equal(
            image_fixture_run(&out, "qemu-img create -f qcow2 -o %s %s %s", cases[i].options, disk, cases[i].size), 0);
        struct template t = image_template("qemu");
        t.source = disk;
        struct image *image = ensure_good(&t);
        assert_int_equal(image->virtual_size, cases[i].bytes);
        image_free(image);
    }
    /* The real thing: a clone, and an image whose data is elsewhere. */
    cleanup_free char *base = image_fixture_path("qemu-0.qcow2"), *clone = image_fixture_path("clone.qcow2");
    cleanup_free char *split = image_fixture_path("split.qcow2");
    const struct {
        const char *disk, *cause;
        char *command;
    } refused[] = {
        {clone, "has a backing file", xasprintf("qemu-img create -f qcow2 -b %s -F qcow2 %s", base, clone)},
        {split, "keeps its data in another file",
         xasprintf("qemu-img create -f qcow2 -o data_file=%s.data %s 1M", split, split)},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        cleanup_buffer struct buffer out = {0};
        assert_int_equal(image_fixture_run(&out, "%s", refused[i].command), 0);
        free(refused[i].command);
        struct template t = image_template("refused");
        t.source = refused[i].disk;
        struct image *image = NULL;
        struct error err = {0};
        assert_int_equal(ensure(&t, &image, &err), -1);
        image_assert_error(&err, ERR_IMAGE, refused[i].disk, refused[i].cause, "qemu-img convert");
    }
}

static void a_url_is_downloaded_once(void **state) {
    (void)state;
    char sum[65];
    cleanup_free char *disk = write_disk("remote.qcow2", 3, sum), *url = xasprintf("file://%s", disk);
    struct template t = image_template("remote");
    t.source = url;
    struct image *image = NULL;
    struct error err = {0};
    assert_int_equal(ensure(&t, &image, &err), -1);
    image_assert_error(&err, ERR_USAGE, "remote", "a template from a URL needs its SHA-256", "add 'sha256");

    t.sha256 = "1111111111111111111111111111111111111111111111111111111111111111";
    err = (struct error){0};
    assert_int_equal(ensure(&t, &image, &err), -1);
    assert_int_equal(err.code, ERR_CHECKSUM);
    assert_non_null(strstr(err.cause, sum));
    err = (struct error){0};
    assert_int_equal(image_find(&t, &image, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);

    t.sha256 = sum;
    image = ensure_good(&t);
    assert_string_equal(image->sha256, sum);
    assert_string_not_equal(image->disk, disk);
    assert_int_equal(image->file_size, IMAGE_QCOW2_SIZE);
    image_free(image);
    unlink(disk);
    image_free(ensure_good(&t));
}

static void a_kernel_over_plain_http_is_refused(void **state) {
    (void)state;
    char sum[65];
    cleanup_free char *disk = write_disk("plain.qcow2", 1, sum);
    struct template t = image_template("plain");
    t.source = disk;
    t.boot = BOOT_KERNEL;
    t.kernel = "http://127.0.0.1:1/vmlinuz";
    struct image *image = NULL;
    struct error err = {0};
    assert_int_equal(ensure(&t, &image, &err), -1);
    image_assert_error(&err, ERR_USAGE, "plain", "may not come over plain HTTP", "use https");
}

static void verify_finds_what_the_time_stamp_hides(void **state) {
    (void)state;
    image_recipe_write("verified", IMAGE_RECIPE_GOOD);
    struct template t = image_template("verified");
    struct image *image = ensure_good(&t);
    struct context ctx = image_soon();
    struct error err = {0};
    assert_int_equal(image_verify(image, &ctx, &err), 0);
    int fd = open(image->disk, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "X", 1, 3000), 1);
    close(fd);
    char sum[65], cause[256];
    assert_int_equal(sha256_file(image->disk, sum, NULL, NULL, NULL, &err), 0);
    snprintf(cause, sizeof cause, "expected SHA-256 %s, found %s", image->sha256, sum);
    assert_int_equal(image_verify(image, &ctx, &err), -1);
    image_assert_error(&err, ERR_CHECKSUM, image->disk, cause, "nestor image build verified");
    image_free(image);
}

static void a_damaged_manifest_is_told_and_made_again(void **state) {
    (void)state;
    image_recipe_write("damaged", IMAGE_RECIPE_GOOD);
    struct template t = image_template("damaged");
    image_free(ensure_good(&t));
    cleanup_free char *manifest = image_fixture_path("home/cache/images/damaged/manifest.json");
    static const char *const texts[] = {"", "{", "[]", "{}", "{\"name\": 1}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        image_fixture_write_text(manifest, texts[i]);
        struct image *image = NULL;
        struct error err = {0};
        assert_int_equal(image_find(&t, &image, &err), -1);
        image_assert_error(&err, ERR_CONFLICT, manifest, "the manifest is damaged", "nestor image build damaged");
    }
    image_free(ensure_good(&t));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_is_used_in_place_and_hashed_once),
        cmocka_unit_test(a_changed_file_is_hashed_again),
        cmocka_unit_test(a_wrong_sum_names_file_expected_and_found),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(one_name_for_two_files_is_two_images),
        cmocka_unit_test(a_kernel_of_its_own_is_taken_along),
        cmocka_unit_test(only_a_file_that_can_be_read_can_become_an_image),
        cmocka_unit_test(what_is_not_the_format_it_is_said_to_be_is_refused),
        cmocka_unit_test(an_image_with_a_backing_file_never_gets_in),
        cmocka_unit_test(images_by_qemu_img_are_accepted),
        cmocka_unit_test(a_url_is_downloaded_once),
        cmocka_unit_test(a_kernel_over_plain_http_is_refused),
        cmocka_unit_test(verify_finds_what_the_time_stamp_hides),
        cmocka_unit_test(a_damaged_manifest_is_told_and_made_again),
    };
    return cmocka_run_group_tests(tests, image_fixture_begin, image_fixture_end);
}
