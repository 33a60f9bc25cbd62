#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/hosts.h"
#include "cli/lab_folders.h"
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

/* In the order in which they are removed: a network is free when its machines are gone. */
enum orphan_kind { ORPHAN_MACHINE, ORPHAN_NETWORK, ORPHAN_DIRECTORY, ORPHAN_IMAGE };

/* Something with a nestor tag that no lab claims, or what is left of making an image. */
struct orphan {
    enum orphan_kind kind;
    const struct known_host *host; /* of a machine or network */
    const char *lab_id;            /* of a network its first digits; NULL: an image's leftover */
    const char *path;              /* the machine's, or the file's; the network's name */
    const char *name;              /* on its hypervisor */
    const char *power;             /* the machine's */
    const char *image;             /* whose leftover it is */
    bool failed;                   /* it could not be removed */
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
    struct orphan *lost; /* folders of labs that the database has never known: their machines may still run */
    size_t nlost;
    size_t nunasked; /* hosts that did not answer */
};

/* After those of its kind. */
static void add(struct collection *c, struct orphan o) {
    size_t at = c->n;
    while (at && c->items[at - 1].kind > o.kind)
        at--;
    c->items = xrealloc(c->items, (c->n + 1) * sizeof *c->items);
    memmove(&c->items[at + 1], &c->items[at], (c->n++ - at) * sizeof *c->items);
    c->items[at] = o;
}

/* --- finding --- */

/* Seen already, through another name of the same host. Where two hosts differ in anything, what is on both is told
 * twice: if they are one all the same, the second removal finds nothing to do. */
static bool is_known(const struct collection *c, const struct orphan *o) {
    for (size_t i = 0; i < c->n; i++) {
        const struct orphan *known = &c->items[i];
        if (known->kind == o->kind && hosts_same(known->host, o->host) && strcmp(known->lab_id, o->lab_id) == 0 &&
            strcmp(known->path, o->path) == 0)
            return true;
    }
    return false;
}

/* What is on a host; the texts are copied. */
static void add_on_host(struct collection *c, struct orphan o) {
    if (is_known(c, &o))
        return;
    o.lab_id = arena_strdup(&c->arena, o.lab_id);
    o.path = arena_strdup(&c->arena, o.path);
    o.name = arena_strdup(&c->arena, o.name);
    add(c, o);
}

static void take_observation(struct collection *c, const struct known_host *host, const struct observation *all) {
    for (size_t i = 0; i < all->n; i++) {
        const struct observed *o = &all->items[i];
        add_on_host(c, (struct orphan){.kind = ORPHAN_MACHINE,
                                       .host = host,
                                       .lab_id = o->lab_id,
                                       .path = o->path,
                                       .name = o->name,
                                       .power = power_name(o->power)});
    }
}

struct asking {
    struct collection *c;
    const struct known_host *host;
};

static void take_network(void *data, const char *name, const char *lab_digits) {
    const struct asking *a = data;
    add_on_host(a->c, (struct orphan){
                          .kind = ORPHAN_NETWORK, .host = a->host, .lab_id = lab_digits, .path = name, .name = name});
}

/* Of one host. */
static int ask_opened(struct collection *c, const struct known_host *host, struct hypervisor *hv,
                      const struct context *ctx, struct error *err) {
    struct asking asking = {c, host};
    struct observation *seen = NULL;
    if (host->driver->observe(hv, NULL, &seen, ctx, err))
        return -1;
    take_observation(c, host, seen);
    observation_free(seen);
    return host->driver->networks ? host->driver->networks(hv, take_network, &asking, ctx, err) : 0;
}

static void ask_host(struct collection *c, const struct known_host *host) {
    struct context ctx = context_timeout(&c->cli->ctx, HOST_OPEN_MS);
    struct hypervisor *hv = NULL;
    struct error why = {0};
    if (host_open(c->cli, host, c->home, &hv, &ctx, &why) || ask_opened(c, host, hv, &ctx, &why)) {
        error_print(&why, color_on(STDERR_FILENO), stderr);
        c->nunasked++;
    }
    if (hv)
        host->driver->close(hv);
}

static bool has_machines(const struct collection *c, const char *lab_id) {
    for (size_t i = 0; i < c->n && c->items[i].kind == ORPHAN_MACHINE; i++)
        if (strcmp(c->items[i].lab_id, lab_id) == 0)
            return true;
    return false;
}

/* A lab that the database had is down once its row is gone. Of one it never had, the key is needed as long as there may
 * be machines: it goes with them, if they have been found for sure. */
static int take_folder(void *data, const char *lab_id, const char *path, bool known, struct error *err) {
    (void)err;
    struct collection *c = data;
    const struct orphan o = {
        .kind = ORPHAN_DIRECTORY, .lab_id = arena_strdup(&c->arena, lab_id), .path = arena_strdup(&c->arena, path)};
    if (known || (has_machines(c, lab_id) && !c->nunasked)) {
        add(c, o);
    } else {
        c->lost = xrealloc(c->lost, (c->nlost + 1) * sizeof *c->lost);
        c->lost[c->nlost++] = o;
    }
    return 0;
}

static void take_leftover(void *data, const char *name, const char *path) {
    struct collection *c = data;
    add(c, (struct orphan){
               .kind = ORPHAN_IMAGE, .image = arena_strdup(&c->arena, name), .path = arena_strdup(&c->arena, path)});
}

static int take_live(void *data, const struct lab_record *lab, const struct lab_contents *contents, struct error *err) {
    (void)contents, (void)err;
    struct collection *c = data;
    c->live = xrealloc(c->live, (c->nlive + 1) * sizeof *c->live);
    c->live[c->nlive++] = arena_strdup(&c->arena, lab->id);
    return 0;
}

/* Of a network's lab only the first digits are known: in doubt it lives. */
static bool is_live(const struct collection *c, const struct orphan *o) {
    for (size_t i = 0; o->lab_id && i < c->nlive; i++)
        if (o->kind == ORPHAN_NETWORK ? strncmp(c->live[i], o->lab_id, strlen(o->lab_id)) == 0
                                      : strcmp(c->live[i], o->lab_id) == 0)
            return true;
    return false;
}

static void drop_the_live(struct collection *c) {
    size_t kept = 0;
    for (size_t i = 0; i < c->n; i++)
        if (!is_live(c, &c->items[i]))
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
    for (size_t i = 0; !failed && i < c->hosts.n; i++) {
        ask_host(c, &c->hosts.items[i]);
        failed = context_check(&c->cli->ctx, "gc", "asking the hosts", err);
    }
    failed = failed || lab_folders_each(c->home, state, take_folder, c, err) ||
             recorded_each(state, take_live, c, err) || image_leftovers(take_leftover, c, err);
    state_close(state);
    drop_the_live(c);
    return failed ? -1 : 0;
}

static void collection_free(struct collection *c) {
    hosts_free(&c->hosts);
    arena_free(&c->arena);
    free(c->items);
    free(c->lost);
    free(c->live);
}

/* --- showing --- */

static void print_orphan(const struct orphan *o, bool utf8) {
    cleanup_buffer struct buffer line = {0};
    buffer_puts(&line, "  ");
    text_put_safe(&line, o->path, TEXT_NO_LIMIT, utf8);
    if (o->kind == ORPHAN_NETWORK)
        buffer_printf(&line, "  (%s, network)", o->host->subject);
    if (o->kind == ORPHAN_MACHINE) {
        buffer_printf(&line, "  (%s, %s, as ", o->host->subject, o->power);
        text_put_safe(&line, o->name, TEXT_NO_LIMIT, utf8);
        buffer_putc(&line, ')');
    }
    if (o->kind == ORPHAN_IMAGE)
        buffer_printf(&line, "  (left of making image %s)", o->image);
    puts(buffer_str(&line));
}

static json_t *orphan_json(const struct orphan *o) {
    static const char *const kinds[] = {"machine", "network", "directory", "image"};
    json_t *json = json_object();
    json_object_set_new(json, "kind", json_string(kinds[o->kind]));
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
        json_t *lost = json_array();
        for (size_t i = 0; i < c->nlost; i++)
            json_array_append_new(lost, orphan_json(&c->lost[i]));
        json_print(
            json_pack("{s:o, s:o, s:i}", "orphans", found, "lost_labs", lost, "hosts_not_asked", (int)c->nunasked),
            stdout);
        return;
    }
    if (c->n)
        puts("Left over, and of no lab there is:");
    else if (!c->cli->quiet)
        puts(c->nunasked ? "Nothing is left over where somebody answered." : "Nothing is left over.");
    for (size_t i = 0; i < c->n; i++)
        print_orphan(&c->items[i], terminal_is_utf8());
    for (size_t i = 0; i < c->nlost; i++)
        printf("Kept: %s, the key of a lab that the database does not know. 'nestor adopt HOST --file FILE' takes the "
               "lab over; if it is gone for good, remove the folder.\n",
               c->lost[i].path);
    fflush(stdout);
    if (!c->nlive && !c->cli->quiet)
        fputs("note: no lab is recorded, so no host but this machine was asked; 'nestor adopt HOST --file FILE' asks "
              "one\n",
              stderr);
}

/* --- removing --- */

static int remove_opened(const struct orphan *o, struct hypervisor *hv, const struct context *ctx, struct error *err) {
    const struct driver *driver = o->host->driver;
    const struct tag tag = {.lab_id = o->lab_id, .path = o->path};
    if (o->kind == ORPHAN_NETWORK)
        return driver->remove_network(hv, o->name, ctx, err);
    return driver->remove(hv, &tag, ctx, err) || (driver->prune && driver->prune(hv, ctx, err)) ? -1 : 0;
}

static int remove_on_host(const struct collection *c, const struct orphan *o, struct error *err) {
    struct context ctx = context_timeout(&c->cli->ctx, REMOVE_MS);
    struct hypervisor *hv = NULL;
    int failed = host_open(c->cli, o->host, c->home, &hv, &ctx, err) || remove_opened(o, hv, &ctx, err);
    if (hv)
        o->host->driver->close(hv);
    return failed ? -1 : 0;
}

static int remove_folder(const struct collection *c, const struct orphan *o, struct error *err) {
    for (size_t i = 0; i < c->n; i++)
        if (c->items[i].failed && c->items[i].lab_id && strcmp(c->items[i].lab_id, o->lab_id) == 0) {
            error_set(err, ERR_CONFLICT, o->path, "it stays: it has the key of machines that are still there");
            return error_mend(err, "run the same command again once they can be removed");
        }
    return tree_remove(o->path, NULL, err);
}

static int remove_one(const struct collection *c, const struct orphan *o, struct error *err) {
    return o->host                   ? remove_on_host(c, o, err)
           : o->kind == ORPHAN_IMAGE ? image_clean(o->image, err)
                                     : remove_folder(c, o, err);
}

/* One that resists does not keep the others. */
static int remove_all(struct collection *c, size_t *ret_failed, struct error *err) {
    *ret_failed = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct error why = {0};
        struct orphan *o = &c->items[i];
        if (context_check(&c->cli->ctx, "gc", "removing what is left over", err))
            return -1;
        o->failed = remove_one(c, o, &why) != 0;
        if (o->failed)
            error_print(&why, color_on(STDERR_FILENO), stderr);
        else if (!c->cli->quiet)
            fprintf(stderr, "removed %s\n", o->path);
        *ret_failed += o->failed;
    }
    return 0;
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
    size_t nfailed;
    if (remove_all(c, &nfailed, err))
        return -1;
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
        "Asks this machine and every host of every lab for machines and for networks that were made for a lab, and\n"
        "looks into the cache for what is left of images that nobody makes any more: half a download, for example,\n"
        "which the next 'up' would continue. Shows what it finds, and asks before it removes anything; where nobody\n"
        "can be asked it exits with 3, and --yes removes. A network something is connected to is told, and stays.\n"
        "The folder of a lab that the database has never known, as after a loss of the database, has the key of "
        "machines\n"
        "that may still run: it goes only with them. 'nestor adopt' takes such a lab over.\n"
        "Look at the list first if several users, or several state directories, share a host: the labs of another\n"
        "state directory are not known here.",
    .examples = "  nestor gc\n  nestor gc --yes\n  nestor gc --json | jq -r '.orphans[].path'",
    .run = run,
};
