/* Parsing for the tests of the spec: with drivers of their own, so that they do not hang on what nestor can drive. */
#ifndef SPEC_LAB_H
#define SPEC_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>

#include "../../orchestrator/spec/parse.h"

/* "kvm" hosts and guests, with parameters; "metal" hosts only; "inner" guests only; "qemu" and "libvirt" as nestor's
 * own, without parameters; "remote" is spoken to at its address and has templates, a secret, and everything else. */
extern const struct driver_list spec_test_drivers;

/* The lab of a text that must have no finding at all. Free with lab_free. */
struct lab *spec_good(const char *text);
/* As spec_good, but these warnings are expected. */
struct lab *spec_warned(const char *text, const char *const *findings, size_t n);

/* The text must be refused with exactly these findings, each "line:column: error: text; hint", and its error must be
 * ERR_SPEC about the first of them. */
void spec_refused(const char *text, size_t len, const char *const *findings, size_t n);
#define assert_refused(text, ...)                                                                                      \
    spec_refused((text), strlen(text), (const char *const[]){__VA_ARGS__},                                             \
                 sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* The machine of that path, which must be there. */
const struct machine *spec_machine(const struct lab *lab, const char *path);

/* A file of the source tree, whole; free with free. */
char *spec_source_file(const char *name);

#endif
