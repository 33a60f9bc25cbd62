#include "nestor/lab.h"

struct names {
    const char **items;
    size_t n;
    bool *seen;
};

static void add_templates(struct names *names, const struct lab *lab, uint32_t host, bool nesting,
                          struct arena *arena) {
    for (size_t i = 0; i < lab->nmachines; i++) {
        const struct machine *m = &lab->machines[i];
        bool other = m->parent != LAB_NONE || m->host != host || (nesting && m->nesting == NESTING_OFF);
        if (other || names->seen[m->template])
            continue;
        names->seen[m->template] = true;
        names->items[names->n++] = arena_strdup(arena, lab->templates[m->template].name);
    }
}

const char *const *lab_templates_on(const struct lab *lab, uint32_t host, struct arena *arena, size_t *ret_n,
                                    size_t *ret_nesting) {
    cleanup_free bool *seen = xcalloc(lab->ntemplates + 1, sizeof *seen);
    struct names names = {.items = arena_alloc(arena, (lab->ntemplates + 1) * sizeof *names.items), .seen = seen};
    add_templates(&names, lab, host, true, arena);
    *ret_nesting = names.n;
    add_templates(&names, lab, host, false, arena);
    *ret_n = names.n;
    return names.items;
}
