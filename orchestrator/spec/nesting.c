#include "nestor/lab.h"

const char *const *lab_nesting_templates(const struct lab *lab, uint32_t host, struct arena *arena, size_t *ret_n) {
    const char **names = arena_alloc(arena, (lab->ntemplates + 1) * sizeof *names);
    cleanup_free bool *seen = xcalloc(lab->ntemplates + 1, sizeof *seen);
    size_t n = 0;
    for (size_t i = 0; i < lab->nmachines; i++) {
        const struct machine *m = &lab->machines[i];
        if (m->parent != LAB_NONE || m->host != host || m->nesting == NESTING_OFF || seen[m->template])
            continue;
        seen[m->template] = true;
        names[n++] = arena_strdup(arena, lab->templates[m->template].name);
    }
    *ret_n = n;
    return names;
}
