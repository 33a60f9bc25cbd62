/* Replies, read with libxml2's xmlTextReader: one item is a tree in memory, the whole never is.
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
#define DEPTH_MAX 64
#define X(s) ((const xmlChar *)(s))

struct soap_reply {
    struct buffer body;
    const char *method, *subject;
    xmlTextReader *reader;
    int level; /* depth of the element whose children soap_next gives */
    enum { BEFORE_ITEM, AT_ITEM, AT_END } at;
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

/* To the next child element of the one at depth `level`: 1; 0: that one ended; -1. `over`: the current element is
 * stepped over, not into. */
static int step(struct soap_reply *r, int level, bool over, struct error *err) {
    int rc = over ? xmlTextReaderNext(r->reader) : xmlTextReaderRead(r->reader);
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
    return xmlTextReaderIsEmptyElement(r->reader) ? 0 : step(r, level, false, err);
}

/* No deeper than allowed, and nothing but elements, text and comments. */
static bool is_plain(const xmlNode *node, int depth) {
    if (depth > DEPTH_MAX)
        return false;
    for (const xmlNode *n = node->children; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE ? !is_plain(n, depth + 1)
                                        : n->type != XML_TEXT_NODE && n->type != XML_CDATA_SECTION_NODE &&
                                              n->type != XML_COMMENT_NODE && n->type != XML_PI_NODE)
            return false;
    return true;
}

/* The element the reader stands at, as a tree. */
static int expand(struct soap_reply *r, xmlNode **ret, struct error *err) {
    xmlNode *node = xmlTextReaderExpand(r->reader);
    if (!node)
        return malformed(r, err);
    if (!is_plain(node, xmlTextReaderDepth(r->reader)))
        return error_set(err, ERR_PROTOCOL, r->subject, "the answer to %s is nested deeper than %d elements", r->method,
                         DEPTH_MAX);
    *ret = node;
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
    int rc = step(r, -1, false, err);
    if (rc < 0)
        return -1;
    if (rc == 0 || !is(r, "Envelope", SOAP_NAMESPACE))
        return not_soap(r, err);
    if (!is_whole(&r->body))
        return damaged(r, "cut", err);
    rc = step_in(r, 0, err);
    while (rc == 1 && !is(r, "Body", SOAP_NAMESPACE)) /* a header */
        rc = step(r, 0, true, err);
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
    r->at = xmlTextReaderIsEmptyElement(r->reader) ? AT_END : BEFORE_ITEM;
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
    buffer_free(&r->body);
    free(r);
}

void soap_reply_freep(struct soap_reply **r) { soap_reply_free(*r); }

/* --- items --- */

/* To the next item: 1, 0 or -1. */
static int advance(struct soap_reply *r, struct error *err) {
    if (r->at == AT_END)
        return 0;
    int rc = step(r, r->level, r->at == AT_ITEM, err);
    r->at = rc == 1 ? AT_ITEM : AT_END;
    return rc;
}

int soap_next(struct soap_reply *r, xmlNode **ret, struct error *err) {
    int rc = advance(r, err);
    if (rc != 1)
        return rc;
    if (expand(r, ret, err)) {
        r->at = AT_END;
        return -1;
    }
    return 1;
}

int soap_enter(struct soap_reply *r, struct error *err) {
    int rc = advance(r, err);
    if (rc != 1)
        return rc;
    r->level++;
    r->at = xmlTextReaderIsEmptyElement(r->reader) ? AT_END : BEFORE_ITEM;
    return 1;
}
