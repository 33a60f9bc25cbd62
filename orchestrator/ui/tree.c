#include "ui/tree.h"

#include <stdlib.h>
#include <string.h>

#include "plan/index.h"

struct family {
    uint32_t parent, first_child, last_child, next_sibling; /* LAB_NONE: none */
};

static uint32_t find_parent(const struct path_index *index, const char *path) {
    const char *slash = strrchr(path, '/');
    cleanup_free char *parent = slash ? xstrndup(path, (size_t)(slash - path)) : NULL;
    return parent ? path_index_get(index, parent) : LAB_NONE;
}

static struct family *find_families(const char *const *paths, size_t n) {
    struct family *f = xcalloc(n + 1, sizeof *f); /* the last one holds those without parent */
    struct path_index index = {0};
    for (size_t i = 0; i <= n; i++)
        f[i] = (struct family){LAB_NONE, LAB_NONE, LAB_NONE, LAB_NONE};
    for (size_t i = 0; i < n; i++)
        path_index_put(&index, paths[i], (uint32_t)i);
    for (size_t i = 0; i < n; i++) {
        f[i].parent = find_parent(&index, paths[i]);
        struct family *parent = &f[f[i].parent == LAB_NONE ? n : f[i].parent];
        if (parent->last_child == LAB_NONE)
            parent->first_child = (uint32_t)i;
        else
            f[parent->last_child].next_sibling = (uint32_t)i;
        parent->last_child = (uint32_t)i;
    }
    path_index_free(&index);
    return f;
}

/* Down to the first child, else on to the next sibling of the nearest one that has any. No recursion: depth is the
 * user's. */
void tree_build(const char *const *paths, size_t n, struct tree *ret) {
    struct family *f = find_families(paths, n);
    struct tree t = {.nodes = xcalloc(n, sizeof *t.nodes)};
    uint32_t *node_of = xcalloc(n, sizeof *node_of);
    uint32_t at = f[n].first_child, depth = 0;
    while (at != LAB_NONE) {
        node_of[at] = (uint32_t)t.n;
        t.nodes[t.n++] = (struct tree_node){.item = at, .depth = depth, .last = f[at].next_sibling == LAB_NONE};
        if (f[at].first_child != LAB_NONE) {
            at = f[at].first_child;
            depth++;
            continue;
        }
        for (;;) {
            t.nodes[node_of[at]].after = (uint32_t)t.n;
            if (f[at].next_sibling != LAB_NONE || f[at].parent == LAB_NONE)
                break;
            at = f[at].parent;
            depth--;
        }
        at = f[at].next_sibling;
    }
    free(node_of);
    free(f);
    *ret = t;
}

void tree_free(struct tree *t) {
    free(t->nodes);
    *t = (struct tree){0};
}

/* The ancestors are found backwards: the nearest earlier node of each smaller depth. */
static bool ancestor_is_last(const struct tree *t, size_t node, uint32_t depth) {
    while (t->nodes[node].depth > depth)
        node--;
    return t->nodes[node].last;
}

void tree_put_prefix(const struct tree *t, size_t node, const struct glyphs *g, bool under, struct buffer *out) {
    const struct tree_node *n = &t->nodes[node];
    for (uint32_t d = 1; d < n->depth; d++)
        buffer_puts(out, ancestor_is_last(t, node, d) ? g->blank : g->pipe);
    if (n->depth)
        buffer_puts(out, under ? n->last ? g->blank : g->pipe : n->last ? g->corner : g->branch);
    if (under && n->after > node + 1)
        buffer_puts(out, g->pipe);
    else if (under)
        buffer_puts(out, g->blank);
}
