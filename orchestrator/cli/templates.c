#include "cli/templates.h"

#include <stdio.h>
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

/* A template of the catalogue has no place of its own in the file: the first machine that uses it is the place. */
static struct origin place_of(const struct lab *lab, uint32_t template) {
    struct origin at = lab->templates[template].origin;
    for (size_t i = 0; !at.line && i < lab->nmachines; i++)
        if (lab->machines[i].template == template)
            at = lab->machines[i].origin;
    return at;
}

int template_check(const struct lab *lab, uint32_t template, struct error *err) {
    const struct template *t = &lab->templates[template];
    struct origin at = place_of(lab, template);
    struct error why = {0};
    if (image_check(t, &why) == 0)
        return 0;
    cleanup_free char *place = xasprintf("%s:%d:%d", lab->file, at.line, at.column);
    bool about_file = why.subject[0] && strcmp(why.subject, t->name) != 0;
    /* As for validate: what the lab file names is not there, so it is the lab file that is wrong. */
    error_set(err, why.code == ERR_NOT_FOUND ? ERR_SPEC : why.code, place, "template '%s': %s%s%s", t->name,
              about_file ? why.subject : "", about_file ? ": " : "", why.cause);
    error_mend(err, "%s", why.mend);
    if (!t->source)
        suggest(t->name, err);
    return -1;
}

static void add_finding(struct diagnostics *diags, struct origin at, const struct error *why) {
    diags->items = xrealloc(diags->items, (diags->n + 1) * sizeof *diags->items);
    struct diagnostic *d = &diags->items[diags->n++];
    *d = (struct diagnostic){.origin = at};
    snprintf(d->text, sizeof d->text, "%.*s", (int)sizeof d->text - 1, why->cause);
    snprintf(d->hint, sizeof d->hint, "%.*s", (int)sizeof d->hint - 1, why->mend);
    diags->nerrors++;
}

void templates_check(const struct lab *lab, struct diagnostics *diags) {
    for (uint32_t t = 0; t < lab->ntemplates; t++) {
        bool used = false;
        for (size_t i = 0; !used && i < lab->nmachines; i++)
            used = lab->machines[i].template == t;
        struct error why = {0};
        if (used && template_check(lab, t, &why))
            add_finding(diags, place_of(lab, t), &why);
    }
}
