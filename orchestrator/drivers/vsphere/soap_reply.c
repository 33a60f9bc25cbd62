/* Replies, read with libxml2's xmlTextReader: one item is a tree in memory, the whole never is. The tree is built here,
 * node by node, and not by the reader: so it has an end, whatever comes.
 *
 * What comes is hostile. There is no DTD in SOAP, so one is refused before the parser sees it, and with it every entity
 * of its own; nothing is loaded from anywhere; libxml2 keeps its limits (no XML_PARSE_HUGE). */
#include <libxml/xmlreader.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/fault.h"
#include "drivers/vsphere/soap.h"

#define SOAP_NAMESPACE "http://schemas.xmlsoap.org/soap/envelope/"
#define XSI_NAMESPACE "http://www.w3.org/2001/XMLSchema-instance"
#define DEPTH_MAX 64
#define NODES_MAX 250000 /* of one item: some 40 MB */
#define X(s) ((const xmlChar *)(s))

struct soap_reply {
    struct buffer body;
    const char *method, *subject;
    xmlTextReader *reader;
    int level; /* depth of the element whose children soap_next gives */
    bool ended;
    xmlDoc *item;
    char why[128]; /* what the parser complained of first */
};

static void library_init(void) { xmlInitParser(); }

static void note(void *data, xmlError *e) {
    struct soap_reply *r = data;
    if (r->why[0] || !e || !e->message)
        return;
    snprintf(r->why, sizeof r->why, "%s", e->message);
    r->why[strcspn(r->why, "\n")] = '\0';
}

static int malformed(struct soap_reply *r, struct error *err) {
    error_set(err, ERR_PROTOCOL, r->subject, "the answer to %s is not well-formed XML%s%s", r->method,
              r->why[0] ? ": " : "", r->why);
    return error_retry(err);
}

static int damaged(struct soap_reply *r, const char *how, struct error *err) {
    error_set(err, ERR_PROTOCOL, r->subject, "the answer to %s is %s", r->method, how);
    return error_retry(err);
}

static int not_soap(struct soap_reply *r, struct error *err) {
    error_set(err, ERR_PROTOCOL, r->subject, "the answer to %s is not SOAP", r->method);
    return error_mend(err,
                      "check that the URL is the one of a vCenter or ESXi ('https://.../sdk'), not of something in "
                      "front of it");
}

/* --- before parsing --- */

static const char *skip_space(const char *c) { return c + strspn(c, " \t\r\n"); }

/* Where the root element begins, or a DTD; NULL: neither. Comments and processing instructions may stand before it. */
static const char *find_root(const char *c) {
    if (strncmp(c, "\xef\xbb\xbf", 3) == 0)
        c += 3;
    for (c = skip_space(c); c; c = c ? skip_space(c) : NULL) {
        if (strncmp(c, "<?", 2) == 0)
            c = (c = strstr(c, "?>")) ? c + 2 : NULL;
        else if (strncmp(c, "<!--", 4) == 0)
            c = (c = strstr(c + 4, "-->")) ? c + 3 : NULL;
        else
            return *c == '<' ? c : NULL;
    }
    return NULL;
}

/* A body that was cut is known by its end, before anything of it was used. */
static bool is_whole(const struct buffer *body) {
    static const char end[] = "Envelope>";
    size_t len = body->len;
    while (len > 0 && strchr(" \t\r\n", body->data[len - 1]))
        len--;
    return len >= sizeof end - 1 && memcmp(body->data + len - (sizeof end - 1), end, sizeof end - 1) == 0;
}

static int look_before(struct soap_reply *r, struct error *err) {
    const char *text = buffer_str(&r->body), *root = find_root(text);
    if (r->body.len > INT_MAX || strlen(text) != r->body.len)
        return malformed(r, err);
    if (!*skip_space(text))
        return damaged(r, "empty", err);
    if (root && strncmp(root, "<!", 2) == 0 && strncasecmp(root, "<!DOCTYPE html", 14) != 0)
        return error_set(err, ERR_PROTOCOL, r->subject, "the answer to %s has a DTD, which SOAP does not allow",
                         r->method);
    if (!root || strncmp(root, "<!", 2) == 0)
        return not_soap(r, err);
    return 0;
}

/* --- the reader --- */

static bool is(struct soap_reply *r, const char *name, const char *namespace) {
    return xmlStrEqual(xmlTextReaderConstLocalName(r->reader), X(name)) &&
           xmlStrEqual(xmlTextReaderConstNamespaceUri(r->reader), X(namespace));
}

/* To the next child element of the one at depth `level`: 1; 0: that one ended; -1. */
static int step(struct soap_reply *r, int level, struct error *err) {
    int rc = xmlTextReaderRead(r->reader);
    for (; rc == 1; rc = xmlTextReaderRead(r->reader)) {
        int type = xmlTextReaderNodeType(r->reader), depth = xmlTextReaderDepth(r->reader);
        if (type == XML_READER_TYPE_ELEMENT && depth == level + 1)
            return 1;
        if (type == XML_READER_TYPE_END_ELEMENT && depth <= level)
            return 0;
    }
    return malformed(r, err);
}

/* Steps into the element the reader stands at. */
static int step_in(struct soap_reply *r, int level, struct error *err) {
    return xmlTextReaderIsEmptyElement(r->reader) ? 0 : step(r, level, err);
}

/* --- an item's tree --- */

struct tree {
    xmlDoc *doc;
    xmlNs *xsi;
    xmlNode *open; /* the element that is being filled */
    int nodes;
};

static void copy_attributes(struct tree *t, xmlNode *to, const xmlNode *from) {
    for (const xmlAttr *a = from->properties; a; a = a->next) {
        bool typed = a->ns && xmlStrEqual(a->ns->href, X(XSI_NAMESPACE));
        if ((typed || !a->ns) && a->children && a->children->type == XML_TEXT_NODE && !a->children->next)
            xmlNewNsProp(to, typed ? t->xsi : NULL, a->name, a->children->content);
        t->nodes++;
    }
}

static void add_element(struct tree *t, xmlNode *from, bool is_empty) {
    xmlNode *node = xmlNewDocNode(t->doc, NULL, from->name, NULL);
    if (t->open) {
        xmlAddChild(t->open, node);
    } else {
        xmlDocSetRootElement(t->doc, node);
        t->xsi = xmlNewNs(node, X(XSI_NAMESPACE), X("xsi"));
    }
    copy_attributes(t, node, from);
    if (!is_empty || !t->open)
        t->open = node;
}

/* What the reader stands at; false: what does not belong into a reply. */
static bool add(struct tree *t, xmlTextReader *reader) {
    xmlNode *node = xmlTextReaderCurrentNode(reader);
    t->nodes++;
    switch (xmlTextReaderNodeType(reader)) {
    case XML_READER_TYPE_ELEMENT:
        add_element(t, node, xmlTextReaderIsEmptyElement(reader));
        return true;
    case XML_READER_TYPE_END_ELEMENT:
        t->open = t->open->parent;
        return true;
    case XML_READER_TYPE_TEXT:
    case XML_READER_TYPE_CDATA:
    case XML_READER_TYPE_WHITESPACE:
    case XML_READER_TYPE_SIGNIFICANT_WHITESPACE:
        xmlAddChild(t->open, xmlNewDocText(t->doc, node->content));
        return true;
    case XML_READER_TYPE_COMMENT:
    case XML_READER_TYPE_PROCESSING_INSTRUCTION:
        return true;
    default:
        return false;
    }
}

static int too_much(struct soap_reply *r, const char *fmt, int limit, struct error *err) {
    char what[80];
    snprintf(what, sizeof what, fmt, limit);
    return error_set(err, ERR_PROTOCOL, r->subject, "the answer to %s %s", r->method, what);
}

/* The element the reader stands at, with all that is in it; the reader stands at its end then. */
static int build(struct soap_reply *r, struct tree *t, struct error *err) {
    int level = xmlTextReaderDepth(r->reader), rc = 1;
    bool is_empty = xmlTextReaderIsEmptyElement(r->reader);
    add(t, r->reader);
    while (!is_empty && (rc = xmlTextReaderRead(r->reader)) == 1) {
        int depth = xmlTextReaderDepth(r->reader);
        if (depth == level)
            return 0;
        if (depth > DEPTH_MAX)
            return too_much(r, "is nested deeper than %d elements", DEPTH_MAX, err);
        if (t->nodes > NODES_MAX)
            return too_much(r, "has an item of more than %d nodes", NODES_MAX, err);
        if (!add(t, r->reader))
            break;
    }
    return is_empty ? 0 : malformed(r, err);
}

/* The same as a document of its own, which is the reply's until the next one. */
static int expand(struct soap_reply *r, xmlNode **ret, struct error *err) {
    xmlFreeDoc(r->item);
    struct tree t = {.doc = r->item = xmlNewDoc(X("1.0"))};
    if (build(r, &t, err))
        return -1;
    *ret = xmlDocGetRootElement(r->item);
    return 0;
}

static int read_fault(struct soap_reply *r, struct error *err) {
    xmlNode *fault = NULL;
    char message[400];
    if (expand(r, &fault, err))
        return -1;
    xml_text(xml_child(fault, "faultstring"), message, sizeof message);
    xmlNode *detail = xml_child(fault, "detail");
    return vim_fault_error(xml_child(detail, NULL), message, r->subject, err);
}

/* Stops at the element inside <Body>. */
static int find_body(struct soap_reply *r, struct error *err) {
    int rc = step(r, -1, err);
    if (rc < 0)
        return -1;
    if (rc == 0 || !is(r, "Envelope", SOAP_NAMESPACE))
        return not_soap(r, err);
    if (!is_whole(&r->body))
        return damaged(r, "cut", err);
    rc = step_in(r, 0, err);
    while (rc == 1 && !is(r, "Body", SOAP_NAMESPACE)) /* a header */
        rc = step(r, 0, err);
    if (rc == 1)
        rc = step_in(r, 1, err);
    return rc < 0 ? -1 : rc == 0 ? not_soap(r, err) : 0;
}

static int find_response(struct soap_reply *r, struct error *err) {
    if (look_before(r, err))
        return -1;
    r->reader = xmlReaderForMemory(r->body.data, (int)r->body.len, NULL, "UTF-8",
                                   XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    if (!r->reader)
        return error_set(err, ERR_INTERNAL, r->subject, "libxml2 cannot be started");
    xmlTextReaderSetStructuredErrorHandler(r->reader, note, r);
    if (find_body(r, err))
        return -1;
    if (is(r, "Fault", SOAP_NAMESPACE))
        return read_fault(r, err);
    const char *name = (const char *)xmlTextReaderConstLocalName(r->reader);
    size_t len = strlen(r->method);
    if (strncmp(name, r->method, len) != 0 || strcmp(name + len, "Response") != 0)
        return error_set(err, ERR_PROTOCOL, r->subject, "the answer to %s is a '%.60s'", r->method, name);
    r->level = xmlTextReaderDepth(r->reader);
    r->ended = xmlTextReaderIsEmptyElement(r->reader);
    return 0;
}

int soap_read(struct buffer *body, const char *method, const char *subject, struct soap_reply **ret,
              struct error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_init);
    cleanup_soap_reply struct soap_reply *r = xcalloc(1, sizeof *r);
    *r = (struct soap_reply){.body = *body, .method = method, .subject = subject};
    *body = (struct buffer){.max = body->max};
    if (find_response(r, err))
        return -1;
    *ret = steal_ptr(&r);
    return 0;
}

void soap_reply_free(struct soap_reply *r) {
    if (!r)
        return;
    xmlFreeTextReader(r->reader);
    xmlFreeDoc(r->item);
    buffer_free(&r->body);
    free(r);
}

void soap_reply_freep(struct soap_reply **r) { soap_reply_free(*r); }

/* --- items --- */

/* To the next item: 1, 0 or -1. */
static int advance(struct soap_reply *r, struct error *err) {
    if (r->ended)
        return 0;
    int rc = step(r, r->level, err);
    r->ended = rc != 1;
    return rc;
}

int soap_next(struct soap_reply *r, xmlNode **ret, struct error *err) {
    int rc = advance(r, err);
    if (rc != 1)
        return rc;
    if (expand(r, ret, err)) {
        r->ended = true;
        return -1;
    }
    return 1;
}

int soap_enter(struct soap_reply *r, struct error *err) {
    int rc = advance(r, err);
    if (rc != 1)
        return rc;
    r->level++;
    r->ended = xmlTextReaderIsEmptyElement(r->reader);
    return 1;
}
