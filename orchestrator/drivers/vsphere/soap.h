/* SOAP as the vSphere Web Services API speaks it (namespace urn:vim25): requests are written element by element in
 * the order of the WSDL, replies are read as a stream, one item at a time, so that a reply of a thousand objects is
 * never a tree in memory. libxml2's writer and reader; no entities, no DTD, no network. No session here: client.h.
 *
 * Facts: element order, xsi:type where a field's declared type is abstract or xsd:anyType, and the shape of faults are
 * those of VMware's vim25 WSDL (public as govmomi vim25/types).
 */
#ifndef DRIVERS_VSPHERE_SOAP_H
#define DRIVERS_VSPHERE_SOAP_H

#include <libxml/tree.h>
#include <stdbool.h>
#include <stdint.h>

#include "nestor/buffer.h"
#include "nestor/error.h"

/* A managed object reference: <obj type="VirtualMachine">vm-12</obj>. A plain value. */
struct moref {
    char type[40];
    char id[120];
};
#define MOREF_NONE ((struct moref){{0}, {0}})
static inline bool moref_is_set(const struct moref *m) { return m->id[0] != '\0'; }
bool moref_equal(const struct moref *a, const struct moref *b);
/* The owner frees items. */
struct moref_list {
    struct moref *items;
    size_t n;
};
void moref_list_add(struct moref_list *list, const struct moref *ref);

/* --- requests --- */

struct soap_request; /* one envelope being written; not shared between threads */

/* <method><_this type="...">...</_this>. The method is what the SOAPAction and messages name: static storage. */
struct soap_request *soap_new(const char *method, const struct moref *self);
void soap_free(struct soap_request *r); /* NULL-safe; the text is wiped: it may hold a password */
/* Wipes and frees the text already: only soap_method and soap_free may follow. */
void soap_forget(struct soap_request *r);
void soap_open(struct soap_request *r, const char *name);
void soap_open_as(struct soap_request *r, const char *name, const char *xsi_type);
void soap_close(struct soap_request *r);                                    /* the innermost open element */
void soap_text(struct soap_request *r, const char *name, const char *text); /* escaped */
void soap_flag(struct soap_request *r, const char *name, bool value);
void soap_number(struct soap_request *r, const char *name, int64_t value);
void soap_ref(struct soap_request *r, const char *name, const struct moref *ref);
/* <name xsi:type="xsd:string">: the value of an OptionValue and other xsd:anyType fields. */
void soap_any_text(struct soap_request *r, const char *name, const char *text);
const char *soap_method(const struct soap_request *r);
/* False: a text is not UTF-8 or has control characters, which XML cannot carry; or elements do not match. Such a
 * request is not sent (ERR_USAGE). */
bool soap_sound(const struct soap_request *r);
/* Closes what is open and gives the whole envelope; borrowed until soap_free. May be called again (a repeated call). */
const char *soap_envelope(struct soap_request *r, size_t *ret_len);

/* --- replies --- */

struct soap_reply; /* owns the body it reads from */

/* Takes over body (emptied). Reads up to the content of <METHODResponse>. -1: a <Fault> came (native is its enum
 * vim_fault, fault.h tells what that means), or ERR_PROTOCOL when it is no answer to that method: empty, cut, broken
 * (retry set), not SOAP, a DTD, deeper than 64 elements. Text in errors is bounded and printable. subject is the
 * hypervisor's, for errors; borrowed.
 */
int soap_read(struct buffer *body, const char *method, const char *subject, struct soap_reply **ret,
              struct error *err) NESTOR_CHECKED;
void soap_reply_free(struct soap_reply *r); /* NULL-safe */
#define cleanup_soap_reply __attribute__((cleanup(soap_reply_freep)))
void soap_reply_freep(struct soap_reply **r);

/* The next child element of the response (<returnval>, mostly), or of the container entered last, as a tree of its own.
 * 1: *ret is valid until the next call; 0: no more; -1: the rest is broken (ERR_PROTOCOL). */
int soap_next(struct soap_reply *r, xmlNode **ret, struct error *err) NESTOR_CHECKED;
/* Enters the response's first child instead of taking it whole, so that soap_next yields its children: the objects of a
 * RetrieveResult, the filter sets of an UpdateSet. 0: there is none (an empty reply). */
int soap_enter(struct soap_reply *r, struct error *err) NESTOR_CHECKED;

/* --- values in a reply: all NULL-safe, and what is missing or malformed gives the fallback --- */

xmlNode *xml_child(xmlNode *node, const char *name); /* the first child element of that name, or NULL */
xmlNode *xml_next(xmlNode *node, const char *name);  /* the next sibling element of that name; NULL name: any */
/* The text content, cut and made printable into out (always terminated). False: missing or longer than out. */
bool xml_text(xmlNode *node, char *out, size_t size);
/* The text content as it is; caller frees. NULL if the node is. For values that are compared or handed back. */
char *xml_text_new(xmlNode *node);
bool xml_is(xmlNode *node, const char *text); /* its text content is exactly that */
bool xml_flag(xmlNode *node, bool fallback);  /* "true" "1" "false" "0" */
int64_t xml_number(xmlNode *node, int64_t fallback);
bool xml_ref(xmlNode *node, struct moref *ret); /* false: no reference, or one that is too long */
/* Its xsi:type without the prefix, or NULL; borrowed from the node. */
const char *xml_type(const xmlNode *node);
bool xml_type_is(xmlNode *node, const char *xsi_type);

#endif
