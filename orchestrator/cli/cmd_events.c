#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/session.h"
#include "nestor/arena.h"
#include "plan/index.h"
#include "ui/text.h"
#include "ui/ui.h"

#define POLL_MS 500
#define DEFAULT_LIMIT 50

struct events_options {
    bool follow, json, all;
    unsigned limit;
};
static const struct option_spec options[] = {
    {"follow", 'f', OPTION_FLAG, offsetof(struct events_options, follow), NULL, "go on as things happen, until Ctrl-C"},
    {"limit", 'n', OPTION_NUMBER, offsetof(struct events_options, limit), "N", "the newest N entries (default 50)"},
    {"all", 'a', OPTION_FLAG, offsetof(struct events_options, all), NULL, "all entries"},
    {"json", 0, OPTION_FLAG, offsetof(struct events_options, json), NULL, "one JSON object a line"},
    {0},
};

/* Why a machine was last changed: the steps of one change share their reason, and only the first tells it. */
struct cause {
    int64_t run, entry; /* entry: the first of it */
    const char *reason;
};

/* A reading of the journal. Entries are seen twice if they were unfinished the first time. */
struct reading {
    const struct events_options *options;
    const char *lab; /* NULL: every lab */
    bool color, utf8;
    size_t width;        /* of the terminal */
    bool found;          /* there was an entry of it */
    size_t skip;         /* how many are too old to be shown */
    int64_t last;        /* greatest id so far */
    int64_t *unfinished; /* ids shown before they had an outcome, ascending */
    size_t nunfinished, cap;
    struct path_index changed; /* path -> its row in changes */
    struct cause *changes;
    size_t nchanges, changes_cap;
    struct arena arena; /* of the two */
};

/* --- one entry --- */

static enum tint tint_of(const char *outcome) {
    return strcmp(outcome, "done") == 0 ? TINT_GOOD : strcmp(outcome, "failed") == 0 ? TINT_BAD : TINT_WARN;
}

static struct cause *change_of(struct reading *r, const char *path) {
    uint32_t at = path_index_get(&r->changed, path);
    if (at != LAB_NONE)
        return &r->changes[at];
    if (r->nchanges == r->changes_cap) {
        r->changes_cap = r->changes_cap ? r->changes_cap * 2 : 64;
        r->changes = xrealloc(r->changes, r->changes_cap * sizeof *r->changes);
    }
    path_index_put(&r->changed, arena_strdup(&r->arena, path), (uint32_t)r->nchanges);
    r->changes[r->nchanges] = (struct cause){.reason = ""};
    return &r->changes[r->nchanges++];
}

static bool is_repeated(struct reading *r, const struct journal_record *j) {
    struct cause *c = change_of(r, j->path);
    if (c->run == j->run && strcmp(c->reason, j->reason) == 0)
        return c->entry != j->id;
    *c = (struct cause){j->run, j->id, arena_strdup(&r->arena, j->reason)};
    return false;
}

static void put_text(struct reading *r, const struct journal_record *j, struct buffer *out) {
    bool unfinished = j->ended_at == 0, repeated = is_repeated(r, j);
    const char *text = j->error[0] ? text_after_subject(j->error, j->path) : repeated ? "" : j->reason;
    char when[32];
    time_format(j->started_at / 1000, when);
    buffer_printf(out, "%s  %s", when, tint(r->color, tint_of(j->outcome)));
    text_put_padded(out, unfinished ? "begun" : j->outcome, 10, r->utf8);
    buffer_puts(out, tint_end(r->color));
    text_put_padded(out, j->step, 8, r->utf8);
    if (unfinished)
        buffer_puts(out, "        ");
    else
        buffer_printf(out, "%6.1fs ", (double)(j->ended_at - j->started_at) / 1000);
    buffer_putc(out, ' ');
    /* a host's steps say which lab they were for */
    bool of_host = !strchr(j->path, '/');
    cleanup_free char *line =
        xasprintf("%s%s%s%s%s", of_host ? j->lab : "", of_host ? " on " : "", j->path, text[0] ? ": " : "", text);
    text_put_hanging(out, line, strlen(when) + 29, r->width, r->utf8);
    buffer_putc(out, '\n');
}

static json_t *when_json(int64_t unix_ms) {
    char when[21];
    if (!unix_ms)
        return json_null();
    clock_iso8601(unix_ms / 1000, when);
    return json_string(when);
}

static void put_json(const struct journal_record *j, struct buffer *out) {
    json_t *json = json_object();
    json_object_set_new(json, "id", json_integer(j->id));
    json_object_set_new(json, "run", json_integer(j->run));
    json_object_set_new(json, "lab", text_json(j->lab));
    json_object_set_new(json, "verb", text_json(j->verb));
    json_object_set_new(json, "path", text_json(j->path));
    json_object_set_new(json, "step", text_json(j->step));
    json_object_set_new(json, "reason", text_json_or_null(j->reason));
    json_object_set_new(json, "outcome", text_json(j->outcome));
    json_object_set_new(json, "error", text_json_or_null(j->error));
    json_object_set_new(json, "started_at", when_json(j->started_at));
    json_object_set_new(json, "ended_at", when_json(j->ended_at));
    json_object_set_new(json, "elapsed_ms", j->ended_at ? json_integer(j->ended_at - j->started_at) : json_null());
    cleanup_free char *line = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII);
    buffer_printf(out, "%s\n", line ? line : "{}");
    json_decref(json);
}

/* --- reading --- */

/* Whether an entry has something new to tell. Keeps the list of the unfinished. */
static bool is_news(struct reading *r, const struct journal_record *j) {
    size_t at = 0;
    while (at < r->nunfinished && r->unfinished[at] != j->id)
        at++;
    bool known = at < r->nunfinished;
    if (!known && j->id <= r->last)
        return false;
    if (j->id > r->last)
        r->last = j->id;
    if (known && j->ended_at)
        memmove(&r->unfinished[at], &r->unfinished[at + 1], (--r->nunfinished - at) * sizeof *r->unfinished);
    if (!known && !j->ended_at) {
        if (r->nunfinished == r->cap) {
            r->cap = r->cap ? r->cap * 2 : 64;
            r->unfinished = xrealloc(r->unfinished, r->cap * sizeof *r->unfinished);
        }
        r->unfinished[r->nunfinished++] = j->id;
    }
    return !known || j->ended_at;
}

static bool is_asked_for(const struct reading *r, const struct journal_record *j) {
    return !r->lab || strcmp(r->lab, j->lab) == 0;
}

static void take_entry(void *data, const struct journal_record *j) {
    struct reading *r = data;
    cleanup_buffer struct buffer line = {0};
    if (!is_news(r, j) || !is_asked_for(r, j))
        return;
    r->found = true;
    if (r->skip) {
        r->skip--;
        return;
    }
    if (r->options->json)
        put_json(j, &line);
    else
        put_text(r, j, &line);
    fputs(buffer_str(&line), stdout);
}

static void count_entry(void *data, const struct journal_record *j) {
    struct reading *r = data;
    r->skip += is_asked_for(r, j);
}

/* Counted first, so that the reason of a change stands with the first entry that is shown. */
static int skip_all_but(struct reading *r, size_t limit, struct state *state, struct error *err) {
    if (state_journal_each(state, NULL, 0, 0, count_entry, r, err))
        return -1;
    r->skip = r->skip > limit ? r->skip - limit : 0;
    return 0;
}

static bool somebody_reads(void) { return fflush(stdout) == 0 && !ferror(stdout); }

static int read_journal(struct reading *r, struct state *state, struct error *err) {
    int64_t after = r->nunfinished ? r->unfinished[0] - 1 : r->last;
    return state_journal_each(state, NULL, after, 0, take_entry, r, err);
}

/* False when following is over: after Ctrl-C, or when the reader of a pipe has gone, which poll(2) tells unasked. */
static bool wait_for_more(const struct context *ctx) {
    struct pollfd out = {.fd = STDOUT_FILENO};
    struct error why = {0};
    return somebody_reads() && context_poll(ctx, &out, 1, POLL_MS, NULL, "following the journal", &why) == 0;
}

/* However it ends is how it is meant to end, so it is no failure. */
static int follow(struct reading *r, struct state *state, const struct context *ctx, struct error *err) {
    while (wait_for_more(ctx))
        if (read_journal(r, state, err))
            return -1;
    return NESTOR_DONE;
}

/* A lab that is gone has entries, one that is new is recorded: what has neither was never there. */
static int check_known(const struct reading *r, struct state *state, struct error *err) {
    struct lab_record *record = NULL;
    int failed = r->lab && !r->found ? state_lab_find(state, r->lab, &record, err) : 0;
    lab_record_free(record);
    return failed;
}

static int show(struct reading *r, struct state *state, const struct context *ctx, struct error *err) {
    size_t limit = r->options->limit ? r->options->limit : DEFAULT_LIMIT;
    int failed = (!r->options->all && skip_all_but(r, limit, state, err)) || read_journal(r, state, err) ||
                 check_known(r, state, err);
    int code = failed ? -1 : NESTOR_DONE;
    if (!failed && r->options->follow)
        code = follow(r, state, ctx, err);
    free(r->unfinished);
    free(r->changes);
    path_index_free(&r->changed);
    arena_free(&r->arena);
    return code;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    const char *home = nestor_home(err);
    cleanup_free char *lab = NULL;
    struct state *state = NULL;
    if (!home || (argc && lab_named(cli, argv[0], &lab, err)) || state_open(home, &cli->cancel, &state, err))
        return -1;
    struct reading r = {
        .options = opts, .lab = lab, .color = cli->color, .utf8 = terminal_is_utf8(), .width = text_width(stdout)};
    int code = show(&r, state, &cli->ctx, err);
    state_close(state);
    return code;
}

const struct cli_command cmd_events = {
    .name = "events",
    .summary = "Show the journal: what was done to a lab, when, why, and how it ended",
    .arguments = "[LAB]",
    .completes = ARGUMENT_LAB,
    .options = options,
    .options_size = sizeof(struct events_options),
    .min_args = 0,
    .max_args = 1,
    .details = "Without LAB: of all labs, those taken down included. An entry is written before its step begins, so\n"
               "'begun' without an end is a step that runs, or that was cut off.",
    .examples = "  nestor events quickstart\n"
                "  nestor events --follow\n"
                "  nestor events --all --json | jq -r 'select(.outcome == \"failed\") | .error'",
    .run = run,
};
