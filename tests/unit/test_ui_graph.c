#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan_fixture.h"
#include "ui/ui.h"
#include "ui_capture.h"

static const char spec[] =
    "lab: lab\n"
    "hosts: { a: { driver: fake }, b: { driver: fake } }\n"
    "machines:\n"
    "  kvm1:\n"
    "    host: a\n"
    "    template: debian-kvm\n"
    "    hypervisor: fake\n"
    "    memory: 2GiB\n"
    "    machines:\n"
    "      deep: { template: tiny, hypervisor: fake, memory: 1GiB, machines: { x: { template: tiny } } }\n"
    "  alone: { host: b, template: tiny }\n";

struct drawing {
    struct planned p;
    const struct lab_view *view;
    const char *format;
};

static void draw(void *data, FILE *out) {
    struct drawing *d = data;
    graph_print(d->p.inv, d->view, d->format, out);
}

static void expect(const char *format, const struct lab_view *view, const char *text) {
    struct drawing d = {.view = view, .format = format};
    plan_prepare(&d.p, spec, "");
    cleanup_free char *got = ui_capture(draw, &d);
    assert_string_equal(got, text);
    plan_release(&d.p);
}

static struct machine_view states[] = {{.path = "lab/kvm1", .state = "running"},
                                       {.path = "lab/alone", .state = "failed"}};
static const struct lab_view view = {.lab = "lab", .state = "failed", .machines = states, .n = 2};

/* The fixture records a host of its own, "local", without machines. */
static void dot_nests_a_cluster_for_each_hypervisor(void **state) {
    (void)state;
    expect("dot", &view,
           "digraph \"lab\" {\n"
           "  graph [fontname=\"sans-serif\" labeljust=l style=\"rounded,filled\" fillcolor=\"#fafafa\"]\n"
           "  node [fontname=\"sans-serif\" shape=box style=\"rounded,filled\" fillcolor=\"#ffffff\"]\n"
           "  subgraph \"cluster a\" {\n"
           "    label=\"a\\nfake\"\n"
           "    subgraph \"cluster lab/kvm1\" {\n"
           "      label=\"kvm1\\nfake\\ndebian-kvm\\nrunning\"; fillcolor=\"#e3f4e6\"; color=\"#2e7d32\"\n"
           "      subgraph \"cluster lab/kvm1/deep\" {\n"
           "        label=\"deep\\nfake\\ntiny\"\n"
           "        \"lab/kvm1/deep/x\" [label=\"x\\ntiny\"]\n"
           "      }\n"
           "    }\n"
           "  }\n"
           "  subgraph \"cluster b\" {\n"
           "    label=\"b\\nfake\"\n"
           "    \"lab/alone\" [label=\"alone\\ntiny\\nfailed\" fillcolor=\"#fde4e1\" color=\"#c62828\"]\n"
           "  }\n"
           "}\n");
}

static void mermaid_nests_a_subgraph_for_each_hypervisor(void **state) {
    (void)state;
    expect("mermaid", &view,
           "---\n"
           "title: \"lab\"\n"
           "---\n"
           "flowchart TB\n"
           "  subgraph m4[\"a<br/>fake\"]\n"
           "    subgraph m0[\"kvm1<br/>fake<br/>debian-kvm<br/>running\"]\n"
           "      subgraph m1[\"deep<br/>fake<br/>tiny\"]\n"
           "        m2[\"x<br/>tiny\"]\n"
           "      end\n"
           "    end\n"
           "  end\n"
           "  subgraph m5[\"b<br/>fake\"]\n"
           "    m3[\"alone<br/>tiny<br/>failed\"]\n"
           "  end\n"
           "  classDef running fill:#e3f4e6,stroke:#2e7d32\n"
           "  classDef created fill:#fff6dc,stroke:#b28704\n"
           "  classDef stopped fill:#eeeeee,stroke:#757575\n"
           "  classDef failed fill:#fde4e1,stroke:#c62828\n"
           "  classDef absent fill:#ffffff,stroke:#bdbdbd\n"
           "  class m0 running\n"
           "  class m3 failed\n");
}

/* Graphviz itself is the judge of its language. */
static void graphviz_takes_it(void **state) {
    (void)state;
    if (system("command -v dot >/dev/null") != 0)
        skip();
    struct drawing d = {.view = &view, .format = "dot"};
    plan_prepare(&d.p, spec, "");
    FILE *dot = popen("dot -Tplain >/dev/null 2>&1", "w");
    draw(&d, dot);
    assert_int_equal(pclose(dot), 0);
    plan_release(&d.p);
}

/* Names in a state database that somebody else wrote. */
static void hostile_names_stay_inside_their_quotes(void **state) {
    (void)state;
    struct drawing d = {.format = "dot"};
    plan_prepare(&d.p, spec, "");
    d.p.inv->rows[0].name = "\"];\\\033[2J<b>#";
    cleanup_free char *dot = ui_capture(draw, &d);
    d.format = "mermaid";
    cleanup_free char *mermaid = ui_capture(draw, &d);
    ui_assert_harmless(dot);
    ui_assert_harmless(mermaid);
    assert_non_null(strstr(dot, "label=\"\\\"];\\\\?[2J<b>#\\nfake"));
    assert_non_null(strstr(mermaid, "[\"#quot;];\\?[2J#lt;b#gt;#35;<br/>fake"));
    plan_release(&d.p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dot_nests_a_cluster_for_each_hypervisor),
        cmocka_unit_test(mermaid_nests_a_subgraph_for_each_hypervisor),
        cmocka_unit_test(graphviz_takes_it),
        cmocka_unit_test(hostile_names_stay_inside_their_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
