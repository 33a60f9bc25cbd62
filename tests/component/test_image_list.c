/* The catalogue as a list. A program of its own: it wants one with nothing else in it. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image_recipe.h"

/* Stands in for the C library's: once it says so, no directory can be read. */
static bool unreadable;

struct dirent *readdir(DIR *dir) {
    static struct dirent *(*real)(DIR *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "readdir");
    if (unreadable)
        errno = EIO;
    return unreadable ? NULL : real(dir);
}

static void list_one(void *data, const char *name, const struct image *image) {
    buffer_printf(data, "%s %s\n", name, image ? "built" : "-");
}

static void list_and_remove_agree(void **state) {
    (void)state;
    image_recipe_write("b", IMAGE_RECIPE_GOOD);
    image_recipe_write("a", IMAGE_RECIPE_GOOD);
    struct template t = image_template("b");
    struct error err = {0};
    cleanup_buffer struct buffer out = {0};
    assert_int_equal(image_list(list_one, &out, &err), 0);
    assert_string_equal(buffer_str(&out), "a -\nb -\n");
    struct context ctx = image_soon();
    struct image *image = NULL;
    assert_int_equal(image_ensure(&t, false, &image, NULL, &ctx, &err), 0);
    image_free(image);
    buffer_clear(&out);
    assert_int_equal(image_list(list_one, &out, &err), 0);
    assert_string_equal(buffer_str(&out), "a -\nb built\n");

    assert_int_equal(image_remove("b", &err), 0);
    buffer_clear(&out);
    assert_int_equal(image_list(list_one, &out, &err), 0);
    assert_string_equal(buffer_str(&out), "a -\nb -\n");
    cleanup_free char *images = image_fixture_path("home/cache/images");
    image_fixture_run(&out, "ls -A %s", images);
    assert_string_equal(buffer_str(&out), "");
    assert_int_equal(image_remove("b", &err), -1);
    image_assert_error(&err, ERR_NOT_FOUND, "b", "there is no such image", "nestor image list");
}

/* What lives on a hypervisor is never looked for here, whatever its name. */
static void a_template_on_a_hypervisor_is_only_a_name(void **state) {
    (void)state;
    const struct template t = {.name = "/DC0/vm/../b c", .on_host = true};
    struct image *found = NULL, *made = NULL;
    struct context ctx = image_soon();
    struct error err = {0};
    assert_int_equal(image_check(&t, &err), 0);
    assert_int_equal(image_find(&t, &found, &err), 0);
    assert_int_equal(image_ensure(&t, true, &made, NULL, &ctx, &err), 0);
    const struct image *const both[] = {found, made};
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(both[i]->name, "/DC0/vm/../b c");
        assert_true(!both[i]->disk && !both[i]->format && !both[i]->sha256[0] && !both[i]->virtual_size);
    }
    image_free(found);
    image_free(made);
}

static void no_leftover(void *data, const char *name, const char *path) {
    (void)data;
    fail_msg("%s: %s", name, path);
}

static void half_a_list_is_none(void **state) {
    (void)state;
    image_recipe_write("a", IMAGE_RECIPE_GOOD);
    struct error listed = {0}, leftover = {0};
    cleanup_buffer struct buffer out = {0};
    unreadable = true;
    int rc_listed = image_list(list_one, &out, &listed), rc_leftover = image_leftovers(no_leftover, NULL, &leftover);
    unreadable = false;
    assert_int_equal(rc_listed, -1);
    assert_int_equal(listed.code, ERR_IO);
    assert_string_equal(listed.cause, "cannot list the folder: Input/output error");
    assert_string_equal(buffer_str(&out), "");
    assert_int_equal(rc_leftover, -1);
    assert_string_equal(leftover.cause, "cannot list the folder: Input/output error");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_template_on_a_hypervisor_is_only_a_name),
        cmocka_unit_test(list_and_remove_agree),
        cmocka_unit_test(half_a_list_is_none),
    };
    return cmocka_run_group_tests(tests, image_fixture_begin, image_fixture_end);
}
