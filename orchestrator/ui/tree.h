/* Paths as a tree: in which order to draw them, and what stands in front of each name. */
#ifndef NESTOR_UI_TREE_H
#define NESTOR_UI_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "nestor/buffer.h"
#include "ui/text.h"

struct tree_node {
    uint32_t item;  /* index into the paths it was built from */
    uint32_t depth; /* 0 for a path whose parent is not among the paths */
    uint32_t after; /* node behind its last descendant */
    bool last;      /* of its siblings */
};
struct tree {
    struct tree_node *nodes; /* pre-order; siblings as they stood */
    size_t n;
};
void tree_build(const char *const *paths, size_t n, struct tree *ret);
void tree_free(struct tree *t);

/* "│  ├─ " for the node, nothing at depth 0. With `under`, for a further line beneath its name. */
void tree_put_prefix(const struct tree *t, size_t node, const struct glyphs *g, bool under, struct buffer *out);

#endif
