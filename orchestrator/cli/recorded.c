#include "cli/recorded.h"

struct walk {
    struct state *state;
    int (*fn)(void *data, const struct lab_record *lab, const struct lab_contents *contents, struct error *err);
    void *data;
    struct error *err;
    int failed;
};

static void visit(void *data, const struct lab_record *lab) {
    struct walk *w = data;
    struct lab_contents *contents = NULL;
    if (!w->failed)
        w->failed = state_lab_load(w->state, lab->id, &contents, w->err) || w->fn(w->data, lab, contents, w->err);
    lab_contents_free(contents);
}

int recorded_each(struct state *state,
                  int (*fn)(void *data, const struct lab_record *lab, const struct lab_contents *contents,
                            struct error *err),
                  void *data, struct error *err) {
    struct walk w = {.state = state, .fn = fn, .data = data, .err = err};
    return state_lab_each(state, visit, &w, err) || w.failed ? -1 : 0;
}
