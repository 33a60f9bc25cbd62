#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/recorded.h"
#include "cli/templates.h"
#include "nestor/driver.h"
#include "nestor/image.h"
#include "nestor/state.h"
#include "ui/text.h"
#include "ui/ui.h"

struct image_options {
    bool json, rebuild;
};
static const struct option_spec options[] = {
    {"rebuild", 0, OPTION_FLAG, offsetof(struct image_options, rebuild), NULL, "build: even if it is there already"},
    {"json", 0, OPTION_FLAG, offsetof(struct image_options, json), NULL, "list and verify: as JSON"},
    {0},
};

/* --- list --- */

struct listing {
    json_t *json; /* NULL: text */
    size_t n;
};

static json_t *image_json(const char *name, const struct image *image) {
    json_t *json = json_object();
    json_object_set_new(json, "name", text_json(name));
    json_object_set_new(json, "built", json_boolean(image));
    json_object_set_new(json, "disk", text_json_or_null(image ? image->disk : NULL));
    json_object_set_new(json, "sha256", text_json_or_null(image ? image->sha256 : NULL));
    json_object_set_new(json, "size", image ? json_integer((json_int_t)image->file_size) : json_null());
    json_object_set_new(json, "virtual_size", image ? json_integer((json_int_t)image->virtual_size) : json_null());
    return json;
}

static void list_image(void *data, const char *name, const struct image *image) {
    struct listing *l = data;
    char size[24] = "-", room[24] = "-";
    if (l->json) {
        json_array_append_new(l->json, image_json(name, image));
        return;
    }
    if (!l->n++)
        printf("%-24s  %-9s  %10s  %10s  %s\n", "NAME", "STATE", "FILE", "DISK", "SHA-256");
    if (image) {
        bytes_format(image->file_size, size);
        bytes_format(image->virtual_size, room);
    }
    printf("%-24s  %-9s  %10s  %10s  %.16s\n", name, image ? "built" : "not built", size, room,
           image ? image->sha256 : "-");
}

static int list(struct cli *cli, const struct image_options *o, const char *name, struct error *err) {
    (void)cli;
    struct listing l = {.json = o->json ? json_array() : NULL};
    if (name) {
        error_set(err, ERR_USAGE, NULL, "image: list takes no name");
        return error_mend(err, "'nestor image list' shows all; 'nestor image verify %s' looks at one", name);
    }
    int failed = image_list(list_image, &l, err);
    if (o->json && !failed)
        json_print(json_incref(l.json), stdout);
    else if (!failed && !l.n)
        puts("No images, and no recipes to build any.");
    json_decref(l.json);
    return failed ? -1 : NESTOR_DONE;
}

/* --- build --- */

static int build(struct cli *cli, const struct image_options *o, const char *name, struct error *err) {
    struct template template = {.name = name, .format = "qcow2"};
    struct image *image = NULL;
    struct error why = {0};
    if (image_check(&template, err))
        return err->code == ERR_NOT_FOUND ? mend_with_recipes(name, err) : -1;
    struct progress *progress = progress_open(stderr, cli->live, cli->live && cli->color, cli->quiet);
    struct event_sink *sink = progress_sink(progress);
    int64_t began = clock_ms();
    progress_watch(progress, &cli->cancel);
    event_emit(sink, (struct event){.kind = EVENT_STEP_START, .path = name, .step = "image"});
    int failed = image_ensure(&template, o->rebuild, &image, sink, &cli->ctx, &why);
    event_emit(sink, (struct event){.kind = failed ? EVENT_STEP_FAILED : EVENT_STEP_DONE,
                                    .path = name,
                                    .step = "image",
                                    .elapsed_ms = clock_ms() - began,
                                    .error = failed ? &why : NULL});
    progress_close(progress);
    if (failed)
        *err = why;
    else if (!cli->quiet)
        printf("%s: %s (sha256 %.16s...)\n", name, image->disk, image->sha256);
    image_free(image);
    return failed ? -1 : NESTOR_DONE;
}

/* --- verify --- */

struct verifying {
    const struct cli *cli;
    const char *only; /* NULL: all that are built */
    json_t *json;
    bool known; /* there is a recipe of that name, if no image */
    size_t nfailed, nseen;
};

static void verify_image(void *data, const char *name, const struct image *image) {
    struct verifying *v = data;
    struct error why = {0};
    if (v->only && strcmp(v->only, name) != 0)
        return;
    v->known = true;
    if (!image || cancel_fired(&v->cli->cancel))
        return;
    int failed = image_verify(image, &v->cli->ctx, &why);
    if (failed && why.code == ERR_CANCELLED)
        return;
    v->nseen++;
    v->nfailed += failed != 0;
    if (v->json) {
        json_t *json = image_json(name, image);
        json_object_set_new(json, "verified", json_boolean(!failed));
        json_object_set_new(json, "error", text_json_or_null(why.cause));
        json_array_append_new(v->json, json);
    } else if (failed) {
        error_print(&why, false, stdout);
    } else if (!v->cli->quiet) {
        printf("%s: whole: its files have the checksums of its manifest\n", name);
    }
}

static int not_there(const char *name, bool known, struct error *err) {
    if (known) {
        error_set(err, ERR_NOT_FOUND, name, "the image has not been built yet");
        return error_mend(err, "run 'nestor image build %s'", name);
    }
    error_set(err, ERR_NOT_FOUND, name, "there is no such image");
    return mend_with_images(name, err);
}

static int verify(struct cli *cli, const struct image_options *o, const char *name, struct error *err) {
    struct verifying v = {.cli = cli, .only = name, .json = o->json ? json_array() : NULL};
    int failed = image_list(verify_image, &v, err) || context_check(&cli->ctx, name, "verifying images", err) ? -1 : 0;
    if (!failed && name && !v.nseen)
        failed = not_there(name, v.known, err);
    if (o->json && !failed)
        json_print(json_incref(v.json), stdout);
    else if (!failed && !v.nseen && !cli->quiet)
        puts("No image is built yet.");
    json_decref(v.json);
    return failed ? -1 : v.nfailed ? NESTOR_FAILED : NESTOR_DONE;
}

/* --- rm --- */

/* The catalogue's name of a template with a source of its own is NAME-<12 hex digits>. */
static bool is_made_from(const char *template, const char *image) {
    size_t n = strlen(template);
    bool begins = strncmp(image, template, n) == 0;
    return begins && (!image[n] || (image[n] == '-' && strspn(image + n + 1, "0123456789abcdef") == 12));
}

/* Whether what it is made from is a template of its hypervisor, and no image of this machine. */
static bool is_from_there(const struct lab_contents *c, const struct machine_record *m) {
    const char *around = "";
    for (size_t i = 0; i < c->nmachines; i++)
        if (strcmp(c->machines[i].path, m->parent) == 0)
            around = c->machines[i].hypervisor;
    for (size_t i = 0; i < c->nhosts && !m->parent[0]; i++)
        if (strcmp(c->hosts[i].name, m->host) == 0)
            around = c->hosts[i].driver;
    const struct driver *driver = driver_find(around);
    return driver && driver->features & DRIVER_TEMPLATES;
}

/* Clones stand on their image's file: as long as one is recorded, the image stays. */
static int refuse_if_used(void *data, const struct lab_record *lab, const struct lab_contents *c, struct error *err) {
    const char *name = data;
    for (size_t i = 0; i < c->nmachines; i++) {
        if (!is_made_from(c->machines[i].template, name) || is_from_there(c, &c->machines[i]))
            continue;
        error_set(err, ERR_CONFLICT, name, "%s is made from it", c->machines[i].path);
        return error_mend(err, "take that lab down first: nestor down %s", lab->name);
    }
    return 0;
}

static int check_unused(const struct cli *cli, const char *name, struct error *err) {
    const char *home = nestor_home(err);
    struct state *state = NULL;
    if (!home || state_open(home, &cli->cancel, &state, err))
        return -1;
    int failed = recorded_each(state, refuse_if_used, (void *)name, err);
    state_close(state);
    return failed;
}

static int rm(struct cli *cli, const struct image_options *o, const char *name, struct error *err) {
    (void)o;
    if (check_unused(cli, name, err))
        return -1;
    if (image_remove(name, err))
        return err->code == ERR_NOT_FOUND ? mend_with_images(name, err) : -1;
    if (!cli->quiet)
        printf("%s: removed from the cache\n", name);
    return NESTOR_DONE;
}

/* --- the four --- */

static const struct {
    const char *word;
    bool needs_name;
    int (*run)(struct cli *cli, const struct image_options *o, const char *name, struct error *err);
} actions[] = {{"list", false, list}, {"build", true, build}, {"verify", false, verify}, {"rm", true, rm}};

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(actions[i].word, argv[0]) != 0)
            continue;
        if (argc == 1 && actions[i].needs_name) {
            error_set(err, ERR_USAGE, NULL, "image: %s needs the name of an image", argv[0]);
            return error_mend(err, "'nestor image list' shows them");
        }
        return actions[i].run(cli, opts, argc > 1 ? argv[1] : NULL, err);
    }
    return error_set(err, ERR_INTERNAL, NULL, "image: '%s' is offered, but not there", argv[0]);
}

const struct cli_command cmd_image = {
    .name = "image",
    .summary = "List, build, check or remove the images that machines are cloned from",
    .arguments = "list|build|verify|rm [NAME]",
    .completes = ARGUMENT_WORD,
    .then = ARGUMENT_IMAGE,
    .options = options,
    .options_size = sizeof(struct image_options),
    .min_args = 1,
    .max_args = 2,
    .details =
        "'up' builds what it needs by itself; 'build' does it ahead of time. Images are kept in the cache and are\n"
        "addressed by the SHA-256 of their disk; 'verify' reads them whole and compares. 'rm' refuses while a\n"
        "machine is made from the image.",
    .examples = "  nestor image list\n  nestor image build debian-kvm\n  nestor image verify",
    .run = run,
};
