/* From keys and values in a row to the entries of a map: merge keys resolved (yaml.org/type/merge.html), each key
 * once. */
#include <stdlib.h>
#include <string.h>

#include "spec/diagnostics.h"
#include "spec/text.h"
#include "spec/tree.h"

/* An entry and its rank: the lower wins. The map's own entries come before merged ones, and an earlier merged map
 * before a later one. */
struct ranked {
    struct entry entry;
    size_t rank;
};

struct entries {
    struct ranked *items;
    size_t n, cap, own;
};

static void append(struct entries *es, struct entry entry) {
    if (es->n == es->cap) {
        es->cap = es->cap ? 2 * es->cap : 16;
        es->items = xrealloc(es->items, es->cap * sizeof *es->items);
    }
    es->items[es->n] = (struct ranked){entry, es->n};
    es->n++;
}

static bool is_merge(const struct entry *e) { return strcmp(e->key->text, "<<") == 0; }

static void merge_map(struct entries *es, const struct node *map, struct diagnostics *diags) {
    if (map->kind != NODE_MAP) {
        struct diagnostic *found =
            spec_error(diags, map->origin, "'<<' merges maps, and this is %s", node_kind_name(map));
        diagnostic_hint(found, "write '<<: *anchor' with the anchor on a map");
        return;
    }
    for (size_t i = 0; i < map->n; i++)
        append(es, map->entries[i]);
}

static void merge(struct entries *es, const struct node *value, struct diagnostics *diags) {
    if (value->kind != NODE_LIST) {
        merge_map(es, value, diags);
        return;
    }
    for (size_t i = 0; i < value->n; i++)
        merge_map(es, value->items[i], diags);
}

static void collect(struct entries *es, const struct node *const *children, size_t n, struct diagnostics *diags) {
    for (size_t i = 0; i + 1 < n; i += 2) {
        if (children[i]->kind != NODE_SCALAR || children[i]->null)
            spec_error(diags, children[i]->origin, "a key must be a word, not %s", node_kind_name(children[i]));
        else
            append(es, (struct entry){children[i], children[i + 1]});
    }
    es->own = es->n;
    for (size_t i = 0; i < es->own; i++) {
        struct entry e = es->items[i].entry;
        if (is_merge(&e))
            merge(es, e.value, diags);
    }
}

static int by_key_then_rank(const void *pa, const void *pb) {
    const struct ranked *a = pa, *b = pb;
    int order = strcmp(a->entry.key->text, b->entry.key->text);
    return order ? order : (a->rank > b->rank) - (a->rank < b->rank);
}

static int by_rank(const void *pa, const void *pb) {
    const struct ranked *a = pa, *b = pb;
    return (a->rank > b->rank) - (a->rank < b->rank);
}

/* Sorting makes equal keys neighbours: a map of 100,000 machines is checked as quickly as one of ten. */
static void drop_duplicates(struct entries *es, struct diagnostics *diags) {
    size_t kept = 0;
    qsort(es->items, es->n, sizeof *es->items, by_key_then_rank);
    for (size_t i = 0; i < es->n; i++) {
        const struct ranked *item = &es->items[i], *last = kept ? &es->items[kept - 1] : NULL;
        if (!last || strcmp(last->entry.key->text, item->entry.key->text) != 0) {
            es->items[kept++] = *item;
        } else if (item->rank < es->own) {
            struct origin first = last->entry.key->origin;
            struct diagnostic *found =
                spec_error(diags, item->entry.key->origin, "duplicate key '%.100s'", item->entry.key->text);
            diagnostic_hint(found, "it is first used at %d:%d", first.line, first.column);
        }
    }
    es->n = kept;
    qsort(es->items, es->n, sizeof *es->items, by_rank);
}

void entries_make(struct node *map, const struct node *const *children, size_t n, struct arena *arena,
                  struct diagnostics *diags) {
    struct entries es = {0};
    collect(&es, children, n, diags);
    if (es.n > 1)
        drop_duplicates(&es, diags);
    struct entry *entries = arena_alloc(arena, es.n * sizeof *entries);
    map->n = 0;
    for (size_t i = 0; i < es.n; i++)
        if (!is_merge(&es.items[i].entry))
            entries[map->n++] = es.items[i].entry;
    map->entries = entries;
    free(es.items);
}
