/* A YAML document as a tree of nodes that know where they stand. The only file that speaks to libyaml is tree.c.
 *
 * What the tree guarantees, so that nobody behind it has to ask: one document, at most SPEC_TREE_DEPTH_MAX deep and
 * SPEC_NODES_MAX nodes large with aliases written out, no cycles, map keys are scalars and unique, merge keys (<<) are
 * merged, no text holds a NUL. An alias is the very node it names: the tree is a DAG.
 */
#ifndef NESTOR_SPEC_TREE_H
#define NESTOR_SPEC_TREE_H

#include "nestor/lab.h"

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node;
struct entry {
    const struct node *key, *value;
};

struct node {
    enum node_kind kind;
    bool null; /* a scalar that says nothing: empty, ~ or null, unquoted */
    bool open; /* while it is being read: an alias to it would be a cycle */
    struct origin origin;
    uint32_t size; /* nodes in it, itself included, aliases written out */
    size_t n;
    union {
        const char *text;            /* n bytes */
        const struct node **items;   /* n nodes */
        const struct entry *entries; /* n entries */
    };
};

const char *node_kind_name(const struct node *node); /* "a map" */

/* The tree lives in the arena. NULL when the text is no such document, with the reasons in diags; duplicate keys are
 * told there too, but the tree is still given. */
const struct node *tree_parse(const char *text, size_t len, struct arena *arena, struct diagnostics *diags);

/* Turns n keys and values in turn (the children of a map) into entries, merging and refusing duplicates
 * (spec/entries.c). */
void entries_make(struct node *map, const struct node *const *children, size_t n, struct arena *arena,
                  struct diagnostics *diags);

#endif
