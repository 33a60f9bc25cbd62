/* Requests. Written into memory of our own and not with libxml2's writer, because that one leaves unwiped copies of
 * what it escapes, and a Login carries a password. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/soap.h"

#define DEPTH_MAX 32

struct soap_request {
    const char *method;
    char *text;
    size_t len, cap;
    struct { /* where in the text the name of an open element stands */
        size_t at, len;
    } open[DEPTH_MAX];
    size_t depth;
    bool closed, broken;
};

static const char head[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                           "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\""
                           " xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\""
                           " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>";
static const char tail[] = "</soapenv:Body></soapenv:Envelope>\n";

static void reserve(struct soap_request *r, size_t n) {
    if (r->cap - r->len > n)
        return;
    size_t cap = r->cap ? r->cap : 1024;
    while (cap - r->len <= n)
        cap *= 2;
    char *fresh = xmalloc(cap);
    if (r->text) {
        memcpy(fresh, r->text, r->len);
        explicit_bzero(r->text, r->len);
        free(r->text);
    }
    r->text = fresh;
    r->cap = cap;
}

static void put(struct soap_request *r, const char *bytes, size_t n) {
    reserve(r, n);
    memcpy(r->text + r->len, bytes, n);
    r->len += n;
    r->text[r->len] = '\0';
}

static void put_string(struct soap_request *r, const char *s) { put(r, s, strlen(s)); }

/* The characters that mean something in text or in an attribute; and those a parser would change into others. */
static const char *escape(unsigned char c) {
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\r':
        return "&#13;";
    default:
        return NULL;
    }
}

/* The bytes of the UTF-8 character at c; 0: it is none, or a control character, which XML 1.0 has no way to write. */
static size_t character(const unsigned char *c) {
    if (c[0] < 0x80)
        return c[0] >= 0x20 || c[0] == '\t' || c[0] == '\n' || c[0] == '\r';
    size_t n = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
    uint32_t code = c[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((c[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (c[i] & 0x3fu);
    }
    static const uint32_t least[] = {[2] = 0x80, [3] = 0x800, [4] = 0x10000};
    bool fits = c[0] >= 0xc2 && c[0] <= 0xf4 && code >= least[n] && code <= 0x10ffff;
    return fits && (code < 0xd800 || code > 0xdfff) && code != 0xfffe && code != 0xffff ? n : 0;
}

static bool can_be_written(const char *text) {
    size_t n = 1;
    for (const unsigned char *c = (const unsigned char *)text; *c && n > 0; c += n)
        n = character(c);
    return n > 0;
}

static void put_escaped(struct soap_request *r, const char *text) {
    if (!can_be_written(text)) {
        r->broken = true;
        return;
    }
    const char *from = text;
    for (const char *c = text; *c; c++) {
        const char *instead = escape((unsigned char)*c);
        if (!instead)
            continue;
        put(r, from, (size_t)(c - from));
        put_string(r, instead);
        from = c + 1;
    }
    put_string(r, from);
}

/* "<name", left open for attributes. */
static void begin(struct soap_request *r, const char *name) {
    if (r->closed || r->depth == DEPTH_MAX) {
        r->broken = true;
        return;
    }
    put(r, "<", 1);
    r->open[r->depth].at = r->len;
    r->open[r->depth++].len = strlen(name);
    put_string(r, name);
}

static void put_attribute(struct soap_request *r, const char *name, const char *value) {
    put(r, " ", 1);
    put_string(r, name);
    put(r, "=\"", 2);
    put_escaped(r, value);
    put(r, "\"", 1);
}

struct soap_request *soap_new(const char *method, const struct moref *self) {
    struct soap_request *r = xcalloc(1, sizeof *r);
    r->method = method;
    put(r, head, sizeof head - 1);
    begin(r, method);
    put_attribute(r, "xmlns", "urn:vim25");
    put(r, ">", 1);
    soap_ref(r, "_this", self);
    return r;
}

void soap_forget(struct soap_request *r) {
    if (r->text)
        explicit_bzero(r->text, r->len);
    free(steal_ptr(&r->text));
    r->len = r->cap = 0;
    r->broken = true;
}

void soap_free(struct soap_request *r) {
    if (!r)
        return;
    soap_forget(r);
    free(r);
}

void soap_open(struct soap_request *r, const char *name) {
    begin(r, name);
    put(r, ">", 1);
}

void soap_open_as(struct soap_request *r, const char *name, const char *xsi_type) {
    begin(r, name);
    put_attribute(r, "xsi:type", xsi_type);
    put(r, ">", 1);
}

static void end(struct soap_request *r) {
    size_t len = r->open[--r->depth].len;
    reserve(r, len + 3);
    put(r, "</", 2);
    put(r, r->text + r->open[r->depth].at, len);
    put(r, ">", 1);
}

void soap_close(struct soap_request *r) {
    if (r->depth > 1) /* the first is the method: soap_envelope closes it */
        end(r);
    else
        r->broken = true;
}

void soap_text(struct soap_request *r, const char *name, const char *text) {
    soap_open(r, name);
    put_escaped(r, text);
    soap_close(r);
}

void soap_flag(struct soap_request *r, const char *name, bool value) { soap_text(r, name, value ? "true" : "false"); }

void soap_number(struct soap_request *r, const char *name, int64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    soap_text(r, name, text);
}

void soap_ref(struct soap_request *r, const char *name, const struct moref *ref) {
    begin(r, name);
    put_attribute(r, "type", ref->type);
    put(r, ">", 1);
    put_escaped(r, ref->id);
    soap_close(r);
}

void soap_any_text(struct soap_request *r, const char *name, const char *text) {
    soap_open_as(r, name, "xsd:string");
    put_escaped(r, text);
    soap_close(r);
}

const char *soap_method(const struct soap_request *r) { return r->method; }

bool soap_sound(const struct soap_request *r) { return !r->broken; }

const char *soap_envelope(struct soap_request *r, size_t *ret_len) {
    if (!r->closed) {
        while (r->depth > 0)
            end(r);
        put(r, tail, sizeof tail - 1);
        r->closed = true;
    }
    *ret_len = r->len;
    return r->text;
}

bool moref_equal(const struct moref *a, const struct moref *b) {
    return strcmp(a->id, b->id) == 0 && strcmp(a->type, b->type) == 0;
}

void moref_list_add(struct moref_list *list, const struct moref *ref) {
    list->items = xrealloc(list->items, (list->n + 1) * sizeof *list->items);
    list->items[list->n++] = *ref;
}
