#include "image/recipe.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/files.h"
#include "image/lines.h"
#include "nestor/identity.h"
#include "nestor/transport.h"

#define BUILD_TIMEOUT_MS ((int64_t)60 * 60 * 1000)

char *recipe_root(void) {
    const char *templates = getenv("NESTOR_TEMPLATES");
    return xasprintf("%s/images", templates && *templates ? templates : NESTOR_TEMPLATES_DIR);
}

char *recipe_find(const char *name) {
    cleanup_free char *root = recipe_root();
    cleanup_free char *script = xasprintf("%s/%s/build.sh", root, name);
    return file_exists(AT_FDCWD, script) ? xasprintf("%s/%s", root, name) : NULL;
}

static int by_name(const FTSENT **a, const FTSENT **b) { return strcmp((*a)->fts_name, (*b)->fts_name); }

static void close_walk(FTS **walk) {
    if (*walk)
        fts_close(*walk);
}

static int add_file(const FTSENT *e, const char *root, struct buffer *list, struct error *err) {
    char hash[65];
    if (e->fts_info == FTS_SL) {
        char target[4096];
        ssize_t n = readlink(e->fts_accpath, target, sizeof target);
        if (n < 0)
            return error_set_errno(err, errno, e->fts_path, "cannot read the link");
        sha256_hex(target, (size_t)n, hash);
    } else if (sha256_file(e->fts_accpath, hash, NULL, NULL, NULL, err)) {
        return -1;
    }
    const char *kind = e->fts_info == FTS_SL ? "link" : e->fts_statp->st_mode & S_IXUSR ? "program" : "file";
    buffer_printf(list, "%s %s %s\n", kind, hash, e->fts_path + strlen(root));
    return 0;
}

/* Of the root's folders only the recipe's own counts. */
static bool is_foreign(const FTSENT *e, const char *name) {
    return e->fts_level == 1 && e->fts_info == FTS_D && strcmp(e->fts_name, name) != 0;
}

int recipe_hash(const char *name, char out[65], struct error *err) {
    cleanup_free char *root = recipe_root();
    char *const roots[] = {root, NULL};
    __attribute__((cleanup(close_walk))) FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    if (!walk)
        return error_set_errno(err, errno, root, "cannot list the recipes");
    cleanup_buffer struct buffer list = {0};
    for (FTSENT *e; (e = fts_read(walk));) {
        if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS)
            return error_set_errno(err, e->fts_errno, e->fts_path, "cannot read the recipe");
        if (is_foreign(e, name))
            fts_set(walk, e, FTS_SKIP);
        else if ((e->fts_info == FTS_F || e->fts_info == FTS_SL) && add_file(e, root, &list, err))
            return -1;
    }
    sha256_hex(buffer_str(&list), list.len, out);
    return 0;
}

/* A number is all the process tells; its last line is usually the reason. */
static int report_failure(const char *name, int status, const struct lines *lines, struct error *err) {
    const char *last = lines_last(lines);
    return error_set(err, ERR_PROCESS, name, "the recipe ended with status %d: %s", status,
                     *last ? last : "it printed nothing");
}

int recipe_run(const char *name, const char *out, const char *work, const char *log, struct event_sink *sink,
               const struct context *ctx, struct error *err) {
    cleanup_free char *folder = recipe_find(name);
    if (!folder)
        return error_set(err, ERR_NOT_FOUND, name, "there is no recipe of that name");
    cleanup_free char *script = xasprintf("%s/build.sh", folder);
    /* One stream: two would lose which line was the last. */
    const char *const argv[] = {"sh", "-c", "exec env TMPDIR=\"$1\" sh \"$2\" \"$3\" 2>&1", "sh", work, script,
                                out,  NULL};
    struct context limited = context_timeout(ctx, BUILD_TIMEOUT_MS);
    __attribute__((cleanup(lines_end))) struct lines lines;
    if (lines_begin(&lines, log, sink, err))
        return -1;
    struct command io = COMMAND(NULL);
    io.out_fd = io.err_fd = lines.write_fd;
    cleanup_command_result struct command_result result = {0};
    int failed = process_run(argv, &io, &result, &limited, err);
    lines_finish(&lines);
    if (failed)
        return error_subject(err, name);
    return result.status ? report_failure(name, result.status, &lines, err) : 0;
}
