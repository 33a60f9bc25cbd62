/* Inventories and plans from a few lines of text, so that a test of the planner reads like its specification. */
#ifndef NESTOR_TESTS_PLAN_FIXTURE_H
#define NESTOR_TESTS_PLAN_FIXTURE_H

#include "nestor/plan.h"

struct planned {
    struct lab *lab;
    struct lab_contents contents;
    struct inventory *inv;
    struct plan *plan;
    struct buffer text;
};

/* spec: YAML, NULL for none. machines: one line per recorded or seen machine,
 *   PATH SEEN [ready|unready|unrecorded] [digest=TEXT] [exposed=on|off] [opens=DRIVER] [nesting=WORD] [as=WORD]
 *             [elsewhere=HOST]
 * SEEN is on, off, absent, broken or unknown; elsewhere: on that host it is seen, too. The record's host is `local`.
 * nesting and as ("running", "address", "ssh": what made it ready) are what the record says, without them what the spec
 * does. A machine not mentioned is absent and unrecorded. */
void plan_prepare(struct planned *p, const char *spec, const char *machines);
/* Plans ("up" or "down") and renders: one line per step, "KIND SUBJECT (REASON) < KIND SUBJECT, ..." with what it waits
 * for, and "remove PATH from HOST" where that is not the machine's own host; " look" at the end if it changes nothing.
 */
const char *plan_render(struct planned *p, const char *verb);
void plan_release(struct planned *p);

#endif
