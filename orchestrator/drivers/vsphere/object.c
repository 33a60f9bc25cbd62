/* An object's properties, copied out of a reply into a small document: <o><p name="config.name">...</p></o>. Names are
 * kept without their namespace; of attributes only a reference's type and xsi:type mean something. */
#include "drivers/vsphere/vim_priv.h"

#include <string.h>

#define XSI_NAMESPACE "http://www.w3.org/2001/XMLSchema-instance"
#define X(s) ((const xmlChar *)(s))

struct vim_object object_new(const struct moref *ref) {
    struct vim_object o = {.ref = *ref, .doc = xmlNewDoc(X("1.0"))};
    xmlNode *root = xmlNewDocNode(o.doc, NULL, X("o"), NULL);
    xmlDocSetRootElement(o.doc, root);
    xmlNewNs(root, X(XSI_NAMESPACE), X("xsi"));
    return o;
}

struct vim_object object_copy(const struct vim_object *o) {
    return (struct vim_object){.ref = o->ref, .doc = xmlCopyDoc(o->doc, 1)};
}

void vim_object_free(struct vim_object *o) {
    if (!o)
        return;
    xmlFreeDoc(o->doc);
    *o = (struct vim_object){.doc = NULL};
}

/* --- copying --- */

static void copy_attributes(xmlNode *to, const xmlNode *from) {
    xmlNs *xsi = xmlDocGetRootElement(to->doc)->nsDef;
    for (const xmlAttr *a = from->properties; a; a = a->next) {
        bool typed = a->ns && xmlStrEqual(a->ns->href, X(XSI_NAMESPACE));
        if (xmlStrEqual(a->name, X("type")) && (typed || !a->ns) && a->children)
            xmlNewNsProp(to, typed ? xsi : NULL, X("type"), a->children->content);
    }
}

/* Depth was checked when the reply was read. */
static void copy_content(xmlNode *to, const xmlNode *from) {
    copy_attributes(to, from);
    for (const xmlNode *n = from->children; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE)
            copy_content(xmlAddChild(to, xmlNewDocNode(to->doc, NULL, n->name, NULL)), n);
        else if (n->type == XML_TEXT_NODE || n->type == XML_CDATA_SECTION_NODE)
            xmlAddChild(to, xmlNewDocText(to->doc, n->content));
}

/* --- properties --- */

static const xmlChar *name_of(const xmlNode *p) {
    for (const xmlAttr *a = p->properties; a; a = a->next)
        if (xmlStrEqual(a->name, X("name")))
            return a->children ? a->children->content : X("");
    return X("");
}

static xmlNode *find(const struct vim_object *o, const xmlChar *path) {
    xmlNode *p = o->doc ? xml_child(xmlDocGetRootElement(o->doc), NULL) : NULL;
    while (p && !xmlStrEqual(name_of(p), path))
        p = p->next;
    return p;
}

/* A property that was unset is <unset name="PATH">. */
static bool is_set(const xmlNode *p) { return xmlStrEqual(p->name, X("p")); }

xmlNode *vim_property(const struct vim_object *o, const char *path) {
    xmlNode *p = find(o, X(path));
    return p && is_set(p) ? p : NULL;
}

void object_put(struct vim_object *o, const char *path, const xmlNode *val) {
    xmlNode *old = find(o, X(path));
    if (old) {
        xmlUnlinkNode(old);
        xmlFreeNode(old);
    }
    xmlNode *p = xmlNewDocNode(o->doc, NULL, X(val ? "p" : "unset"), NULL);
    xmlAddChild(xmlDocGetRootElement(o->doc), p);
    xmlNewNsProp(p, NULL, X("name"), X(path));
    if (val)
        copy_content(p, val);
}

void object_merge(struct vim_object *o, struct vim_object *changes) {
    xmlNode *p = changes->doc ? xml_child(xmlDocGetRootElement(changes->doc), NULL) : NULL;
    for (; p; p = xml_next(p, NULL))
        object_put(o, (const char *)name_of(p), is_set(p) ? p : NULL);
    vim_object_free(changes);
}

/* --- from a reply --- */

/* What we may not see is told: a caller would take it for unset. What this server does not know is unset. vcsim says so
 * of a session that is over, too. */
static int read_missing(const struct moref *ref, xmlNode *missing, const char *subject, struct error *err) {
    xmlNode *fault = xml_child(xml_child(missing, "fault"), "fault");
    enum vim_fault kind = vim_fault_find(xml_type(fault) ? xml_type(fault) : "");
    char path[80], message[200];
    if (kind != VIM_NOT_AUTHENTICATED && kind != VIM_NO_PERMISSION)
        return 0;
    xml_text(xml_child(missing, "path"), path, sizeof path);
    xml_text(xml_child(xml_child(missing, "fault"), "localizedMessage"), message, sizeof message);
    vim_fault_error(fault, message, subject, err);
    return error_context(err, "reading %s of %s %s", path, ref->type, ref->id);
}

static int read_properties(struct vim_object *o, xmlNode *content, const char *subject, struct error *err) {
    char path[200];
    for (xmlNode *n = xml_child(content, NULL); n; n = xml_next(n, NULL)) {
        if (xmlStrEqual(n->name, X("missingSet")) && read_missing(&o->ref, n, subject, err))
            return -1;
        if (xmlStrEqual(n->name, X("propSet")) && xml_text(xml_child(n, "name"), path, sizeof path))
            object_put(o, path, xml_child(n, "val"));
    }
    return 0;
}

int object_read(xmlNode *content, const char *subject, struct vim_object *ret, struct error *err) {
    struct moref ref;
    if (!xml_ref(xml_child(content, "obj"), &ref))
        return error_set(err, ERR_PROTOCOL, subject, "the server does not tell which object it describes");
    *ret = object_new(&ref);
    if (read_properties(ret, content, subject, err) == 0)
        return 0;
    vim_object_free(ret);
    ret->ref = ref;
    return -1;
}
