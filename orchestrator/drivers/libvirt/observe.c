/* One round trip: the directories (a half-made machine has only that), then the XML of every domain that may be ours.
 */
#include <stdlib.h>
#include <string.h>

#include "drivers/libvirt/libvirt.h"

/* Prints "D LAB PATH DIGEST STATE NAME" per directory, with the state "complete" or "half", then each domain's XML,
 * "<domain " at the start of a line. The name pattern is that of machine_native_name; what else is defined there is
 * none of our business.
 *
 * One virsh writes many descriptions, as many as fit well below the 128 KiB Linux allows an argument. It goes on after
 * one that fails and gives the status of the last (vshCommandRun in libvirt's tools/vsh.c), so its errors are read: a
 * domain that is gone from a second list was removed meanwhile, the rest of its batch is asked for again, and any other
 * failure is one of the whole. A description that comes twice counts once. */
static const char observe_script[] =
    "for tag in \"$dir\"/*/tag; do\n"
    "    [ -f \"$tag\" ] || continue\n"
    "    d=${tag%/tag}\n"
    "    read -r lab path digest rest <\"$tag\" || continue\n"
    "    state=half\n"
    "    [ ! -e \"$d/complete\" ] || state=complete\n"
    "    echo \"D $lab $path $digest $state ${d##*/}\"\n"
    "done\n"
    "set -f\n"
    "exec 3>&1\n"
    "nl='\n'\n"
    "dump() {\n"
    "    ask=\n"
    "    for one; do ask=\"$ask dumpxml $one;\"; done\n"
    "    errors=$(v \"$ask\" 2>&1 >&3) || return 1\n"
    "    case $nl$errors in *\"${nl}error:\"*) return 1 ;; esac\n"
    "}\n"
    "still_there() {\n"
    "    now=$nl$(v list --all --name)$nl || exit\n"
    "    batch=\n"
    "    for one; do case $now in *\"$nl$one$nl\"*) batch=\"$batch$nl$one\" ;; esac; done\n"
    "}\n"
    "flush() {\n"
    "    turn=0\n"
    "    until [ -z \"$batch\" ] || dump $batch; do\n"
    "        turn=$((turn + 1))\n"
    "        if [ $turn = 4 ]; then echo \"$errors\" >&2; exit 1; fi\n"
    "        still_there $batch\n"
    "    done\n"
    "    batch=\n"
    "}\n"
    "names=$(v list --all --name)\n" /* its failure ends the script here, and would not in the list of a `for` */
    "batch=\n"
    "IFS=$nl\n"
    "for name in $names; do\n"
    "    case $name in\n"
    "    *[!a-z0-9.-]*) ;;\n"
    "    *.*-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f])\n"
    "        batch=\"$batch$nl$name\"\n"
    "        [ ${#batch} -lt 60000 ] || flush ;;\n"
    "    esac\n"
    "done\n"
    "flush\n";

/* LAB/NAME or deeper. What is told here comes from a guest, and goes into plans, names and messages. */
static bool is_path(const char *path) {
    char name[64];
    size_t names = 0;
    for (;; path++) {
        size_t n = strcspn(path, "/");
        if (n >= sizeof name)
            return false;
        memcpy(name, path, n);
        name[n] = '\0';
        if (!name_is_valid(name))
            return false;
        names++;
        path += n;
        if (!*path)
            return names > 1;
    }
}

static bool is_tag(const char *lab_id, const char *path) {
    return strlen(lab_id) == LAB_ID_LEN && strspn(lab_id, "0123456789abcdef") == LAB_ID_LEN && is_path(path);
}

static struct observed *find(struct observation *o, const char *name) {
    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->items[i].name, name) == 0)
            return &o->items[i];
    return NULL;
}

/* Whether a directory has the name its tag gives it: remove works on no other. */
static bool is_named(const char *name, const char *lab_id, const char *path) {
    cleanup_free char *wanted = machine_native_name(lab_id, path);
    return strcmp(name, wanted) == 0;
}

/* "D LAB PATH DIGEST STATE NAME". What is complete is only absent until its domain shows up further down; one that is
 * half made stays broken whatever its domain does. */
static void take_directory(struct observation *o, const char *line, size_t len) {
    char *copy = arena_strndup(&o->arena, line + 2, len - 2), *save = NULL;
    char *lab = strtok_r(copy, " ", &save), *path = strtok_r(NULL, " ", &save);
    char *digest = strtok_r(NULL, " ", &save), *state = strtok_r(NULL, " ", &save);
    char *name = strtok_r(NULL, " ", &save);
    if (!name || !is_tag(lab, path) || !is_named(name, lab, path))
        return;
    bool complete = strcmp(state, "complete") == 0;
    *observation_add(o) = (struct observed){.lab_id = lab,
                                            .path = path,
                                            .name = name,
                                            .digest = strcmp(digest, "-") == 0 ? "" : digest,
                                            .power = complete ? POWER_ABSENT : POWER_BROKEN};
}

static void take_domain(struct observation *o, const char *xml, size_t len) {
    struct domain_info info;
    if (domain_parse(xml, len, &o->arena, &info, NULL) || !is_tag(info.lab_id, info.path))
        return; /* of someone else, whose name only looks like ours */
    struct observed *item = find(o, info.name);
    bool half_made = item && item->power == POWER_BROKEN;
    if (!item)
        item = observation_add(o);
    enum power power = info.running ? POWER_ON : POWER_OFF;
    *item = (struct observed){.lab_id = info.lab_id,
                              .path = info.path,
                              .name = info.name,
                              .digest = info.digest,
                              .power = half_made ? POWER_BROKEN : power,
                              .exposed = info.exposed};
}

static void read_all(struct observation *o, const char *text, size_t len) {
    static const char start[] = "<domain ";
    const char *at = text, *end = text + len, *xml = NULL;
    while (at < end) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        const char *next = eol ? eol + 1 : end;
        size_t n = (size_t)((eol ? eol : end) - at);
        if (n >= sizeof start - 1 && memcmp(at, start, sizeof start - 1) == 0) {
            if (xml)
                take_domain(o, xml, (size_t)(at - xml));
            xml = at;
        } else if (!xml && n > 2 && memcmp(at, "D ", 2) == 0) {
            take_directory(o, at, n);
        }
        at = next;
    }
    if (xml)
        take_domain(o, xml, (size_t)(end - xml));
}

/* A disk without a domain is no machine. */
static void break_the_undefined(struct observation *o) {
    for (size_t i = 0; i < o->n; i++)
        if (o->items[i].power == POWER_ABSENT)
            o->items[i].power = POWER_BROKEN;
}

static void keep_lab(struct observation *o, const char *lab_id) {
    size_t kept = 0;
    for (size_t i = 0; i < o->n; i++)
        if (!lab_id || strcmp(o->items[i].lab_id, lab_id) == 0)
            o->items[kept++] = o->items[i];
    o->n = kept;
}

int libvirt_observe(struct hypervisor *hv, const char *lab_id, struct observation **ret, const struct context *ctx,
                    struct error *err) {
    cleanup_buffer struct buffer script = {0}, out = {0};
    script_begin(hv, &script);
    buffer_puts(&script, observe_script);
    if (script_run(hv, buffer_str(&script), NULL, 0, &out, ctx, err))
        return error_context(err, "looking at its machines");
    struct observation *o = xcalloc(1, sizeof *o);
    read_all(o, buffer_str(&out), out.len);
    break_the_undefined(o);
    keep_lab(o, lab_id);
    *ret = o;
    return 0;
}
