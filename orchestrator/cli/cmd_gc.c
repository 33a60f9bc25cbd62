#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/hosts.h"
#include "cli/recorded.h"
#include "cli/session.h"
#include "nestor/file.h"
#include "nestor/image.h"
#include "ui/text.h"
#include "ui/ui.h"

#define REMOVE_MS 120000

struct gc_options {
    bool yes, json;
};
static const struct option_spec options[] = {
    {"yes", 'y', OPTION_FLAG, offsetof(struct gc_options, yes), NULL, "remove what was found; do not ask"},
    {"json", 0, OPTION_FLAG, offsetof(struct gc_options, json), NULL, "what was found as JSON"},
    {0},
};

/* Something with a nestor tag that no lab claims, or what is left of making an image. */
struct orphan {
    const struct known_host *host; /* NULL: a file or directory of nestor's own */
    const char *image;             /* whose leftover it is; NULL: a lab's */
    const char *lab_id, *path;     /* path: the machine's, or the file's */
    const char *name;              /* on its hypervisor */
    const char *power;
};

struct collection {
    struct cli *cli;
    const char *home;
    struct known_hosts hosts;
    struct arena arena;
    struct orphan *items;
    size_t n;
    const char **live; /* lab ids */
    size_t nlive;
    size_t nunasked; /* hosts that did not answer */
};

static void add(struct collection *c, struct orphan o) {
    c->items = xrealloc(c->items, (c->n + 1) * sizeof *c->items);
    c->items[c->n++] = o;
}

/* --- finding --- */

/* Seen already, through another name of the same host. Where two hosts differ in anything, what is on both is told
 * twice: if they are one all the same, the second removal finds nothing to do. */
static bool is_known(const struct collection *c, const struct known_host *host, const struct observed *o) {
    for (size_t i = 0; i < c->n; i++) {
        const struct orphan *known = &c->items[i];
        if (known->host && hosts_same(known->host, host) && strcmp(known->lab_id, o->lab_id) == 0 &&
            strcmp(known->path, o->path) == 0)
            return true;
    }
    return false;
}

static void take_observation(struct collection *c, const struct known_host *host, const struct observation *all) {
    for (size_t i = 0; i < all->n; i++) {
        const struct observed *o = &all->items[i];
        if (!is_known(c, host, o))
            add(c, (struct orphan){.host = host,
                                   .lab_id = arena_strdup(&c->arena, o->lab_id),
                                   .path = arena_strdup(&c->arena, o->path),
                                   .name = arena_strdup(&c->arena, o->name),
                                   .power = power_name(o->power)});
    }
}

static void ask_host(struct collection *c, const struct known_host *host) {
    struct context ctx = context_timeout(&c->cli->ctx, HOST_OPEN_MS);
    struct hypervisor *hv = NULL;
    struct observation *seen = NULL;
    struct error why = {0};
    if (host_open(c->cli, host, c->home, &hv, &ctx, &why) || host->driver->observe(hv, NULL, &seen, &ctx, &why)) {
        error_print(&why, color_on(STDERR_FILENO), stderr);
        c->nunasked++;
    } else {
        take_observation(c, host, seen);
    }
    observation_free(seen);
    if (hv)
        host->driver->close(hv);
}

static int find_directories(struct collection *c, struct error *err) {
    cleanup_free char *labs = xasprintf("%s/labs", c->home);
    cleanup_dir DIR *d = opendir(labs);
    if (!d && errno == ENOENT)
        return 0;
    if (!d)
        return error_set_errno(err, errno, labs, "cannot read it");
    int got;
    for (const char *name; (got = dir_next(d, &name)) > 0;)
        if (strlen(name) == LAB_ID_LEN && strspn(name, "0123456789abcdef") == LAB_ID_LEN)
            add(c, (struct orphan){.lab_id = arena_strdup(&c->arena, name),
                                   .path = arena_printf(&c->arena, "%s/%s", labs, name)});
    return got ? error_set_errno(err, errno, labs, "cannot read it") : 0;
}

static void take_leftover(void *data, const char *name, const char *path) {
    struct collection *c = data;
    add(c, (struct orphan){.image = arena_strdup(&c->arena, name), .path = arena_strdup(&c->arena, path)});
}

static int take_live(void *data, const struct lab_record *lab, const struct lab_contents *contents, struct error *err) {
    (void)contents, (void)err;
    struct collection *c = data;
    c->live = xrealloc(c->live, (c->nlive + 1) * sizeof *c->live);
    c->live[c->nlive++] = arena_strdup(&c->arena, lab->id);
    return 0;
}

static bool is_live(const struct collection *c, const char *lab_id) {
    for (size_t i = 0; i < c->nlive; i++)
        if (strcmp(c->live[i], lab_id) == 0)
            return true;
    return false;
}

static void drop_the_live(struct collection *c) {
    size_t kept = 0;
    for (size_t i = 0; i < c->n; i++)
        if (c->items[i].image || !is_live(c, c->items[i].lab_id))
            c->items[kept++] = c->items[i];
    c->n = kept;
}

/* First what is there, then which labs there are: a lab is recorded before anything of it is made, so what another
 * nestor is making meanwhile is never taken for an orphan. */
static int collect(struct collection *c, struct error *err) {
    struct state *state = NULL;
    if (state_open(c->home, &c->cli->cancel, &state, err))
        return -1;
    hosts_add_local(&c->hosts);
    int failed = hosts_add_recorded(&c->hosts, state, err);
    for (size_t i = 0; !failed && i < c->hosts.n; i++)
        ask_host(c, &c->hosts.items[i]);
    failed = failed || find_directories(c, err) || recorded_each(state, take_live, c, err) ||
             image_leftovers(take_leftover, c, err);
    state_close(state);
    drop_the_live(c);
    return failed ? -1 : 0;
}

static void collection_free(struct collection *c) {
    hosts_free(&c->hosts);
    arena_free(&c->arena);
    free(c->items);
    free(c->live);
}

/* --- showing --- */

static void print_orphan(const struct orphan *o, bool utf8) {
    cleanup_buffer struct buffer line = {0};
    buffer_puts(&line, "  ");
    text_put_safe(&line, o->path, TEXT_NO_LIMIT, utf8);
    if (o->host) {
        buffer_printf(&line, "  (%s, %s, as ", o->host->subject, o->power);
        text_put_safe(&line, o->name, TEXT_NO_LIMIT, utf8);
        buffer_putc(&line, ')');
    }
    if (o->image)
        buffer_printf(&line, "  (left of making image %s)", o->image);
    puts(buffer_str(&line));
}

static json_t *orphan_json(const struct orphan *o) {
    json_t *json = json_object();
    json_object_set_new(json, "kind", json_string(o->host ? "machine" : o->image ? "image" : "directory"));
    json_object_set_new(json, "path", text_json(o->path));
    json_object_set_new(json, "lab_id", text_json_or_null(o->lab_id));
    json_object_set_new(json, "host", text_json_or_null(o->host ? o->host->name : NULL));
    json_object_set_new(json, "name", text_json_or_null(o->name));
    json_object_set_new(json, "state", text_json_or_null(o->power));
    return json;
}

static void show(const struct collection *c, bool as_json) {
    if (as_json) {
        json_t *found = json_array();
        for (size_t i = 0; i < c->n; i++)
            json_array_append_new(found, orphan_json(&c->items[i]));
        json_print(json_pack("{s:o, s:i}", "orphans", found, "hosts_not_asked", (int)c->nunasked), stdout);
        return;
    }
    if (c->n)
        puts("Left over, and of no lab there is:");
    else if (!c->cli->quiet)
        puts("Nothing is left over.");
    for (size_t i = 0; i < c->n; i++)
        print_orphan(&c->items[i], terminal_is_utf8());
    fflush(stdout);
}

/* --- removing --- */

static int remove_machine(const struct collection *c, const struct orphan *o, struct error *err) {
    struct context ctx = context_timeout(&c->cli->ctx, REMOVE_MS);
    const struct tag tag = {.lab_id = o->lab_id, .path = o->path};
    struct hypervisor *hv = NULL;
    int failed = host_open(c->cli, o->host, c->home, &hv, &ctx, err) || o->host->driver->remove(hv, &tag, &ctx, err);
    if (!failed && o->host->driver->prune)
        failed = o->host->driver->prune(hv, &ctx, err);
    if (hv)
        o->host->driver->close(hv);
    return failed;
}

/* One that resists does not keep the others. */
static size_t remove_all(const struct collection *c) {
    size_t nfailed = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct error why = {0};
        const struct orphan *o = &c->items[i];
        bool failed = o->host    ? remove_machine(c, o, &why)
                      : o->image ? image_clean(o->image, &why)
                                 : tree_remove(o->path, NULL, &why);
        if (failed)
            error_print(&why, color_on(STDERR_FILENO), stderr);
        else if (!c->cli->quiet)
            fprintf(stderr, "removed %s\n", o->path);
        nfailed += failed;
    }
    return nfailed;
}

static int decide(struct collection *c, bool yes, bool as_json, struct error *err) {
    if (!c->n)
        return c->nunasked ? NESTOR_FAILED : NESTOR_DONE;
    if (!yes && (as_json || !isatty(STDIN_FILENO))) {
        fputs("'nestor gc --yes' removes this.\n", stderr);
        return NESTOR_CHANGES;
    }
    if (!yes && confirm(c->cli, "Remove all of this?", &yes, err))
        return -1;
    if (!yes)
        return NESTOR_CHANGES;
    size_t nfailed = remove_all(c);
    return !nfailed && !c->nunasked ? NESTOR_DONE : nfailed < c->n ? NESTOR_PARTLY : NESTOR_FAILED;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    (void)argc, (void)argv;
    const struct gc_options *o = opts;
    struct collection c = {.cli = cli, .home = nestor_home(err)};
    int code = -1;
    if (c.home && collect(&c, err) == 0) {
        show(&c, o->json);
        code = decide(&c, o->yes, o->json, err);
    }
    collection_free(&c);
    return code;
}

const struct cli_command cmd_gc = {
    .name = "gc",
    .summary = "Find, and remove, what carries a nestor tag but belongs to no lab",
    .arguments = "",
    .completes = ARGUMENT_NONE,
    .options = options,
    .options_size = sizeof(struct gc_options),
    .min_args = 0,
    .max_args = 0,
    .details =
        "Asks this machine and every host of every lab, and looks into the cache for what is left of images that\n"
        "nobody makes any more: half a download, for example, which the next 'up' would continue. Shows what it\n"
        "finds, and asks before it removes anything; where nobody can be asked it exits with 3, and --yes removes.\n"
        "Look at the list first if several users, or several state directories, share a host: the labs of another\n"
        "state directory are not known here.",
    .examples = "  nestor gc\n  nestor gc --yes\n  nestor gc --json | jq -r '.orphans[].path'",
    .run = run,
};
