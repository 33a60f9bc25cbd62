#include "cli/templates.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "nestor/image.h"

#define NAMES_MAX 64

struct names {
    char *items[NAMES_MAX];
    size_t n;
};

static void take_name(void *data, const char *name, const struct image *image) {
    (void)image;
    struct names *names = data;
    if (names->n < NAMES_MAX)
        names->items[names->n++] = xstrdup(name);
}

static void take_recipe(void *data, const char *name, const struct image *image) {
    if (image_has_recipe(name))
        take_name(data, name, image);
}

static void names_free(struct names *names) {
    for (size_t i = 0; i < names->n; i++)
        free(names->items[i]);
}
#define cleanup_names __attribute__((cleanup(names_free)))

static void suggest(const char *name, struct error *err) {
    cleanup_names struct names names = {.n = 0};
    const char *near = NULL;
    if (image_list(take_name, &names, NULL) == 0)
        near = nearest_word(name, (const char *const *)names.items, names.n);
    if (near)
        error_mend(err, "did you mean '%s'?", near);
}

static int mend_with(void (*take)(void *data, const char *name, const struct image *image), const char *name,
                     struct error *err) {
    cleanup_names struct names names = {.n = 0};
    if (image_list(take, &names, NULL) || !names.n)
        return -1;
    return mend_with_words(err, name, (const char *const *)names.items, names.n);
}

int mend_with_images(const char *name, struct error *err) { return mend_with(take_name, name, err); }

int mend_with_recipes(const char *name, struct error *err) { return mend_with(take_recipe, name, err); }

int template_check(const struct template *t, struct error *err) {
    struct error why = {0};
    if (image_check(t, &why) == 0)
        return 0;
    bool about_file = why.subject[0] && strcmp(why.subject, t->name) != 0;
    /* What the lab file names is not there, or cannot be an image: it is the lab file that is wrong. */
    bool of_lab_file = why.code == ERR_NOT_FOUND || why.code == ERR_IMAGE;
    error_set(err, of_lab_file ? ERR_SPEC : why.code, NULL, "template '%s': %s%s%s", t->name,
              about_file ? why.subject : "", about_file ? ": " : "", why.cause);
    error_mend(err, "%s", why.mend);
    if (!t->source)
        suggest(t->name, err);
    return -1;
}

int templates_check(const struct lab *lab, const bool *wanted, struct diagnostics *diags, struct error *err) {
    bool failed = false;
    for (size_t i = 0; i < lab->ntemplates; i++) {
        const struct template *t = &lab->templates[i];
        struct error why = {0};
        if (!wanted[i] || template_check(t, &why) == 0)
            continue;
        diagnostics_add(diags, t->origin, &why);
        cleanup_free char *place = xasprintf("%s:%d:%d", lab->file, t->origin.line, t->origin.column);
        error_subject(&why, place);
        if (!failed && err)
            *err = why;
        failed = true;
    }
    return failed ? -1 : 0;
}
