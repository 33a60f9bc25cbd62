/* The tree as a picture: every hypervisor is a box, and what runs in it stands inside. Both formats nest the same
 * way, so the walk is one and the formats are two tables of functions. */
#include <stdlib.h>
#include <string.h>

#include "ui/tree.h"
#include "ui/ui.h"

struct label {
    const char *id; /* the machine's path, or the host's name */
    size_t number;  /* unique */
    const char *name, *kind, *template;
    const char *state; /* NULL: not known */
};

struct format {
    const char *name;
    void (*begin)(const char *lab, FILE *out);
    void (*open)(const struct label *l, int depth, FILE *out); /* a box that contains */
    void (*close)(int depth, FILE *out);
    void (*node)(const struct label *l, int depth, FILE *out);
    void (*end)(FILE *out);
    void (*paint)(const struct label *l, FILE *out); /* after the end, for each machine; may be NULL */
};

static const struct {
    const char *state, *fill, *line;
} paints[] = {
    {"running", "#e3f4e6", "#2e7d32"}, {"created", "#fff6dc", "#b28704"}, {"stopped", "#eeeeee", "#757575"},
    {"failed", "#fde4e1", "#c62828"},  {"absent", "#ffffff", "#bdbdbd"},
};
#define NPAINTS (sizeof paints / sizeof *paints)

static void indent(int depth, FILE *out) { fprintf(out, "%*s", 2 * depth, ""); }

/* --- dot: https://graphviz.org/doc/info/lang.html --- */

/* In a quoted string only the quote ends it, and a backslash begins an escape. */
static void dot_text(const char *text, FILE *out) {
    cleanup_buffer struct buffer safe = {0};
    text_put_safe(&safe, text, TEXT_NO_LIMIT, true);
    for (const char *c = buffer_str(&safe); *c; c++) {
        if (*c == '"' || *c == '\\')
            fputc('\\', out);
        fputc(*c, out);
    }
}

static void dot_label(const struct label *l, FILE *out) {
    const char *const parts[] = {l->name, l->kind, l->template, l->state};
    fputs("label=\"", out);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!parts[i] || !parts[i][0])
            continue;
        fputs(i ? "\\n" : "", out);
        dot_text(parts[i], out);
    }
    fputc('"', out);
}

static void dot_paint(const struct label *l, const char *separator, FILE *out) {
    for (size_t i = 0; l->state && i < NPAINTS; i++)
        if (strcmp(paints[i].state, l->state) == 0)
            fprintf(out, "%sfillcolor=\"%s\"%scolor=\"%s\"", separator, paints[i].fill, separator, paints[i].line);
}

static void dot_begin(const char *lab, FILE *out) {
    fputs("digraph \"", out);
    dot_text(lab, out);
    fputs("\" {\n"
          "  graph [fontname=\"sans-serif\" labeljust=l style=\"rounded,filled\" fillcolor=\"#fafafa\"]\n"
          "  node [fontname=\"sans-serif\" shape=box style=\"rounded,filled\" fillcolor=\"#ffffff\"]\n",
          out);
}

static void dot_open(const struct label *l, int depth, FILE *out) {
    indent(depth, out);
    fputs("subgraph \"cluster ", out);
    dot_text(l->id, out);
    fputs("\" {\n", out);
    indent(depth + 1, out);
    dot_label(l, out);
    dot_paint(l, "; ", out);
    fputc('\n', out);
}

static void dot_close(int depth, FILE *out) {
    indent(depth, out);
    fputs("}\n", out);
}

static void dot_node(const struct label *l, int depth, FILE *out) {
    indent(depth, out);
    fputc('"', out);
    dot_text(l->id, out);
    fputs("\" [", out);
    dot_label(l, out);
    dot_paint(l, " ", out);
    fputs("]\n", out);
}

static void dot_end(FILE *out) { fputs("}\n", out); }

/* --- mermaid: https://mermaid.js.org/syntax/flowchart.html --- */

/* Inside "..." quotes and brackets of HTML are written as character codes, "#quot;" and "#lt;". */
static void mermaid_text(const char *text, FILE *out) {
    cleanup_buffer struct buffer safe = {0};
    text_put_safe(&safe, text, TEXT_NO_LIMIT, true);
    for (const char *c = buffer_str(&safe); *c; c++) {
        const char *code = *c == '"' ? "#quot;" : *c == '<' ? "#lt;" : *c == '>' ? "#gt;" : *c == '#' ? "#35;" : NULL;
        if (code)
            fputs(code, out);
        else
            fputc(*c, out);
    }
}

static void mermaid_label(const struct label *l, FILE *out) {
    const char *const parts[] = {l->name, l->kind, l->template, l->state};
    fprintf(out, "m%zu[\"", l->number);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!parts[i] || !parts[i][0])
            continue;
        fputs(i ? "<br/>" : "", out);
        mermaid_text(parts[i], out);
    }
    fputs("\"]\n", out);
}

static void mermaid_begin(const char *lab, FILE *out) {
    fputs("---\ntitle: \"", out);
    mermaid_text(lab, out);
    fputs("\"\n---\nflowchart TB\n", out);
}

static void mermaid_open(const struct label *l, int depth, FILE *out) {
    indent(depth, out);
    fputs("subgraph ", out);
    mermaid_label(l, out);
}

static void mermaid_close(int depth, FILE *out) {
    indent(depth, out);
    fputs("end\n", out);
}

static void mermaid_node(const struct label *l, int depth, FILE *out) {
    indent(depth, out);
    mermaid_label(l, out);
}

static void mermaid_end(FILE *out) {
    for (size_t i = 0; i < NPAINTS; i++)
        fprintf(out, "  classDef %s fill:%s,stroke:%s\n", paints[i].state, paints[i].fill, paints[i].line);
}

static void mermaid_paint(const struct label *l, FILE *out) {
    if (l->state)
        fprintf(out, "  class m%zu %s\n", l->number, l->state);
}

static const struct format formats[] = {
    {"dot", dot_begin, dot_open, dot_close, dot_node, dot_end, NULL},
    {"mermaid", mermaid_begin, mermaid_open, mermaid_close, mermaid_node, mermaid_end, mermaid_paint},
};

/* --- the walk --- */

struct graph {
    const struct inventory *inv;
    const struct lab_view *view;
    const struct format *format;
    struct tree tree;
    FILE *out;
};

static const char *state_of(const struct graph *g, const char *path) {
    for (size_t i = 0; g->view && i < g->view->n; i++)
        if (strcmp(g->view->machines[i].path, path) == 0)
            return g->view->machines[i].state;
    return NULL;
}

static struct label label_of(const struct graph *g, uint32_t item) {
    const struct row *row = &g->inv->rows[item];
    return (struct label){.id = row->path,
                          .number = item,
                          .name = row->name,
                          .kind = row->hypervisor_name,
                          .template = row->template,
                          .state = state_of(g, row->path)};
}

/* Boxes are closed when the walk has left them: `open` is the stack of nodes behind the last machine of each. */
static void print_branches(const struct graph *g, uint32_t host) {
    uint32_t *open = xcalloc(g->tree.n + 1, sizeof *open);
    int depth = 0;
    for (size_t i = 0; i < g->tree.n; i++) {
        const struct tree_node *n = &g->tree.nodes[i];
        while (depth && open[depth - 1] <= i)
            g->format->close(1 + depth--, g->out);
        if (g->inv->rows[n->item].host != host)
            continue;
        struct label label = label_of(g, n->item);
        if (n->after == i + 1) {
            g->format->node(&label, 2 + depth, g->out);
            continue;
        }
        g->format->open(&label, 2 + depth, g->out);
        open[depth++] = n->after;
    }
    while (depth)
        g->format->close(1 + depth--, g->out);
    free(open);
}

static bool is_empty(const struct inventory *inv, uint32_t host) {
    for (size_t i = 0; i < inv->nrows; i++)
        if (inv->rows[i].host == host)
            return false;
    return true;
}

static void print_hosts(const struct graph *g) {
    const struct inventory *inv = g->inv;
    for (uint32_t h = 0; h < inv->nhosts; h++) {
        const struct inventory_host *host = &inv->hosts[h];
        struct label label = {
            .id = host->name, .number = inv->nrows + h, .name = host->name, .kind = host->driver->name};
        if (is_empty(inv, h))
            continue;
        g->format->open(&label, 1, g->out);
        print_branches(g, h);
        g->format->close(1, g->out);
    }
}

void graph_print(const struct inventory *inv, const struct lab_view *view, const char *format, FILE *out) {
    struct graph g = {.inv = inv, .view = view, .format = &formats[0], .out = out};
    const char **paths = xcalloc(inv->nrows, sizeof *paths);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, format) == 0)
            g.format = &formats[i];
    for (size_t i = 0; i < inv->nrows; i++)
        paths[i] = inv->rows[i].path;
    tree_build(paths, inv->nrows, &g.tree);
    free(paths);
    g.format->begin(inv->lab_name, out);
    print_hosts(&g);
    g.format->end(out);
    for (uint32_t i = 0; g.format->paint && i < inv->nrows; i++) {
        struct label label = label_of(&g, i);
        g.format->paint(&label, out);
    }
    tree_free(&g.tree);
}
