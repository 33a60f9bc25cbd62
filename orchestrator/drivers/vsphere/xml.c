/* Values in a reply. What is missing or malformed gives the fallback, so a caller reads a whole path without ifs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/soap.h"

#define XSI_NAMESPACE "http://www.w3.org/2001/XMLSchema-instance"
#define X(s) ((const xmlChar *)(s))

static bool is_element(const xmlNode *n, const char *name) {
    return n->type == XML_ELEMENT_NODE && (!name || xmlStrEqual(n->name, X(name)));
}

xmlNode *xml_child(xmlNode *node, const char *name) {
    xmlNode *n = node ? node->children : NULL;
    while (n && !is_element(n, name))
        n = n->next;
    return n;
}

xmlNode *xml_next(xmlNode *node, const char *name) {
    xmlNode *n = node ? node->next : NULL;
    while (n && !is_element(n, name))
        n = n->next;
    return n;
}

/* --- text --- */

char *xml_text_new(xmlNode *node) {
    if (!node)
        return NULL;
    xmlChar *content = xmlNodeGetContent(node);
    char *copy = xstrdup(content ? (char *)content : "");
    xmlFree(content);
    return copy;
}

/* The usual shapes need no copy: nothing, or one piece of text. */
static const char *simple_text(const xmlNode *node) {
    const xmlNode *n = node->children;
    if (!n)
        return "";
    return !n->next && n->type == XML_TEXT_NODE ? (const char *)n->content : NULL;
}

/* Runs `use` on the node's text; false for no node. */
static bool with_text(xmlNode *node, bool (*use)(const char *text, void *data), void *data) {
    if (!node)
        return false;
    const char *simple = simple_text(node);
    if (simple)
        return use(simple, data);
    cleanup_free char *copy = xml_text_new(node);
    return use(copy, data);
}

/* What a terminal would act upon: controls of ASCII, those of Latin-1 (two bytes), and what reorders text (three). 0: a
 * character that may be shown. The text is UTF-8: libxml2 saw to that. */
static size_t unprintable(const char *text) {
    const unsigned char *c = (const unsigned char *)text;
    if (c[0] < 0x20 || c[0] == 0x7f)
        return 1;
    if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
        return 2;
    if (c[0] == 0xe2 &&
        ((c[1] == 0x80 && c[2] >= 0xaa && c[2] <= 0xae) || (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9)))
        return 3;
    return 0;
}

static size_t length_of_character(const char *text) {
    size_t n = 1;
    while (((unsigned char)text[n] & 0xc0) == 0x80)
        n++;
    return n;
}

struct room {
    char *out;
    size_t size;
};

static bool put_printable(const char *text, void *data) {
    struct room *room = data;
    size_t at = 0;
    while (*text) {
        size_t bad = unprintable(text), n = bad ? bad : length_of_character(text), need = bad ? 1 : n;
        if (at + need >= room->size)
            break;
        memcpy(room->out + at, bad ? " " : text, need);
        at += need;
        text += n;
    }
    room->out[at] = '\0';
    return !*text;
}

bool xml_text(xmlNode *node, char *out, size_t size) {
    out[0] = '\0';
    return with_text(node, put_printable, &(struct room){out, size});
}

static bool equals(const char *text, void *data) { return strcmp(text, data) == 0; }

bool xml_is(xmlNode *node, const char *text) { return with_text(node, equals, (void *)text); }

/* --- simple types --- */

#define SPACE " \t\r\n"

/* The text without white space around it, as XML Schema has it for all simple types but strings; "" when it is too long
 * to be one. */
struct token {
    char text[32];
};

static bool trim(const char *text, void *data) {
    struct token *token = data;
    text += strspn(text, SPACE);
    size_t n = strlen(text);
    while (n > 0 && strchr(SPACE, text[n - 1]))
        n--;
    if (n == 0 || n >= sizeof token->text)
        return false;
    memcpy(token->text, text, n);
    token->text[n] = '\0';
    return true;
}

bool xml_flag(xmlNode *node, bool fallback) {
    struct token t;
    if (!with_text(node, trim, &t))
        return fallback;
    if (strcmp(t.text, "true") == 0 || strcmp(t.text, "1") == 0)
        return true;
    return strcmp(t.text, "false") == 0 || strcmp(t.text, "0") == 0 ? false : fallback;
}

int64_t xml_number(xmlNode *node, int64_t fallback) {
    struct token t;
    if (!with_text(node, trim, &t))
        return fallback;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(t.text, &end, 10);
    return errno || *end ? fallback : value;
}

/* --- attributes --- */

/* In that namespace, or in none (NULL). */
static const char *attribute(const xmlNode *node, const char *name, const char *namespace) {
    for (const xmlAttr *a = node->properties; a; a = a->next)
        if (xmlStrEqual(a->name, X(name)) && xmlStrEqual(a->ns ? a->ns->href : NULL, X(namespace)))
            return simple_text((const xmlNode *)a);
    return NULL;
}

static bool take_id(const char *text, void *data) {
    struct room *room = data;
    size_t n = strlen(text);
    if (n == 0 || n >= room->size)
        return false;
    for (const char *c = text; *c; c++)
        if (unprintable(c))
            return false;
    memcpy(room->out, text, n + 1);
    return true;
}

bool xml_ref(xmlNode *node, struct moref *ret) {
    const char *type = node ? attribute(node, "type", NULL) : NULL;
    struct moref ref = MOREF_NONE;
    if (!type || !take_id(type, &(struct room){ref.type, sizeof ref.type}) ||
        !with_text(node, take_id, &(struct room){ref.id, sizeof ref.id}))
        return false;
    *ret = ref;
    return true;
}

const char *xml_type(const xmlNode *node) {
    const char *type = node && node->type == XML_ELEMENT_NODE ? attribute(node, "type", XSI_NAMESPACE) : NULL;
    const char *colon = type ? strchr(type, ':') : NULL;
    return colon ? colon + 1 : type;
}

bool xml_type_is(xmlNode *node, const char *xsi_type) {
    const char *type = xml_type(node);
    return type && strcmp(type, xsi_type) == 0;
}
