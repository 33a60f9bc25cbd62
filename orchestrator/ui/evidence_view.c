#include <string.h>

#include "ui/text.h"
#include "ui/ui.h"

#define OUTPUT_LINES 12

enum verdict { PASSED, DECIDED_AGAINST, INFORMS, NOT_RUN };

static enum verdict verdict_of(const struct probe *p) {
    return !p->ran ? NOT_RUN : p->ok ? PASSED : p->reason ? DECIDED_AGAINST : INFORMS;
}

static void put_verdict(const struct probe *p, const struct glyphs *g, bool color, struct buffer *out) {
    static const enum tint tints[] = {TINT_GOOD, TINT_BAD, TINT_WARN, TINT_DIM};
    static const char *const words[] = {"passed", "failed", "did not pass; told only", "did not run"};
    const char *const signs[] = {g->good, g->bad, g->warning, g->skipped};
    enum verdict v = verdict_of(p);
    buffer_printf(out, "  %s%s %-20s%s %s", tint(color, tints[v]), signs[v], p->name, tint_end(color), words[v]);
    if (p->reason && v != PASSED)
        buffer_printf(out, ": %s", p->reason);
    buffer_putc(out, '\n');
}

static void put_reason(const char *code, size_t width, bool utf8, bool color, struct buffer *out) {
    const struct reason *r = reason_find(code);
    if (!r)
        return;
    buffer_puts(out, "      ");
    text_put_wrapped(out, r->meaning, 6, 6, width, utf8);
    buffer_printf(out, "\n      %smend:%s ", tint(color, TINT_BOLD), tint_end(color));
    text_put_wrapped(out, r->mend, 12, 6, width, utf8);
    buffer_putc(out, '\n');
}

static void put_probe(const struct probe *p, const struct glyphs *g, size_t width, bool utf8, bool color,
                      struct buffer *out) {
    put_verdict(p, g, color, out);
    buffer_printf(out, "      %s", tint(color, TINT_DIM));
    buffer_puts(out, p->command[0] == '(' ? "" : "$ ");
    text_put_safe(out, p->command, TEXT_NO_LIMIT, utf8);
    buffer_printf(out, "%s\n", tint_end(color));
    text_put_block(out, p->output ? p->output : "", "      ", OUTPUT_LINES, utf8);
    if (verdict_of(p) != PASSED && p->reason)
        put_reason(p->reason, width, utf8, color, out);
}

void evidence_print(const char *path, const struct evidence *e, bool color, FILE *out) {
    char when[32];
    bool utf8 = terminal_is_utf8();
    const struct glyphs *g = glyphs_get(utf8);
    cleanup_buffer struct buffer text = {0};
    time_format(e->checked_at, when);
    buffer_puts(&text, tint(color, TINT_BOLD));
    text_put_safe(&text, path, TEXT_NO_LIMIT, utf8);
    buffer_printf(&text, "%s: %s", tint_end(color), tint(color, e->verified ? TINT_GOOD : TINT_BAD));
    if (e->verified)
        buffer_printf(&text, "verified%s%s", e->flag[0] ? ", it has " : "", e->flag);
    else
        buffer_printf(&text, "not verified: %s", e->reason ? e->reason : "unknown");
    buffer_printf(&text, "%s  %s(%s)%s\n", tint_end(color), tint(color, TINT_DIM), when, tint_end(color));
    for (size_t i = 0; i < e->nprobes; i++)
        put_probe(&e->probes[i], g, text_width(out), utf8, color, &text);
    fputs(buffer_str(&text), out);
}

/* --- JSON --- */

static json_t *mend_json(const char *code) {
    const struct reason *r = reason_find(code);
    return text_json_or_null(r ? r->mend : NULL);
}

static json_t *probe_json(const struct probe *p) {
    const char *reason = verdict_of(p) == PASSED ? NULL : p->reason;
    json_t *json = json_object();
    json_object_set_new(json, "name", json_string(p->name));
    json_object_set_new(json, "command", text_json(p->command));
    json_object_set_new(json, "output", text_json(p->output ? p->output : ""));
    json_object_set_new(json, "ran", json_boolean(p->ran));
    json_object_set_new(json, "ok", json_boolean(p->ok));
    json_object_set_new(json, "reason", text_json_or_null(reason));
    json_object_set_new(json, "mend", mend_json(reason));
    return json;
}

json_t *evidence_json(const char *path, const struct evidence *e) {
    char when[21];
    json_t *json = json_object(), *probes = json_array();
    clock_iso8601(e->checked_at, when);
    for (size_t i = 0; i < e->nprobes; i++)
        json_array_append_new(probes, probe_json(&e->probes[i]));
    json_object_set_new(json, "path", text_json(path));
    json_object_set_new(json, "verified", json_boolean(e->verified));
    json_object_set_new(json, "flag", text_json_or_null(e->flag));
    json_object_set_new(json, "reason", text_json_or_null(e->reason));
    json_object_set_new(json, "mend", mend_json(e->reason));
    json_object_set_new(json, "checked_at", json_string(when));
    json_object_set_new(json, "probes", probes);
    return json;
}
