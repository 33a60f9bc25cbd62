#include <inttypes.h>
#include <string.h>

#include "ui/text.h"
#include "ui/ui.h"

#define LONG_PLAN 100 /* machines: then the summary stands above the list, too */

static const struct {
    const char *sign;
    enum tint tint;
} marks[] = {
    [CHANGE_NONE] = {" ", TINT_NONE},    [CHANGE_CREATE] = {"+", TINT_GOOD},   [CHANGE_START] = {"~", TINT_WARN},
    [CHANGE_RESTART] = {"~", TINT_WARN}, [CHANGE_REPLACE] = {"-/+", TINT_BAD}, [CHANGE_REMOVE] = {"-", TINT_BAD},
    [CHANGE_CHECK] = {"?", TINT_NONE},
};
#define NCHANGES (sizeof marks / sizeof *marks)

/* The order of the summary. The first four are always told by `up`, the others only if there are any. */
static const enum change summary_order[] = {CHANGE_CREATE, CHANGE_START,   CHANGE_REPLACE,
                                            CHANGE_REMOVE, CHANGE_RESTART, CHANGE_CHECK};
#define ALWAYS_TOLD 4

static void count(const struct plan *plan, size_t counts[NCHANGES]) {
    memset(counts, 0, NCHANGES * sizeof *counts);
    for (size_t i = 0; i < plan->inventory->nrows; i++)
        counts[plan->changes[i]]++;
}

static size_t count_left(const struct plan *plan) {
    size_t n = 0;
    for (size_t i = 0; i < plan->inventory->nhosts; i++)
        n += plan->inventory->hosts[i].left;
    return n;
}

static void print_summary(const struct plan *plan, const size_t counts[NCHANGES], bool color, FILE *out) {
    const char *comma = "";
    size_t left = count_left(plan);
    bool up = strcmp(plan->verb, "up") == 0;
    fprintf(out, "%sPlan:%s ", tint(color, TINT_BOLD), tint_end(color));
    for (size_t i = 0; i < sizeof summary_order / sizeof *summary_order; i++) {
        enum change c = summary_order[i];
        if (!counts[c] && !(up && i < ALWAYS_TOLD))
            continue;
        fprintf(out, "%s%zu to %s", comma, counts[c], change_name(c));
        comma = ", ";
    }
    if (left)
        fprintf(out, "%s%zu host%s to forget", comma, left, left == 1 ? "" : "s");
    fputs(".\n", out);
}

/* "debian-kvm, 2 CPUs, 1GiB, libvirt, nesting required": what is going to be made. */
static void put_details(const struct inventory *inv, const struct row *row, struct buffer *out) {
    char memory[24];
    const struct machine *m = row->wanted;
    if (!m)
        return;
    size_format(m->memory, memory);
    buffer_printf(out, "%s, %" PRIu32 " CPU%s, %s", row->template, m->cpus, m->cpus == 1 ? "" : "s", memory);
    if (m->hypervisor)
        buffer_printf(out, ", %s", m->hypervisor);
    if (m->nesting != NESTING_OFF)
        buffer_printf(out, ", nesting %s", nesting_name(m->nesting));
    if (m->parent == LAB_NONE && inv->nhosts > 1)
        buffer_printf(out, ", on %s", inv->hosts[row->host].name);
}

struct columns {
    size_t path, change, reason;
};

static void widen(size_t *column, const char *text) {
    size_t n = text_columns(text);
    if (n > *column)
        *column = n;
}

static struct columns measure(const struct plan *plan) {
    struct columns c = {0};
    for (size_t i = 0; i < plan->inventory->nrows; i++) {
        if (plan->changes[i] == CHANGE_NONE)
            continue;
        widen(&c.path, plan->inventory->rows[i].path);
        widen(&c.change, change_name(plan->changes[i]));
        widen(&c.reason, plan->reasons[i]);
    }
    return c;
}

static void print_row(const struct plan *plan, size_t i, struct columns c, bool color, FILE *out) {
    const struct row *row = &plan->inventory->rows[i];
    enum change change = plan->changes[i];
    bool makes = change == CHANGE_CREATE || change == CHANGE_REPLACE, utf8 = terminal_is_utf8();
    cleanup_buffer struct buffer line = {0}, details = {0};
    buffer_printf(&line, "  %s%-3s%s ", tint(color, marks[change].tint), marks[change].sign, tint_end(color));
    text_put_padded(&line, row->path, c.path, utf8);
    buffer_printf(&line, "  %s", tint(color, marks[change].tint));
    text_put_padded(&line, change_name(change), c.change, utf8);
    buffer_printf(&line, "%s  ", tint_end(color));
    size_t column = 6 + c.path + 2 + c.change + 2;
    if (makes) {
        text_put_padded(&line, plan->reasons[i], c.reason, utf8);
        put_details(plan->inventory, row, &details);
        buffer_printf(&line, "  %s", tint(color, TINT_DIM));
        text_put_hanging(&line, buffer_str(&details), column + c.reason + 2, text_width(out), utf8);
        buffer_puts(&line, tint_end(color));
    } else {
        text_put_hanging(&line, plan->reasons[i], column, text_width(out), utf8);
    }
    fprintf(out, "%s\n", buffer_str(&line));
}

static void print_left(const struct inventory_host *host, bool color, FILE *out) {
    bool utf8 = terminal_is_utf8();
    cleanup_buffer struct buffer line = {0};
    buffer_printf(&line, "  %s-%s   host ", tint(color, TINT_BAD), tint_end(color));
    text_put_safe(&line, host->name, TEXT_NO_LIMIT, utf8);
    buffer_printf(&line, "  %sforget%s  no longer in the lab file", tint(color, TINT_BAD), tint_end(color));
    fprintf(out, "%s\n", buffer_str(&line));
}

void plan_print(const struct plan *plan, bool color, FILE *out) {
    const struct inventory *inv = plan->inventory;
    size_t counts[NCHANGES];
    if (plan->nchanges == 0) {
        fprintf(out, "Nothing to do: %s %s (%zu machine%s).\n", inv->lab_name,
                strcmp(plan->verb, "down") == 0 ? "has nothing left to remove" : "is as its lab file says", inv->nrows,
                inv->nrows == 1 ? "" : "s");
        return;
    }
    count(plan, counts);
    if (inv->nrows - counts[CHANGE_NONE] > LONG_PLAN) {
        print_summary(plan, counts, color, out);
        fputc('\n', out);
    }
    struct columns columns = measure(plan);
    for (size_t i = 0; i < inv->nrows; i++)
        if (plan->changes[i] != CHANGE_NONE)
            print_row(plan, i, columns, color, out);
    for (size_t i = 0; i < inv->nhosts; i++)
        if (inv->hosts[i].left)
            print_left(&inv->hosts[i], color, out);
    fputc('\n', out);
    print_summary(plan, counts, color, out);
}

/* --- JSON --- */

static json_t *summary_json(const struct plan *plan) {
    size_t counts[NCHANGES];
    json_t *summary = json_object();
    count(plan, counts);
    for (size_t i = 0; i < sizeof summary_order / sizeof *summary_order; i++)
        json_object_set_new(summary, change_name(summary_order[i]), json_integer((json_int_t)counts[summary_order[i]]));
    return summary;
}

static json_t *machines_json(const struct plan *plan) {
    json_t *machines = json_array();
    for (size_t i = 0; i < plan->inventory->nrows; i++) {
        const struct row *row = &plan->inventory->rows[i];
        json_t *m = json_object();
        json_object_set_new(m, "path", text_json(row->path));
        json_object_set_new(m, "level", json_integer(row->level));
        json_object_set_new(m, "change", json_string(change_name(plan->changes[i])));
        json_object_set_new(m, "reason", text_json_or_null(plan->changes[i] ? plan->reasons[i] : NULL));
        json_array_append_new(machines, m);
    }
    return machines;
}

static json_t *steps_json(const struct plan *plan) {
    const struct inventory *inv = plan->inventory;
    json_t *steps = json_array();
    for (size_t i = 0; i < plan->nsteps; i++) {
        const struct step *s = &plan->steps[i];
        json_t *step = json_object();
        json_object_set_new(step, "id", json_integer((json_int_t)i));
        json_object_set_new(step, "step", json_string(step_name(s->kind)));
        json_object_set_new(step, "on",
                            text_json(s->row != LAB_NONE ? inv->rows[s->row].path : inv->hosts[s->host].name));
        json_object_set_new(step, "reason", text_json_or_null(s->reason));
        json_object_set_new(step, "change", json_boolean(s->change));
        json_object_set_new(step, "waits_for", json_array());
        json_array_append_new(steps, step);
    }
    for (size_t i = 0; i < plan->nsteps; i++)
        for (uint32_t k = 0; k < plan->steps[i].nnext; k++) {
            json_t *waiting = json_array_get(steps, plan->next[plan->steps[i].first_next + k]);
            json_array_append_new(json_object_get(waiting, "waits_for"), json_integer((json_int_t)i));
        }
    return steps;
}

json_t *plan_json(const struct plan *plan) {
    json_t *json = json_object();
    json_object_set_new(json, "lab", text_json(plan->inventory->lab_name));
    json_object_set_new(json, "verb", json_string(plan->verb));
    json_object_set_new(json, "changes", json_boolean(plan->nchanges > 0));
    json_object_set_new(json, "summary", summary_json(plan));
    json_object_set_new(json, "machines", machines_json(plan));
    json_object_set_new(json, "steps", steps_json(plan));
    return json;
}
