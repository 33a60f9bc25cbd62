/* From the draft to struct lab: check.c applies defaults and rules, build.c expands counts and copies. */
#ifndef NESTOR_SPEC_RESOLVE_H
#define NESTOR_SPEC_RESOLVE_H

#include "spec/draft.h"

struct resolver {
    struct decoder *d;
    struct lab_draft *draft;
    struct index hosts, templates; /* name -> draft */
    struct index on_hosts;         /* the same, of templates that live on hypervisors */
    struct template_draft **all;   /* templates in the lab's order: the file's, then others as used */
    size_t nall, cap;
};
void resolver_free(struct resolver *r);

/* Fills in what the draft leaves open and tells every broken rule. */
void draft_check(struct resolver *r);
/* Tells what check says of the templates that machines use; of none that the file may say more of than was understood.
 */
void draft_check_templates(struct resolver *r, template_check_fn *check);
/* What a draft describes; its texts are copied into the arena. */
struct template template_build(struct arena *arena, const struct template_draft *t);
/* Fills lab, whose arena is ready, from a draft that was checked without an error. */
void draft_build(const struct resolver *r, struct lab *lab);

static inline uint32_t machine_copies(const struct machine_draft *m) {
    return given(&m->count) ? (uint32_t)m->count.value : 1;
}

#endif
