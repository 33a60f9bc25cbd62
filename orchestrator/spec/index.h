/* Names to things, balanced: a hostile file cannot make a lookup slow, as it could with a hash.
 * `struct index x = {0};` is empty. Names and things are borrowed. */
#ifndef NESTOR_SPEC_INDEX_H
#define NESTOR_SPEC_INDEX_H

struct index {
    void *root;
};

/* NULL if there is none of that name. */
void *index_find(const struct index *index, const char *name);
/* Adds the thing, or puts it in the place of the one of that name. */
void index_put(struct index *index, const char *name, void *thing);
void index_free(struct index *index);

#endif
