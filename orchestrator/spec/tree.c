#include "spec/tree.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "spec/diagnostics.h"
#include "spec/index.h"
#include "spec/limits.h"
#include "spec/text.h"

/* A list or map that is still open; its children wait in `pending` from `first` on. */
struct frame {
    struct node *node;
    size_t first;
    uint32_t size_before; /* of the whole tree */
};

struct builder {
    const char *text;
    size_t len;
    yaml_parser_t parser;
    struct arena *arena;
    struct diagnostics *diags;
    struct index anchors;
    struct frame stack[SPEC_TREE_DEPTH_MAX];
    size_t depth;
    const struct node **pending;
    size_t npending, cap;
    uint32_t size;
    const struct node *root;
};

const char *node_kind_name(const struct node *node) {
    static const char *const names[] = {[NODE_SCALAR] = "a single value", [NODE_LIST] = "a list", [NODE_MAP] = "a map"};
    return node->null ? "nothing" : names[node->kind];
}

static struct origin origin_of(yaml_mark_t mark) { return (struct origin){(int)mark.line + 1, (int)mark.column + 1}; }

static int grow(struct builder *b, uint32_t by, struct origin at) {
    if (by > SPEC_NODES_MAX - b->size) {
        spec_error(b->diags, at, "the file holds more than %d values once its aliases are written out", SPEC_NODES_MAX);
        return -1;
    }
    b->size += by;
    return 0;
}

static void attach(struct builder *b, const struct node *node) {
    if (b->depth == 0) {
        b->root = node;
        return;
    }
    if (b->npending == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 256;
        b->pending = xrealloc(b->pending, b->cap * sizeof *b->pending);
    }
    b->pending[b->npending++] = node;
}

/* Types come from the key a value stands under, so a tag can only be one that changes nothing. */
static int check_tag(struct builder *b, const yaml_char_t *tag, struct origin at) {
    static const char core[] = "tag:yaml.org,2002:";
    if (tag && strncmp((const char *)tag, core, sizeof core - 1) != 0 && strcmp((const char *)tag, "!") != 0) {
        spec_error(b->diags, at, "the tag '%s' is not supported", text_excerpt(b->arena, (const char *)tag, 60));
        return -1;
    }
    return 0;
}

static struct node *node_new(struct builder *b, const yaml_event_t *event, enum node_kind kind,
                             const yaml_char_t *anchor, const yaml_char_t *tag) {
    struct origin at = origin_of(event->start_mark);
    if (check_tag(b, tag, at) < 0 || grow(b, 1, at) < 0)
        return NULL;
    struct node *node = arena_alloc(b->arena, sizeof *node);
    *node = (struct node){.kind = kind, .origin = at, .size = 1};
    if (anchor)
        index_put(&b->anchors, arena_strdup(b->arena, (const char *)anchor), node);
    return node;
}

static bool says_nothing(const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static int on_scalar(struct builder *b, const yaml_event_t *event) {
    struct node *node = node_new(b, event, NODE_SCALAR, event->data.scalar.anchor, event->data.scalar.tag);
    if (!node)
        return -1;
    node->n = event->data.scalar.length;
    node->text = arena_strndup(b->arena, (const char *)event->data.scalar.value, node->n);
    node->null = says_nothing(event);
    if (strlen(node->text) != node->n) {
        spec_error(b->diags, node->origin, "a text must not hold a NUL character");
        return -1;
    }
    attach(b, node);
    return 0;
}

static int on_alias(struct builder *b, const yaml_event_t *event) {
    const char *name = (const char *)event->data.alias.anchor;
    struct origin at = origin_of(event->start_mark);
    const struct node *target = index_find(&b->anchors, name);
    name = text_excerpt(b->arena, name, 60);
    if (!target) {
        spec_error(b->diags, at, "the alias '*%s' has no anchor '&%s' before it", name, name);
        return -1;
    }
    if (target->open) {
        spec_error(b->diags, at, "the alias '*%s' stands inside what it names (%d:%d): a spec cannot contain itself",
                   name, target->origin.line, target->origin.column);
        return -1;
    }
    if (grow(b, target->size, at) < 0)
        return -1;
    attach(b, target);
    return 0;
}

static int push(struct builder *b, struct node *node) {
    if (!node)
        return -1;
    if (b->depth == SPEC_TREE_DEPTH_MAX) {
        spec_error(b->diags, node->origin, "more than %d maps and lists stand inside each other", SPEC_TREE_DEPTH_MAX);
        return -1;
    }
    node->open = true;
    b->stack[b->depth++] = (struct frame){node, b->npending, b->size - 1};
    return 0;
}

static void pop(struct builder *b) {
    struct frame *f = &b->stack[--b->depth];
    size_t n = b->npending - f->first;
    const struct node **children = n ? b->pending + f->first : NULL; /* nothing may be pending yet at all */
    if (f->node->kind == NODE_MAP) {
        entries_make(f->node, children, n, b->arena, b->diags);
    } else {
        f->node->items = arena_alloc(b->arena, n * sizeof *children);
        f->node->n = n;
        for (size_t i = 0; i < n; i++)
            f->node->items[i] = children[i];
    }
    f->node->size = b->size - f->size_before;
    f->node->open = false;
    b->npending = f->first;
    attach(b, f->node);
}

static int on_document(struct builder *b, const yaml_event_t *event) {
    if (!b->root)
        return 0;
    struct diagnostic *found = spec_error(b->diags, origin_of(event->start_mark), "a second YAML document starts here");
    diagnostic_hint(found, "one file holds one lab: remove the '---' or split the file");
    return -1;
}

static int on_event(struct builder *b, const yaml_event_t *event) {
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return on_document(b, event);
    case YAML_ALIAS_EVENT:
        return on_alias(b, event);
    case YAML_SCALAR_EVENT:
        return on_scalar(b, event);
    case YAML_SEQUENCE_START_EVENT:
        return push(b,
                    node_new(b, event, NODE_LIST, event->data.sequence_start.anchor, event->data.sequence_start.tag));
    case YAML_MAPPING_START_EVENT:
        return push(b, node_new(b, event, NODE_MAP, event->data.mapping_start.anchor, event->data.mapping_start.tag));
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        pop(b);
        return 0;
    default:
        return 0;
    }
}

/* The byte a mark stands at; its index counts characters. 0 at the end. */
static char byte_at(const struct builder *b, yaml_mark_t mark) {
    for (size_t i = 0, left = mark.index; i < b->len; i++)
        if (((unsigned char)b->text[i] & 0xc0) != 0x80 && left-- == 0)
            return b->text[i];
    return 0;
}

/* libyaml says what it expected, which is seldom what to do. */
static const struct {
    const char *problem, *hint;
} hints[] = {
    {"mapping values are not allowed in this context",
     "put quotes around a text with ': ' in it, or check the indentation of this line"},
    {"did not find expected key", "check the indentation of this line and of those above it"},
    {"could not find expected ':'", "a key is followed by ':' and a space"},
    {"did not find expected ',' or '}'", "a '{' is not closed, or a ',' is missing"},
    {"did not find expected ',' or ']'", "a '[' is not closed, or a ',' is missing"},
    {"found unexpected end of stream", "a quote is not closed"},
    {"tab", "YAML indents with spaces only"},
    {"block sequence entries are not allowed in this context", "a spec is made of maps: remove the '-'"},
};

static const char *hint_for(const char *problem) {
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (strcmp(hints[i].problem, problem) == 0)
            return hints[i].hint;
    return "";
}

static void tell_syntax_error(struct builder *b) {
    const yaml_parser_t *p = &b->parser;
    struct origin at = origin_of(p->problem_mark), from = origin_of(p->context_mark);
    const char *problem = p->problem ? p->problem : "it cannot be read";
    struct diagnostic *found;
    if (byte_at(b, p->problem_mark) == '\t') {
        found = spec_error(b->diags, at, "a tab is used for indentation");
        problem = "tab";
    } else if (p->context && (from.line != at.line || from.column != at.column)) {
        found =
            spec_error(b->diags, at, "not valid YAML: %s %s (from %d:%d)", problem, p->context, from.line, from.column);
    } else {
        found = spec_error(b->diags, at, "not valid YAML: %s", problem);
    }
    diagnostic_hint(found, "%s", hint_for(problem));
}

static int build(struct builder *b) {
    for (bool done = false; !done;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&b->parser, &event)) {
            tell_syntax_error(b);
            return -1;
        }
        int failed = on_event(b, &event);
        done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (failed)
            return -1;
    }
    return 0;
}

const struct node *tree_parse(const char *text, size_t len, struct arena *arena, struct diagnostics *diags) {
    static const char byte_order_mark[] = "\xef\xbb\xbf"; /* libyaml skips it only where it guesses the encoding */
    if (len >= 3 && memcmp(text, byte_order_mark, 3) == 0) {
        text += 3;
        len -= 3;
    }
    struct builder b = {.text = text, .len = len, .arena = arena, .diags = diags};
    if (!yaml_parser_initialize(&b.parser)) {
        spec_error(diags, (struct origin){1, 1}, "there is not enough memory to read the file");
        return NULL;
    }
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, len);
    int failed = build(&b);
    if (!failed && !b.root)
        spec_error(diags, (struct origin){1, 1}, "the file is empty");
    yaml_parser_delete(&b.parser);
    index_free(&b.anchors);
    free(b.pending);
    return failed ? NULL : b.root;
}
